//! A node whose inputs are written down.

use std::net::SocketAddr;

use crossbeam::channel::{Sender, TrySendError};

use super::entry::Entry;
use crate::consensus::{Combine, Ensemble};
use crate::link::{LinkEstimator, OneSided};
use crate::node::{ClockView, Event, LinkId, Node, RawStamp, Transmit};
use crate::time::{Rate, RawTime, Span};
use crate::topology::{Candidate, NodeId};
use crate::wire::Message;

/// Where a node's inputs go. It never waits and never allocates: what finds no room is counted and
/// missing.
#[derive(Debug)]
pub struct Tape {
    /// Gone once nobody writes any more.
    entries: Option<Sender<Entry>>,
    missing: u64,
    shown: Option<ClockView>,
}

impl Tape {
    pub(super) const fn new(entries: Sender<Entry>) -> Self {
        Self {
            entries: Some(entries),
            missing: 0,
            shown: None,
        }
    }

    fn note(&mut self, entry: Entry) {
        let Some(entries) = &self.entries else { return };
        if self.missing > 0 {
            let gap = Entry::Gap {
                missing: self.missing,
            };
            match entries.try_send(gap) {
                Ok(()) => self.missing = 0,
                Err(TrySendError::Full(_)) => {
                    self.missing += 1;
                    return;
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.entries = None;
                    return;
                }
            }
        }
        match entries.try_send(entry) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.missing += 1,
            Err(TrySendError::Disconnected(_)) => self.entries = None,
        }
    }

    fn show(&mut self, t: RawTime, view: ClockView) {
        if self.shown != Some(view) {
            self.shown = Some(view);
            self.note(Entry::Clock { t, view });
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(entries) = &self.entries
            && self.missing > 0
        {
            // Nothing is held up by waiting now; if nobody writes any more, this returns at once.
            let _ = entries.send(Entry::Gap {
                missing: self.missing,
            });
        }
    }
}

/// A node that writes its inputs down, if it has a tape. Messages have to be as they are on the
/// wire, or the record says something else than the node was told.
#[derive(Debug)]
pub struct Taped<E: LinkEstimator = OneSided, C = Ensemble> {
    node: Node<E, C>,
    tape: Option<Tape>,
}

impl<E: LinkEstimator, C> From<Node<E, C>> for Taped<E, C> {
    fn from(node: Node<E, C>) -> Self {
        Self { node, tape: None }
    }
}

impl<E: LinkEstimator, C: Combine> Taped<E, C> {
    /// A node that has been told nothing yet, with its tape.
    pub const fn new(node: Node<E, C>, tape: Option<Tape>) -> Self {
        Self { node, tape }
    }

    /// The node within.
    pub const fn node(&self) -> &Node<E, C> {
        &self.node
    }

    /// [`Node::receive`].
    pub fn receive(&mut self, now: RawTime, peer: &NodeId, message: &Message, stamp: RawStamp) {
        self.note(|| Entry::Rx {
            t: now,
            peer: *peer,
            stamp,
            message: *message,
        });
        self.node.receive(now, peer, message, stamp);
    }

    /// [`Node::transmitted`].
    pub fn transmitted(&mut self, link: LinkId, seq: u32, stamp: RawStamp) {
        self.note(|| Entry::Stamp {
            packet: (link, seq),
            stamp,
        });
        self.node.transmitted(link, seq, stamp);
    }

    /// [`Node::slept`].
    pub fn slept(&mut self, now: RawTime, span: Span) {
        self.note(|| Entry::Slept { t: now, span });
        self.node.slept(now, span);
        self.show(now);
    }

    /// [`Node::truth`].
    pub fn truth(&mut self, rate: Option<Rate>) {
        self.note(|| Entry::Truth { rate });
        self.node.truth(rate);
    }

    /// [`Node::poll_transmit`].
    pub fn poll_transmit(&mut self, now: RawTime) -> Option<Transmit> {
        // Without anything to look at, being asked changes nothing.
        let sending = self.node.is_sending();
        let transmit = self.node.poll_transmit(now);
        if sending {
            self.note(|| Entry::Tx {
                t: now,
                packet: transmit.map(|t| (t.link, t.message.seq)),
            });
        }
        transmit
    }

    /// [`Node::poll_event`]; to be asked changes nothing that a clock could show.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.node.poll_event()
    }

    /// [`Node::handle_timeout`].
    pub fn handle_timeout(&mut self, now: RawTime) {
        self.note(|| Entry::Tick { t: now });
        self.node.handle_timeout(now);
        self.show(now);
    }

    /// [`Node::peer_found`].
    pub fn peer_found(&mut self, peer: Candidate) {
        self.note(|| Entry::Found { peer: peer.clone() });
        self.node.peer_found(peer);
    }

    /// [`Node::peer_lost`].
    pub fn peer_lost(&mut self, id: &NodeId, now: RawTime) {
        self.note(|| Entry::Lost { t: now, peer: *id });
        self.node.peer_lost(id, now);
    }

    /// [`Node::session_up`].
    pub fn session_up(&mut self, now: RawTime, peer: NodeId, addr: SocketAddr, inbound: bool) {
        self.note(|| Entry::Up {
            t: now,
            peer,
            addr,
            inbound,
        });
        self.node.session_up(now, peer, addr, inbound);
    }

    /// [`Node::session_down`].
    pub fn session_down(&mut self, now: RawTime, peer: &NodeId) {
        self.note(|| Entry::Down {
            t: now,
            peer: *peer,
        });
        self.node.session_down(now, peer);
    }

    /// [`Node::connect_failed`].
    pub fn connect_failed(&mut self, now: RawTime, peer: &NodeId) {
        self.note(|| Entry::Failed {
            t: now,
            peer: *peer,
        });
        self.node.connect_failed(now, peer);
    }

    /// [`Node::peer_moved`].
    pub fn peer_moved(&mut self, peer: &NodeId, addr: SocketAddr) {
        self.note(|| Entry::Moved { peer: *peer, addr });
        self.node.peer_moved(peer, addr);
    }

    fn note(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(tape) = &mut self.tape {
            tape.note(entry());
        }
    }

    fn show(&mut self, now: RawTime) {
        if let Some(tape) = &mut self.tape {
            tape.show(now, self.node.clock());
        }
    }
}

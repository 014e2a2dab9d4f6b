//! Sessions and node as one: authenticated bytes in, authenticated bytes out. Still sans-io.

use std::net::SocketAddr;

use super::chosen::{Chosen, each};
use crate::engine::PeerEvent;
use crate::export::status::{Counters, Status, Tracking};
use crate::node::{ClockView, Event, Lie, LinkId, RawStamp, Totals};
use crate::security::{Incoming, PlainBuf, Refusal, SealError, SessionEvent, Sessions};
use crate::time::{Rate, RawTime, Span};
use crate::topology::{Candidate, FoundBy, NodeId};
use crate::wire::{self, ClockState, MESSAGE_LEN, StampSource};

/// Configured addresses whose owner is not known yet; more are refused.
const MOST_CONTACTS: usize = 256;

/// Pause before a configured address that did not answer is tried again.
const CONTACT_PAUSE: Span = Span::from_secs(5);

/// A configured address without an identity: whoever answers there first is meant.
#[derive(Debug, Clone, Copy)]
struct Contact {
    addr: SocketAddr,
    /// When to try (again); none while it is being tried or once it has answered.
    retry: Option<RawTime>,
}

/// A datagram to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub to: SocketAddr,
    /// Its length in the buffer that was lent.
    pub len: usize,
    /// For a time packet, whose transmit stamp matters: what to report it as.
    pub packet: Option<(LinkId, u32)>,
}

/// Something worth a line in the log, or a word to an engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The clock's state changed.
    State(ClockState),
    /// The virtual clock jumped.
    Stepped(Span),
    /// More peers are wanted.
    WantPeers(usize),
    /// A session is up.
    SessionUp(NodeId, SocketAddr),
    /// A session could not be opened.
    SessionFailed(SocketAddr, String),
}

/// Sessions and node.
pub struct Core {
    id: NodeId,
    node: Chosen,
    sessions: Sessions,
    contacts: Vec<Contact>,
    lie: Lie,
    plain: PlainBuf,
    refused: u64,
    stamps: [u64; 3],
    reason: &'static str,
}

impl Core {
    /// A core around `node`, which may be one that is recorded, and `sessions`.
    pub fn new(id: NodeId, node: impl Into<Chosen>, sessions: Sessions, lie: Lie) -> Self {
        Self {
            id,
            node: node.into(),
            sessions,
            contacts: Vec::new(),
            lie,
            plain: PlainBuf::default(),
            refused: 0,
            stamps: [0; 3],
            reason: reason_for(ClockState::Unsynchronized),
        }
    }

    /// The node's clock as of its last round.
    pub fn clock(&self) -> ClockView {
        each!(&self.node, node => node.node().clock())
    }

    /// The node's totals since it started.
    pub fn totals(&self) -> Totals {
        each!(&self.node, node => node.node().totals())
    }

    /// A datagram arrived. Whether it was a sample for the estimator, or why it was refused.
    pub fn datagram(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        bytes: &[u8],
        stamp: RawStamp,
    ) -> Result<bool, Refusal> {
        self.count_stamp(stamp.source);
        match self.sessions.handle(now, from, bytes, &mut self.plain) {
            Ok(Incoming::Message { peer, bytes }) => match wire::decode(bytes) {
                Ok(message) => {
                    // Its slot may have been given away while its session lived on.
                    each!(&mut self.node, node => {
                        if !node.node().knows(&peer) {
                            node.session_up(now, peer, from, true);
                        }
                        node.receive(now, &peer, &message, stamp);
                    });
                    Ok(true)
                }
                // An authenticated peer of a later version: nothing to hold against it.
                Err(_) => {
                    self.refused += 1;
                    Ok(false)
                }
            },
            Ok(_) => Ok(false),
            Err(refusal) => {
                self.refused += 1;
                Err(refusal)
            }
        }
    }

    /// A time packet left at `stamp`.
    pub fn sent(&mut self, (link, seq): (LinkId, u32), stamp: RawStamp) {
        self.count_stamp(stamp.source);
        each!(&mut self.node, node => node.transmitted(link, seq, stamp));
    }

    /// The host slept for `span`, which its raw clock did not count.
    pub fn slept(&mut self, now: RawTime, span: Span) {
        each!(&mut self.node, node => node.slept(now, span));
    }

    /// What is known of the true frequency, against the raw clock.
    pub fn truth(&mut self, rate: Option<Rate>) {
        each!(&mut self.node, node => node.truth(rate));
    }

    /// An engine learnt something.
    pub fn peer_event(&mut self, now: RawTime, event: PeerEvent) {
        match event {
            PeerEvent::Found(candidate) if candidate.id == self.id => {}
            PeerEvent::Found(candidate) => {
                each!(&mut self.node, node => node.peer_found(candidate))
            }
            PeerEvent::Lost(id) => each!(&mut self.node, node => node.peer_lost(&id, now)),
            PeerEvent::Contact(addr) => self.contact(now, addr),
        }
    }

    /// Do what is due.
    pub fn tick(&mut self, now: RawTime) {
        self.sessions.handle_timeout(now);
        each!(&mut self.node, node => node.handle_timeout(now));
        for contact in &mut self.contacts {
            if contact.retry.is_some_and(|retry| retry <= now) {
                contact.retry = None;
                self.sessions.connect(now, contact.addr, None);
            }
        }
    }

    /// When [`Core::tick`] wants to be called next.
    pub fn next_timeout(&self) -> RawTime {
        let retries = self.contacts.iter().filter_map(|contact| contact.retry);
        let others = retries.chain(self.sessions.next_timeout());
        let node = each!(&self.node, node => node.node().next_timeout());
        others.fold(node, RawTime::min)
    }

    /// The next datagram to send, written to `out`. Ask until there is none.
    pub fn poll_send(&mut self, now: RawTime, out: &mut [u8]) -> Option<Outgoing> {
        if let Some((len, to)) = self.sessions.poll_transmit(out) {
            let packet = None;
            return Some(Outgoing { to, len, packet });
        }
        while let Some(mut transmit) = each!(&mut self.node, node => node.poll_transmit(now)) {
            if self.lie.is_told() {
                self.lie.tell(now, &mut transmit.message);
            }
            let mut plain = [0; MESSAGE_LEN];
            wire::encode(&transmit.message, &mut plain);
            match self.sessions.seal(now, &transmit.peer, &plain, out) {
                Ok((len, to)) => {
                    let packet = Some((transmit.link, transmit.message.seq));
                    return Some(Outgoing { to, len, packet });
                }
                Err(SealError::NoSession) => {
                    each!(&mut self.node, node => node.session_down(now, &transmit.peer))
                }
                Err(_) => {}
            }
        }
        None
    }

    /// Let sessions and node hear of each other; the next notice, if any. Ask until there is none.
    pub fn poll_notice(&mut self, now: RawTime) -> Option<Notice> {
        while let Some(event) = self.sessions.poll_event() {
            match event {
                SessionEvent::Established {
                    peer,
                    addr,
                    inbound,
                } => {
                    if !inbound && self.contacts.iter().any(|contact| contact.addr == addr) {
                        each!(&mut self.node, node => node.peer_found(Candidate {
                            id: peer,
                            addr,
                            found_by: FoundBy::Static,
                        }));
                    }
                    each!(&mut self.node, node => node.session_up(now, peer, addr, inbound));
                    return Some(Notice::SessionUp(peer, addr));
                }
                SessionEvent::Moved { peer, addr } => {
                    each!(&mut self.node, node => node.peer_moved(&peer, addr))
                }
                SessionEvent::Closed { peer } => {
                    each!(&mut self.node, node => node.session_down(now, &peer))
                }
                SessionEvent::Failed {
                    addr,
                    expect,
                    reason,
                } => {
                    if let Some(peer) = expect {
                        each!(&mut self.node, node => node.connect_failed(now, &peer));
                    }
                    // Whoever answered there before may have got a new identity.
                    self.retry_contact(now, addr);
                    return Some(Notice::SessionFailed(addr, reason.to_string()));
                }
            }
        }
        loop {
            match each!(&mut self.node, node => node.poll_event())? {
                Event::Connect(peer) => self.sessions.connect(now, peer.addr, Some(peer.id)),
                Event::Dropped(peer) => self.sessions.release(&peer),
                Event::WantPeers(count) => return Some(Notice::WantPeers(count)),
                // Engines tell of those they know without being asked.
                Event::WantNear(_) => {}
                Event::State(state) => {
                    self.reason = reason_for(state);
                    return Some(Notice::State(state));
                }
                Event::Stepped(by) => return Some(Notice::Stepped(by)),
            }
        }
    }

    /// What the node says about itself; what is steered is for others to add.
    pub fn status(&self, now: RawTime) -> Status {
        let (view, totals) = (self.clock(), self.totals());
        let strategies = self.node.strategies();
        let (assumed_liars, wander, stability, references, excess, peers) = each!(&self.node, node => {
            let node = node.node();
            let stability = node.deviations().map(Into::into).collect();
            (
                node.config().assumed_liars,
                node.wander(),
                stability,
                node.references(),
                node.excess(),
                node.peers(now).collect(),
            )
        });
        let [user, kernel, hardware] = self.stamps;
        Status {
            tracking: Tracking {
                id: self.id,
                state: view.state,
                reason: self.reason.to_owned(),
                virtual_time_ns: view.line.at(now).as_nanos(),
                bound_ns: view.bound_at(now).map(Span::as_nanos),
                statistical_ns: view.statistical_at(now).map(Span::as_nanos),
                estimated_error_ns: view.sigma_at(now).map(Span::as_nanos),
                sampled: usize::from(view.sampled),
                tolerated_liars: usize::from(view.liars),
                liar_risk: view.bound_at(now).map(|_| view.liar_risk),
                assumed_liars,
                estimator: strategies.estimator.name().to_owned(),
                combine: strategies.combine.name().to_owned(),
                rate_ppm: view.line.rate().as_ppm(),
                wander_ppb: wander.map(|wander| 1e9 * wander),
                stability,
                last_offset_ns: view.last_offset,
                local_ns: view.local,
                references,
                excess_ppm: excess.map(|excess| 1e6 * excess),
                neighbours: usize::from(view.heard),
                used: usize::from(view.used),
                discipline: String::new(),
                clock_state: None,
                clock_offset_ns: None,
                clock_rate_ppm: None,
                sources: Vec::new(),
                interfaces: Vec::new(),
                latency: Vec::new(),
                warnings: Vec::new(),
                counters: Counters {
                    sent: totals.sent,
                    received: totals.received,
                    exchanges: totals.exchanges,
                    refused: self.refused,
                    stamps_hardware: hardware,
                    stamps_kernel: kernel,
                    stamps_user: user,
                    stamps_lost: 0,
                    steps: totals.steps,
                    samples_dropped: 0,
                    sends_dropped: 0,
                },
            },
            peers,
        }
    }

    fn contact(&mut self, now: RawTime, addr: SocketAddr) {
        let known = self.contacts.iter().any(|contact| contact.addr == addr);
        if !known && self.contacts.len() < MOST_CONTACTS {
            self.contacts.push(Contact { addr, retry: None });
            self.sessions.connect(now, addr, None);
        }
    }

    fn retry_contact(&mut self, now: RawTime, addr: SocketAddr) {
        let contact = self.contacts.iter_mut().find(|c| c.addr == addr);
        if let Some(contact) = contact {
            contact.retry = Some(now + CONTACT_PAUSE);
        }
    }

    const fn count_stamp(&mut self, source: StampSource) {
        let kind = match source {
            StampSource::User => 0,
            StampSource::Kernel | StampSource::Xdp => 1,
            StampSource::Hardware => 2,
        };
        self.stamps[kind] += 1;
    }
}

/// Why the clock is in this state, for people.
const fn reason_for(state: ClockState) -> &'static str {
    match state {
        ClockState::Unsynchronized => "no neighbour has been measured yet",
        ClockState::Joining => "neighbours are measured; the clock still jumps to meet them",
        ClockState::Synchronized => "in agreement with the neighbours",
        ClockState::Holdover => "no neighbour is heard; running on at the last good rate",
        ClockState::FreeRunning => "no neighbour has been heard for too long",
    }
}

//! Peers and which of their sessions is in use.

use super::table::{Entry, Peer};
use super::{FailReason, Refusal, SessionEvent, Sessions};
use crate::time::{RawTime, Span};
use crate::topology::NodeId;
use std::net::SocketAddr;

/// Two sessions that came to be this close together were opened from both sides at once.
const TWINS: Span = Span::from_secs(10);
/// An inbound peer silent for this long may be pushed out by a new one.
const SILENT: Span = Span::from_secs(30);

impl Sessions {
    pub(super) fn peer(&self, id: &NodeId) -> Option<&Peer> {
        self.peers.get(self.peers.find(id)?)
    }

    /// We no longer want this peer for ourselves. It may go on asking us, as an inbound peer.
    pub fn release(&mut self, peer: &NodeId) {
        if let Some(position) = self.peers.find(peer)
            && let Some(peer) = self.peers.get_mut(position)
        {
            peer.outbound = false;
        }
    }

    /// A peer at `addr`, or `expect` wherever it is, that has been heard of late.
    pub(super) fn live_peer(
        &self,
        now: RawTime,
        addr: SocketAddr,
        expect: Option<NodeId>,
    ) -> Option<usize> {
        let alive = |peer: &Peer| now - peer.last_received < self.limits.unanswered_for;
        match expect {
            Some(id) => {
                let position = self.peers.find(&id)?;
                self.peers.get(position).filter(|peer| alive(peer))?;
                Some(position)
            }
            None => self
                .peers
                .iter()
                .find(|(_, peer)| peer.addr == addr && alive(peer))
                .map(|(position, _)| position),
        }
    }

    pub(super) fn outbound(&self) -> usize {
        self.peers.iter().filter(|(_, peer)| peer.outbound).count()
    }

    /// Whether the peer at `position` is outbound or may become so.
    pub(super) fn room_for_outbound(&self, position: usize) -> bool {
        self.peers.get(position).is_some_and(|peer| peer.outbound)
            || self.outbound() < self.limits.max_outbound
    }

    /// The place of the peer that has just proved to be `id`; a new one if there is room. Among
    /// inbound peers the one silent longest makes room; for one we asked for, even if it is not
    /// silent.
    pub(super) fn admit(
        &mut self,
        now: RawTime,
        id: NodeId,
        addr: SocketAddr,
        asked: bool,
    ) -> Result<usize, Refusal> {
        if let Some(position) = self.peers.find(&id) {
            return Ok(position);
        }
        let inbound = || self.peers.iter().filter(|(_, peer)| !peer.outbound);
        let full = if asked {
            self.peers.len() >= self.peers.capacity()
        } else {
            inbound().count() >= self.limits.max_inbound
        };
        if full {
            let silent = inbound()
                .min_by_key(|(_, peer)| peer.last_received)
                .filter(|(_, peer)| asked || now - peer.last_received > SILENT)
                .map(|(position, _)| position);
            self.close(silent.ok_or(Refusal::Full)?);
        }
        self.peers
            .insert(Peer {
                id,
                addr,
                outbound: false,
                current: None,
                previous: None,
                last_received: now,
                unanswered: 0,
                unanswered_since: now,
                next_attempt: now,
            })
            .ok_or(Refusal::Full)
    }

    /// Puts the session at `index`, just made, into use for its peer, now at `addr`.
    pub(super) fn install(
        &mut self,
        now: RawTime,
        position: usize,
        index: u32,
        addr: SocketAddr,
        asked: bool,
    ) {
        let adopted = asked && self.room_for_outbound(position);
        let me = *self.keys.id().as_bytes();
        let Some(peer) = self.peers.get_mut(position) else {
            return;
        };
        let old = peer.current;
        // Both sides must choose the same of two twins: the one the smaller identity began.
        let smaller_is_me = me < *peer.id.as_bytes();
        let keep_old = match (
            old.and_then(|i| self.slots.session(i)),
            self.slots.session(index),
        ) {
            (Some(old), Some(new)) => {
                now - old.established < TWINS
                    && old.last_received == old.established
                    && old.is_ours() != new.is_ours()
                    && old.is_ours() == smaller_is_me
            }
            _ => false,
        };
        let (current, previous) = if keep_old {
            (old, Some(index))
        } else {
            (Some(index), old)
        };
        let dropped = std::mem::replace(&mut peer.previous, previous);
        peer.current = current;
        peer.last_received = now;
        peer.unanswered = 0;
        let moved = peer.addr != addr;
        peer.addr = addr;
        peer.outbound |= adopted;
        let (id, inbound) = (peer.id, !peer.outbound);
        if let Some(dropped) = dropped.filter(|i| Some(*i) != previous && Some(*i) != current) {
            self.slots.remove(dropped);
        }
        if old.is_none() || asked {
            self.tell(SessionEvent::Established {
                peer: id,
                addr,
                inbound,
            });
        } else if moved {
            self.tell(SessionEvent::Moved { peer: id, addr });
        }
        let limits = &self.limits;
        let soon = limits
            .linger
            .min(limits.idle_timeout)
            .min(limits.rekey_after);
        self.wake_by(now + soon);
    }

    /// Tells the owner that its wish for this live peer has come true.
    pub(super) fn adopt(&mut self, position: usize) {
        if let Some(peer) = self.peers.get_mut(position) {
            peer.outbound = true;
            let (peer, addr) = (peer.id, peer.addr);
            self.tell(SessionEvent::Established {
                peer,
                addr,
                inbound: false,
            });
        }
    }

    /// Forgets a peer and its sessions.
    pub(super) fn close(&mut self, position: usize) {
        let Some(peer) = self.peers.remove(position) else {
            return;
        };
        for index in peer.current.into_iter().chain(peer.previous) {
            self.slots.remove(index);
        }
        self.tell(SessionEvent::Closed { peer: peer.id });
    }

    /// An attempt of ours has come to nothing.
    pub(super) fn fail(&mut self, index: u32, reason: FailReason) {
        if let Some(Entry::Attempt(attempt)) = self.slots.remove(index)
            && attempt.asked
        {
            self.tell(SessionEvent::Failed {
                addr: attempt.addr,
                expect: attempt.expect,
                reason,
            });
        }
    }
}

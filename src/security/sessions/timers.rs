//! What happens without a datagram: repetition, giving up, fresh keys, forgetting.

use super::table::{Attempt, Entry, Peer, Phase, Session};
use super::{FailReason, Sessions, backoff};
use crate::time::{RawTime, Span};
use crate::wire::write_init;

/// Answers that are worth work between two repetitions of a handshake message: a cookie, and a
/// handshake message with a few forgeries before it.
const ANSWERS: u8 = 4;

/// However wrong the reckoning, the owner is not woken more often than this.
const NAP: Span = Span::from_millis(1);

enum Due {
    Nothing,
    Repeat,
    GiveUp,
    Forget,
    Expire { peer: usize },
}

impl Sessions {
    /// Does what has become due by `now`; cheap if nothing has.
    pub fn handle_timeout(&mut self, now: RawTime) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        for place in 0..self.slots.capacity() {
            let Some(index) = self.slots.index_at(place) else {
                continue;
            };
            match self.due(now, index) {
                Due::Nothing => {}
                Due::Repeat => self.repeat(now, index),
                Due::GiveUp => self.give_up(index),
                Due::Forget => {
                    self.slots.remove(index);
                }
                Due::Expire { peer } => self.expire(peer, index),
            }
        }
        for position in 0..self.peers.capacity() {
            self.look_after(now, position);
        }
        self.deadline = self.earliest().map(|at| at.max(now + NAP));
    }

    fn due(&self, now: RawTime, index: u32) -> Due {
        match self.slots.get(index) {
            Some(Entry::Attempt(a)) if now >= a.give_up => Due::GiveUp,
            Some(Entry::Attempt(a)) if now >= a.send_at => Due::Repeat,
            Some(Entry::Pending(p)) if now >= p.created + self.limits.pending_timeout => {
                Due::Forget
            }
            Some(Entry::Session(s)) if now >= self.expiry(index, s) => Due::Expire { peer: s.peer },
            _ => Due::Nothing,
        }
    }

    /// When a session ends: its keys are too old, or it is a replaced one nobody uses any more.
    fn expiry(&self, index: u32, session: &Session) -> RawTime {
        let old = session.established + self.limits.expire_after;
        let replaced = self
            .peers
            .get(session.peer)
            .is_none_or(|peer| peer.current != Some(index));
        if replaced {
            old.min(session.last_received + self.limits.linger)
        } else {
            old
        }
    }

    /// Sends the handshake message of an attempt (again).
    pub(super) fn repeat(&mut self, now: RawTime, index: u32) {
        let random = self.random();
        let (first, max) = (self.limits.retransmit_first, self.limits.retransmit_max);
        let network = self.network;
        let Some(attempt) = self.slots.attempt_mut(index) else {
            return;
        };
        attempt.send_at = now + backoff(first, max, attempt.repeats, random);
        attempt.repeats += 1;
        attempt.budget = ANSWERS;
        let datagram = match &attempt.phase {
            Phase::Opening => write_init(network, &attempt.cookie, &attempt.init),
            Phase::Finishing(finishing) => finishing.finish,
        };
        let (to, at) = (attempt.addr, attempt.send_at);
        self.wake_by(at);
        self.queue(to, &datagram);
    }

    fn give_up(&mut self, index: u32) {
        let me = self.keys.id();
        let reason = match self.slots.get(index) {
            Some(Entry::Attempt(attempt)) => match attempt.stranger {
                Some(id) if id == me => FailReason::SelfConnection,
                Some(id) => FailReason::WrongIdentity(id),
                None => FailReason::Timeout,
            },
            _ => return,
        };
        self.fail(index, reason);
    }

    fn expire(&mut self, position: usize, index: u32) {
        self.slots.remove(index);
        let Some(peer) = self.peers.get_mut(position) else {
            return;
        };
        if peer.previous == Some(index) {
            peer.previous = None;
        } else if peer.current == Some(index) {
            peer.current = peer.previous.take();
        }
        if peer.current.is_none() {
            self.close(position);
        }
    }

    /// Forgets a silent peer; sees to fresh keys where they are due.
    fn look_after(&mut self, now: RawTime, position: usize) {
        let limits = self.limits;
        let Some(peer) = self.peers.get(position) else {
            return;
        };
        if now >= peer.last_received + limits.idle_timeout {
            return self.close(position);
        }
        if self.handshake_at(peer).is_some_and(|at| now >= at) {
            let (addr, id) = (peer.addr, peer.id);
            if let Some(peer) = self.peers.get_mut(position) {
                peer.next_attempt = now + limits.reconnect_every;
            }
            let running = |a: &Attempt| a.expect == Some(id);
            if !self.slots.attempts().any(|(_, a)| running(a)) {
                // Without room or randomness now, the next turn comes.
                let _ = self.begin_attempt(now, addr, Some(id), false);
            }
        }
    }

    /// When we are to open a handshake with `peer` of our own accord.
    fn handshake_at(&self, peer: &Peer) -> Option<RawTime> {
        let limits = &self.limits;
        let silent = (peer.unanswered >= limits.unanswered_packets)
            .then(|| peer.unanswered_since + limits.unanswered_for);
        let fresh_keys = peer.current.and_then(|i| self.slots.session(i)).map(|s| {
            // The side that opened the last session opens the next; the other waits longer.
            let age = if s.is_ours() {
                limits.rekey_after
            } else {
                limits.rekey_after + limits.rekey_after / 4
            };
            if s.sent >= limits.rekey_after_packets {
                s.established
            } else {
                s.established + age
            }
        });
        let due = silent.into_iter().chain(fresh_keys).min()?;
        Some(due.max(peer.next_attempt))
    }

    fn earliest(&self) -> Option<RawTime> {
        let entries = self.slots.iter().map(|(index, entry)| match entry {
            Entry::Attempt(attempt) => attempt.send_at.min(attempt.give_up),
            Entry::Pending(pending) => pending.created + self.limits.pending_timeout,
            Entry::Session(session) => self.expiry(index, session),
        });
        let peers = self.peers.iter().flat_map(|(_, peer)| {
            let idle = peer.last_received + self.limits.idle_timeout;
            [Some(idle), self.handshake_at(peer)].into_iter().flatten()
        });
        entries.chain(peers).min()
    }

    fn random(&mut self) -> u32 {
        let mut bytes = [0; 4];
        // Without randomness the wait is merely not spread.
        let _ = self.rng.try_fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }
}

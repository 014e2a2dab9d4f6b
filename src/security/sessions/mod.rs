//! All sessions of a node: handshakes, time packets, roaming, fresh keys.

mod handshake;
mod outcome;
mod peers;
mod table;
#[cfg(test)]
mod tests;
mod timers;
mod transport;

pub use outcome::{FailReason, Incoming, PlainBuf, Refusal, SealError, SessionEvent, Usage};

use rand_core::{OsRng, RngCore};
use std::collections::VecDeque;
use std::net::SocketAddr;

use super::cookie::Cookies;
use super::limiter::{Budget, Limiter};
use super::noise::Keys;
use super::{Identity, Limits};
use crate::time::{RawTime, Span};
use crate::topology::NodeId;
use crate::wire::{COOKIE_LEN, HANDSHAKE_DATAGRAM_LEN, NetworkId, Packet};
use table::{Attempt, Entry, Peers, Phase, Slots};

/// Datagrams of handshakes that may wait to be sent; what finds no room is repeated later anyway.
const OUTBOX: usize = 256;

/// A cookie is good for a handshake for between one and two of these.
const COOKIE_EPOCH: Span = Span::from_secs(60);

/// Events that may wait to be taken; the oldest are lost beyond that.
const EVENTS: usize = 1024;

/// The sessions of one node, sans-io: no socket, no clock, every table of a fixed size.
///
/// The owner
/// - feeds every datagram to [`Sessions::handle`] and the passing of time to
///   [`Sessions::handle_timeout`] (when: [`Sessions::next_timeout`]),
/// - then sends what [`Sessions::poll_transmit`] gives and takes what [`Sessions::poll_event`]
///   gives, each until it gives nothing,
/// - seals its own messages with [`Sessions::seal`].
///
/// Nothing an unauthenticated datagram says changes a session, and no answer is longer than the
/// datagram that caused it.
pub struct Sessions {
    keys: Keys,
    network: NetworkId,
    limits: Limits,
    rng: Box<dyn RngCore + Send>,
    cookies: Cookies,
    answers: Limiter,
    handshakes: Limiter,
    handshakes_in_all: Budget,
    slots: Slots,
    peers: Peers,
    outbox: VecDeque<Outgoing>,
    events: VecDeque<SessionEvent>,
    /// Nothing needs doing before this.
    deadline: Option<RawTime>,
}

struct Outgoing {
    to: SocketAddr,
    bytes: [u8; HANDSHAKE_DATAGRAM_LEN],
    len: usize,
}

impl Sessions {
    /// Sessions for `identity` in `network`, with randomness from the operating system.
    ///
    /// # Errors
    /// [`FailReason::Entropy`] if the system gives no random bytes.
    pub fn new(
        identity: &Identity,
        network: NetworkId,
        limits: Limits,
        now: RawTime,
    ) -> Result<Self, FailReason> {
        Self::with_rng(identity, network, limits, now, Box::new(OsRng))
    }

    /// The same with another source of randomness, which must be fit for keys except in tests.
    ///
    /// # Errors
    /// [`FailReason::Entropy`] if `rng` fails.
    pub fn with_rng(
        identity: &Identity,
        network: NetworkId,
        limits: Limits,
        now: RawTime,
        mut rng: Box<dyn RngCore + Send>,
    ) -> Result<Self, FailReason> {
        let mut secret = [0; 32];
        rng.try_fill_bytes(&mut secret)
            .map_err(|_| FailReason::Entropy)?;
        let peers = limits.max_outbound + limits.max_inbound;
        Ok(Self {
            keys: Keys::new(identity, network).map_err(|_| FailReason::Entropy)?,
            network,
            limits,
            rng,
            cookies: Cookies::new(secret, now, COOKIE_EPOCH),
            answers: Limiter::new(limits.answers_per_source, limits.max_sources, now),
            handshakes: Limiter::new(limits.handshakes_per_source, limits.max_sources, now),
            handshakes_in_all: Budget::new(limits.handshakes_in_all, now),
            slots: Slots::new(limits.max_attempts + limits.max_pending + 2 * peers),
            peers: Peers::new(peers),
            outbox: VecDeque::with_capacity(OUTBOX),
            events: VecDeque::new(),
            deadline: None,
        })
    }

    /// Wants a session with whoever is at `addr`, or with `expect` there and nobody else.
    ///
    /// Each call is answered by one [`SessionEvent::Established`] that is not inbound or one
    /// [`SessionEvent::Failed`]; a call that repeats one still under way is answered with it. A
    /// live session with that peer, whoever began it, is an immediate success; a peer that has
    /// gone silent is tried at the new address.
    pub fn connect(&mut self, now: RawTime, addr: SocketAddr, expect: Option<NodeId>) {
        let fail = |reason| SessionEvent::Failed {
            addr,
            expect,
            reason,
        };
        if expect == Some(self.keys.id()) {
            return self.tell(fail(FailReason::SelfConnection));
        }
        if let Some(position) = self.live_peer(now, addr, expect) {
            if self.room_for_outbound(position) {
                return self.adopt(position);
            }
            return self.tell(fail(FailReason::Full));
        }
        let twin = |a: &Attempt| a.addr == addr && a.expect == expect;
        let under_way = self.slots.attempts().find(|(_, a)| twin(a));
        if let Some(index) = under_way.map(|(index, _)| index) {
            if let Some(attempt) = self.slots.attempt_mut(index) {
                attempt.asked = true;
            }
            return;
        }
        let asked = self.slots.attempts().filter(|(_, a)| a.asked).count();
        let reason = if self.outbound() + asked >= self.limits.max_outbound {
            FailReason::Full
        } else {
            match self.begin_attempt(now, addr, expect, true) {
                Ok(()) => return,
                Err(reason) => reason,
            }
        };
        self.tell(fail(reason));
    }

    /// Takes a datagram from the network.
    ///
    /// `plain` is where a message's text goes; what comes back borrows from it.
    ///
    /// # Errors
    /// [`Refusal`] says why the datagram was dropped. No session has changed then.
    pub fn handle<'a>(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        datagram: &[u8],
        plain: &'a mut PlainBuf,
    ) -> Result<Incoming<'a>, Refusal> {
        match Packet::parse(datagram, self.network)? {
            Packet::Init { cookie, noise } => self.on_init(now, from, cookie, noise)?,
            Packet::Retry { receiver, cookie } => self.on_retry(from, receiver, cookie)?,
            Packet::Response { receiver, noise } => {
                self.on_response(now, from, receiver, noise)?;
            }
            Packet::Finish { receiver, noise } => self.on_finish(now, from, receiver, noise)?,
            Packet::Confirm {
                receiver,
                counter,
                sealed,
            } => {
                self.on_sealed(now, from, receiver, counter, sealed, plain)?;
            }
            Packet::Time {
                receiver,
                counter,
                sealed,
            } => {
                let (peer, len) = self.on_sealed(now, from, receiver, counter, sealed, plain)?;
                return Ok(Incoming::Message {
                    peer,
                    bytes: plain.first(len),
                });
            }
        }
        Ok(Incoming::Handshake)
    }

    /// The next handshake datagram to send: its length in `out` and its destination. A datagram
    /// that does not fit in `out` is dropped, [`HANDSHAKE_DATAGRAM_LEN`] bytes always suffice.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<(usize, SocketAddr)> {
        loop {
            let next = self.outbox.pop_front()?;
            if let Some(room) = out.get_mut(..next.len) {
                room.copy_from_slice(&next.bytes[..next.len]);
                return Some((next.len, next.to));
            }
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// When [`Sessions::handle_timeout`] has something to do. It may turn out to have nothing to
    /// do by then; call it all the same.
    pub const fn next_timeout(&self) -> Option<RawTime> {
        self.deadline
    }

    /// Our own identity.
    pub const fn node_id(&self) -> NodeId {
        self.keys.id()
    }

    /// Where `peer` is, if there is a session with it.
    pub fn peer_addr(&self, peer: &NodeId) -> Option<SocketAddr> {
        self.peer(peer).map(|p| p.addr)
    }

    /// How full the tables are.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            peers: self.peers.len(),
            sources: self.answers.capacity(),
            outbox: self.outbox.len(),
            events: self.events.len(),
            ..Usage::default()
        };
        for (_, entry) in self.slots.iter() {
            match entry {
                Entry::Attempt(_) => usage.attempts += 1,
                Entry::Pending(_) => usage.pending += 1,
                Entry::Session(_) => usage.sessions += 1,
            }
        }
        usage
    }

    fn begin_attempt(
        &mut self,
        now: RawTime,
        addr: SocketAddr,
        expect: Option<NodeId>,
        asked: bool,
    ) -> Result<(), FailReason> {
        if self.slots.attempts().count() >= self.limits.max_attempts {
            return Err(FailReason::Full);
        }
        let (salt, ephemeral) = self.fresh().ok_or(FailReason::Entropy)?;
        let index = self.slots.reserve(salt).ok_or(FailReason::Full)?;
        let init = self
            .keys
            .init(ephemeral, index)
            .map_err(|_| FailReason::Entropy)?;
        let attempt = Attempt {
            addr,
            expect,
            asked,
            ephemeral,
            init,
            cookie: [0; COOKIE_LEN],
            phase: Phase::Opening,
            give_up: now + self.limits.attempt_timeout,
            send_at: now,
            repeats: 0,
            budget: 0,
            stranger: None,
        };
        self.slots.insert(index, Entry::Attempt(Box::new(attempt)));
        self.repeat(now, index);
        Ok(())
    }

    fn queue(&mut self, to: SocketAddr, datagram: &[u8]) {
        let mut bytes = [0; HANDSHAKE_DATAGRAM_LEN];
        if let Some(room) = bytes.get_mut(..datagram.len())
            && self.outbox.len() < OUTBOX
        {
            room.copy_from_slice(datagram);
            let len = datagram.len();
            self.outbox.push_back(Outgoing { to, bytes, len });
        }
    }

    fn tell(&mut self, event: SessionEvent) {
        // An owner that does not listen costs no memory.
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn wake_by(&mut self, at: RawTime) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }
}

/// Twice as far, up to `max`, and up to a quarter more at random, so that hosts that start
/// together do not go on in step.
fn backoff(first: Span, max: Span, repeats: u32, random: u32) -> Span {
    let wait = (first * (1_i64 << repeats.min(20))).min(max);
    wait + Span::from_nanos(
        (wait.as_nanos() as f64 * 0.25 * f64::from(random) / 4_294_967_296.0) as i64,
    )
}

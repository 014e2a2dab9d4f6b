//! The four handshake datagrams, received.

use super::table::{Entry, Finishing, Pending, Phase, Session};
use super::{Refusal, Sessions};
use crate::security::noise::{Ephemeral, NoiseError};
use crate::security::replay::Window;
use crate::time::RawTime;
use crate::wire::{
    COOKIE_LEN, NOISE_FINISH_LEN, NOISE_INIT_LEN, NOISE_RESPONSE_LEN, write_finish, write_init,
    write_response, write_retry,
};
use std::net::SocketAddr;

impl From<NoiseError> for Refusal {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::Forged => Self::Forged,
            NoiseError::Identity => Self::WrongIdentity,
        }
    }
}

impl Sessions {
    /// Somebody opens: without a good cookie all it gets is one, and we keep nothing.
    pub(super) fn on_init(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        cookie: &[u8; COOKIE_LEN],
        noise: &[u8; NOISE_INIT_LEN],
    ) -> Result<(), Refusal> {
        if !self.cookies.check(now, from, noise, cookie) {
            return self.answer_cheaply(now, from, |sessions| {
                let cookie = sessions.cookies.bake(now, from, noise);
                // The initiator's index ends the first message in clear.
                let [.., a, b, c, d] = *noise;
                let index = u32::from_le_bytes([a, b, c, d]);
                sessions.queue(from, &write_retry(sessions.network, index, &cookie));
            });
        }
        let again = |p: &Pending| p.addr == from && p.init == *noise;
        let known = self.slots.pending().find(|(_, p)| again(p));
        if let Some(response) = known.map(|(_, p)| p.response) {
            return self.answer_cheaply(now, from, |sessions| sessions.queue(from, &response));
        }
        self.pay_for_handshake(now, from)?;
        self.make_room_for_pending(from);
        let (salt, ephemeral) = self.fresh().ok_or(Refusal::Entropy)?;
        let index = self.slots.reserve(salt).ok_or(Refusal::Full)?;
        let response = self.keys.respond(ephemeral, noise, index)?;
        let [.., a, b, c, d] = *noise;
        let response = write_response(self.network, u32::from_le_bytes([a, b, c, d]), &response);
        let pending = Pending {
            addr: from,
            ephemeral,
            init: *noise,
            response,
            created: now,
        };
        self.slots.insert(index, Entry::Pending(Box::new(pending)));
        self.wake_by(now + self.limits.pending_timeout);
        self.queue(from, &response);
        Ok(())
    }

    /// The responder wants to see its cookie.
    pub(super) fn on_retry(
        &mut self,
        from: SocketAddr,
        receiver: u32,
        cookie: &[u8; COOKIE_LEN],
    ) -> Result<(), Refusal> {
        let network = self.network;
        let attempt = self
            .slots
            .attempt_mut(receiver)
            .ok_or(Refusal::UnknownSession)?;
        if attempt.addr != from
            || !matches!(attempt.phase, Phase::Opening)
            || attempt.cookie == *cookie
        {
            return Err(Refusal::Unexpected);
        }
        attempt.budget = attempt.budget.checked_sub(1).ok_or(Refusal::RateLimited)?;
        attempt.cookie = *cookie;
        let init = write_init(network, cookie, &attempt.init);
        self.queue(from, &init);
        Ok(())
    }

    /// The responder has answered: we know it and have keys, it does not yet.
    pub(super) fn on_response(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        receiver: u32,
        noise: &[u8; NOISE_RESPONSE_LEN],
    ) -> Result<(), Refusal> {
        let (network, me) = (self.network, self.keys.id());
        let first_wait = self.limits.retransmit_first;
        let attempt = self
            .slots
            .attempt_mut(receiver)
            .ok_or(Refusal::UnknownSession)?;
        if attempt.addr != from || !matches!(attempt.phase, Phase::Opening) {
            return Err(Refusal::Unexpected);
        }
        attempt.budget = attempt.budget.checked_sub(1).ok_or(Refusal::RateLimited)?;
        let opened = self.keys.open(attempt.ephemeral, receiver, noise)?;
        if opened.peer == me || attempt.expect.is_some_and(|id| id != opened.peer) {
            // Go on waiting: whoever can put datagrams on the wire could otherwise end the
            // attempt. At its end this says why.
            attempt.stranger = Some(opened.peer);
            return Err(if opened.peer == me {
                Refusal::SelfConnection
            } else {
                Refusal::WrongIdentity
            });
        }
        let finish = write_finish(network, opened.remote_index, &opened.finish);
        attempt.phase = Phase::Finishing(Box::new(Finishing {
            transport: opened.transport,
            peer: opened.peer,
            remote_index: opened.remote_index,
            finish,
        }));
        attempt.repeats = 0;
        attempt.send_at = now + first_wait;
        let at = attempt.send_at;
        self.wake_by(at);
        self.queue(from, &finish);
        Ok(())
    }

    /// The initiator has proved itself: the session stands on our side.
    pub(super) fn on_finish(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        receiver: u32,
        noise: &[u8; NOISE_FINISH_LEN],
    ) -> Result<(), Refusal> {
        let (ephemeral, init) = match self.slots.get(receiver) {
            Some(Entry::Pending(pending)) if pending.addr == from => {
                (pending.ephemeral, pending.init)
            }
            Some(Entry::Session(session)) if session.finish.as_ref() == Some(noise) => {
                // Our confirmation was lost.
                let addr = self.peers.get(session.peer).map(|peer| peer.addr);
                if addr != Some(from) {
                    return Err(Refusal::Unexpected);
                }
                return self.answer_cheaply(now, from, |sessions| sessions.confirm(receiver, from));
            }
            None => return Err(Refusal::UnknownSession),
            Some(_) => return Err(Refusal::Unexpected),
        };
        self.pay_for_handshake(now, from)?;
        let accepted = self.keys.accept(ephemeral, &init, receiver, noise)?;
        if accepted.peer == self.keys.id() {
            return Err(Refusal::SelfConnection);
        }
        // Was it us who looked for this peer? Then it is no stranger, and where both sides open at
        // once, one handshake is enough: the one the smaller identity began.
        let yields = accepted.peer.as_bytes() < self.keys.id().as_bytes();
        let (mut asked, mut twin) = (false, None);
        for (index, attempt) in self.slots.attempts() {
            let same = match attempt.expect {
                Some(id) => id == accepted.peer,
                None => attempt.addr == from,
            };
            if same && yields && matches!(attempt.phase, Phase::Opening) {
                (asked, twin) = (asked || attempt.asked, Some(index));
            }
        }
        let position = self.admit(now, accepted.peer, from, asked)?;
        if let Some(index) = twin {
            self.slots.remove(index);
        }
        self.slots.update(receiver, |_| {
            Entry::Session(Box::new(Session {
                peer: position,
                transport: accepted.transport,
                remote_index: accepted.remote_index,
                sent: 0,
                window: Window::default(),
                established: now,
                last_received: now,
                finish: Some(*noise),
            }))
        });
        self.install(now, position, receiver, from, asked);
        self.confirm(receiver, from);
        Ok(())
    }

    /// An answer that costs next to nothing, within the source's allowance.
    fn answer_cheaply(
        &mut self,
        now: RawTime,
        to: SocketAddr,
        answer: impl FnOnce(&mut Self),
    ) -> Result<(), Refusal> {
        if !self.answers.allow(now, to.ip()) {
            return Err(Refusal::RateLimited);
        }
        answer(self);
        Ok(())
    }

    /// Leave to compute a handshake message for `from`, an address proved by a cookie. A crowd of
    /// strangers cannot keep peers from changing their keys.
    fn pay_for_handshake(&mut self, now: RawTime, from: SocketAddr) -> Result<(), Refusal> {
        let known = |sessions: &Self| sessions.peers.iter().any(|(_, peer)| peer.addr == from);
        if self.handshakes.allow(now, from.ip())
            && (self.handshakes_in_all.allow(now) || known(self))
        {
            Ok(())
        } else {
            Err(Refusal::RateLimited)
        }
    }

    /// Where the table of pending handshakes is full, the oldest of `from`'s host goes if it
    /// holds a quarter of the table, else the oldest of all.
    fn make_room_for_pending(&mut self, from: SocketAddr) {
        let pending = || self.slots.pending();
        if pending().count() < self.limits.max_pending {
            return;
        }
        let same_host = |addr: SocketAddr| addr.ip() == from.ip();
        let crowding =
            4 * pending().filter(|(_, p)| same_host(p.addr)).count() >= self.limits.max_pending;
        let oldest = pending()
            .filter(|(_, p)| !crowding || same_host(p.addr))
            .min_by_key(|(_, p)| p.created)
            .map(|(index, _)| index);
        if let Some(index) = oldest {
            self.slots.remove(index);
        }
    }

    /// A random salt for an index and a one-time key.
    pub(super) fn fresh(&mut self) -> Option<(u16, Ephemeral)> {
        let (mut salt, mut secret) = ([0; 2], [0; 32]);
        self.rng.try_fill_bytes(&mut salt).ok()?;
        self.rng.try_fill_bytes(&mut secret).ok()?;
        Some((u16::from_le_bytes(salt), Ephemeral(secret)))
    }
}

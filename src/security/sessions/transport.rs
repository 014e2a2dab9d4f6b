//! Sealed datagrams, out and in. Nothing here allocates.

use super::table::{Entry, Phase, Session};
use super::{PlainBuf, Refusal, SealError, SessionEvent, Sessions};
use crate::security::replay::Window;
use crate::time::RawTime;
use crate::topology::NodeId;
use crate::wire::{
    CONFIRM_DATAGRAM_LEN, Kind, MAX_DATAGRAM, MESSAGE_LEN, NetworkId, TAG_LEN,
    TRANSPORT_HEADER_LEN, write_transport_header,
};
use std::net::SocketAddr;

/// No session sends more; far below what the cipher allows.
const MAX_COUNTER: u64 = 1 << 60;

impl Sessions {
    /// Seals `plaintext`, a message of [`crate::wire::encode`], for `peer` into `out`; gives the
    /// length of the datagram and where to send it. Does not allocate.
    ///
    /// # Errors
    /// [`SealError`]; nothing is to be sent then.
    pub fn seal(
        &mut self,
        now: RawTime,
        peer: &NodeId,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, SocketAddr), SealError> {
        if plaintext.len() < MESSAGE_LEN
            || plaintext.len() > MAX_DATAGRAM - TRANSPORT_HEADER_LEN - TAG_LEN
        {
            return Err(SealError::Length);
        }
        let position = self.peers.find(peer).ok_or(SealError::NoSession)?;
        let peer = self.peers.get_mut(position).ok_or(SealError::NoSession)?;
        let session = peer
            .current
            .and_then(|index| self.slots.session_mut(index))
            .ok_or(SealError::NoSession)?;
        let len = session.seal(Kind::Time, self.network, plaintext, out)?;
        if peer.unanswered == 0 {
            peer.unanswered_since = now;
        }
        peer.unanswered = peer.unanswered.saturating_add(1);
        let addr = peer.addr;
        let silent_at = (peer.unanswered == self.limits.unanswered_packets)
            .then(|| peer.unanswered_since + self.limits.unanswered_for);
        let worn_out = session.sent == self.limits.rekey_after_packets;
        if let Some(at) = silent_at {
            self.wake_by(at);
        }
        if worn_out {
            self.wake_by(now);
        }
        Ok((len, addr))
    }

    /// Opens a sealed datagram into `plain`: its sender and the length of its text.
    pub(super) fn on_sealed(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        receiver: u32,
        counter: u64,
        sealed: &[u8],
        plain: &mut PlainBuf,
    ) -> Result<(NodeId, usize), Refusal> {
        let (position, len, newest) = match self.slots.get_mut(receiver) {
            Some(Entry::Session(session)) => {
                if !session.window.is_fresh(counter) {
                    return Err(Refusal::Replay);
                }
                let len = session
                    .transport
                    .read_message(counter, sealed, plain.room())
                    .map_err(|_| Refusal::Forged)?;
                session.last_received = now;
                (session.peer, len, session.window.mark(counter))
            }
            Some(Entry::Attempt(attempt)) => {
                let Phase::Finishing(finishing) = &attempt.phase else {
                    return Err(Refusal::Unexpected);
                };
                let len = finishing
                    .transport
                    .read_message(counter, sealed, plain.room())
                    .map_err(|_| Refusal::Forged)?;
                let position = self.promote(now, from, receiver, counter)?;
                (position, len, true)
            }
            Some(Entry::Pending(_)) => return Err(Refusal::Unexpected),
            None => return Err(Refusal::UnknownSession),
        };
        let peer = self
            .peers
            .get_mut(position)
            .ok_or(Refusal::UnknownSession)?;
        peer.last_received = now;
        peer.unanswered = 0;
        let id = peer.id;
        // Only the newest packet tells where the peer is: an older one may have been held back.
        if newest && peer.addr != from {
            peer.addr = from;
            self.tell(SessionEvent::Moved {
                peer: id,
                addr: from,
            });
        }
        Ok((id, len))
    }

    /// Any authentic packet shows that the responder has our third message: the attempt becomes a
    /// session.
    fn promote(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        index: u32,
        counter: u64,
    ) -> Result<usize, Refusal> {
        let (peer, asked) = match self.slots.get(index) {
            Some(Entry::Attempt(attempt)) => match &attempt.phase {
                Phase::Finishing(finishing) => (finishing.peer, attempt.asked),
                Phase::Opening => return Err(Refusal::Unexpected),
            },
            _ => return Err(Refusal::UnknownSession),
        };
        let position = self.admit(now, peer, from, asked)?;
        let mut window = Window::default();
        window.mark(counter);
        self.slots.update(index, |entry| match entry {
            Entry::Attempt(attempt) => match attempt.phase {
                Phase::Finishing(finishing) => Entry::Session(Box::new(Session {
                    peer: position,
                    transport: finishing.transport,
                    remote_index: finishing.remote_index,
                    sent: 0,
                    window,
                    established: now,
                    last_received: now,
                    finish: None,
                })),
                Phase::Opening => Entry::Attempt(attempt),
            },
            other => other,
        });
        self.install(now, position, index, from, asked);
        Ok(position)
    }

    /// Tells the peer at `to` that its third handshake message has arrived.
    pub(super) fn confirm(&mut self, index: u32, to: SocketAddr) {
        let mut datagram = [0; CONFIRM_DATAGRAM_LEN];
        let network = self.network;
        if let Some(session) = self.slots.session_mut(index)
            && session
                .seal(Kind::Confirm, network, &[], &mut datagram)
                .is_ok()
        {
            self.queue(to, &datagram);
        }
    }
}

impl Session {
    fn seal(
        &mut self,
        kind: Kind,
        network: NetworkId,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        if self.sent >= MAX_COUNTER {
            return Err(SealError::Exhausted);
        }
        let (header, body) = out
            .split_first_chunk_mut::<TRANSPORT_HEADER_LEN>()
            .ok_or(SealError::Length)?;
        *header = write_transport_header(kind, network, self.remote_index, self.sent);
        let len = self
            .transport
            .write_message(self.sent, plaintext, body)
            .map_err(|_| SealError::Length)?;
        self.sent += 1;
        Ok(TRANSPORT_HEADER_LEN + len)
    }
}

//! What comes out of the sessions.

use std::net::SocketAddr;

use crate::topology::NodeId;
use crate::wire::{MAX_DATAGRAM, PacketError};

/// Room for the text of one message.
#[derive(Debug, Clone)]
pub struct PlainBuf([u8; MAX_DATAGRAM]);

impl PlainBuf {
    pub(super) fn first(&self, len: usize) -> &[u8] {
        self.0.get(..len).unwrap_or_default()
    }

    pub(super) const fn room(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Default for PlainBuf {
    fn default() -> Self {
        Self([0; MAX_DATAGRAM])
    }
}

/// What a datagram was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message of a peer, authentic and not seen before; for [`crate::wire::decode`].
    Message {
        /// Who sent it.
        peer: NodeId,
        /// Its text.
        bytes: &'a [u8],
    },
    /// Part of a handshake, dealt with.
    Handshake,
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Its outer part is malformed or of another network.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// It belongs to no session or handshake we know; its sender will notice and begin anew.
    #[error("of a session that does not exist")]
    UnknownSession,
    /// It is not what this session or handshake waits for now, or comes from elsewhere.
    #[error("unexpected at this point of the handshake")]
    Unexpected,
    /// It was seen before, or is too old to tell.
    #[error("seen before, or too old")]
    Replay,
    /// It does not authenticate.
    #[error("forged or damaged")]
    Forged,
    /// It proves another identity than the one it names, or than the one expected there.
    #[error("proves another identity than it should")]
    WrongIdentity,
    /// It is our own.
    #[error("our own datagram")]
    SelfConnection,
    /// Its source asks too often.
    #[error("too many from this source")]
    RateLimited,
    /// No room for another peer.
    #[error("no room for another peer")]
    Full,
    /// No random bytes for a key.
    #[error("the system gives no random bytes")]
    Entropy,
}

/// Why a message cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SealError {
    /// There is no session with this peer (any more).
    #[error("no session with this peer: connect to it first")]
    NoSession,
    /// The message is too short or too long, or the buffer too small for it.
    #[error("the message or the buffer is of the wrong length")]
    Length,
    /// The session's counter has run out; fresh keys are on their way.
    #[error("this session has sent all it may")]
    Exhausted,
}

/// Why [`super::Sessions::connect`] came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FailReason {
    /// Nobody answered in time.
    #[error("no answer: is the address right, the port open, the network's name the same?")]
    Timeout,
    /// Somebody else is there.
    #[error("{0} is there instead: check the address or the expected identity")]
    WrongIdentity(NodeId),
    /// We are there ourselves.
    #[error("that is this node itself")]
    SelfConnection,
    /// All places are taken.
    #[error("no room for another peer or handshake now")]
    Full,
    /// No random bytes for a key.
    #[error("the system gives no random bytes for keys")]
    Entropy,
}

/// Something happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEvent {
    /// A session with `peer` is there and [`super::Sessions::seal`] works.
    Established {
        /// Who it is.
        peer: NodeId,
        /// Where it is.
        addr: SocketAddr,
        /// It chose us; we did not [`super::Sessions::connect`] to it.
        inbound: bool,
    },
    /// A [`super::Sessions::connect`] came to nothing.
    Failed {
        /// Where we tried.
        addr: SocketAddr,
        /// Whom we expected.
        expect: Option<NodeId>,
        /// Why.
        reason: FailReason,
    },
    /// The peer speaks from another address now.
    Moved {
        /// Who it is.
        peer: NodeId,
        /// Where it is now.
        addr: SocketAddr,
    },
    /// The last session with `peer` is gone: too long silent, keys too old, or pushed out.
    Closed {
        /// Who it was.
        peer: NodeId,
    },
}

/// How full the tables of [`super::Sessions`] are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Peers with a session.
    pub peers: usize,
    /// Sessions; at most two a peer.
    pub sessions: usize,
    /// Handshakes we have begun.
    pub attempts: usize,
    /// Handshakes others have begun.
    pub pending: usize,
    /// Places in the rate limiter's table; constant.
    pub sources: usize,
    /// Handshake datagrams that wait to be sent.
    pub outbox: usize,
    /// Events that wait to be taken.
    pub events: usize,
}

//! How much of everything there may be.

use super::Allowance;
use crate::time::Span;

/// The sizes of all tables and the length of all waits of [`super::Sessions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Peers we chose.
    pub max_outbound: usize,
    /// Peers that chose us.
    pub max_inbound: usize,
    /// Handshakes we have begun.
    pub max_attempts: usize,
    /// Handshakes others have begun, their address proved by a cookie.
    pub max_pending: usize,
    /// Sources the rate limiters can tell apart; they cost 16 bytes each, twice.
    pub max_sources: usize,

    /// Handshake messages of a proven address that make us compute, per source (one IPv4 address
    /// or IPv6 /64). A whole handshake takes two. Many nodes may share one address.
    pub handshakes_per_source: Allowance,
    /// The same, of all sources together; about 0.2 ms of a core each.
    pub handshakes_in_all: Allowance,
    /// Cheap answers (cookies, repeated messages) per source.
    pub answers_per_source: Allowance,

    /// First wait for an answer in a handshake; doubles with each repetition.
    pub retransmit_first: Span,
    /// Longest wait for an answer in a handshake.
    pub retransmit_max: Span,
    /// A handshake we have begun is given up after this.
    pub attempt_timeout: Span,
    /// A handshake others have begun is forgotten after this.
    pub pending_timeout: Span,

    /// Fresh keys after this time,
    pub rekey_after: Span,
    /// or after this many packets sent.
    pub rekey_after_packets: u64,
    /// Keys older than this are never used again.
    pub expire_after: Span,
    /// A replaced session still receives for this long after its last packet.
    pub linger: Span,
    /// A peer not heard for this long is forgotten.
    pub idle_timeout: Span,
    /// If this many packets
    pub unanswered_packets: u32,
    /// over this time remain without any sign of the peer, it may have lost its keys: a new
    /// handshake is tried.
    pub unanswered_for: Span,
    /// At most one such try (or try of fresh keys) per peer in this time.
    pub reconnect_every: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_outbound: 128,
            max_inbound: 256,
            max_attempts: 128,
            max_pending: 128,
            max_sources: 4096,
            handshakes_per_source: Allowance {
                per_second: 64,
                burst: 256,
            },
            handshakes_in_all: Allowance {
                per_second: 256,
                burst: 512,
            },
            answers_per_source: Allowance {
                per_second: 128,
                burst: 256,
            },
            retransmit_first: Span::from_millis(250),
            retransmit_max: Span::from_secs(4),
            attempt_timeout: Span::from_secs(20),
            pending_timeout: Span::from_secs(10),
            rekey_after: Span::from_secs(3_600),
            rekey_after_packets: 1 << 32,
            expire_after: Span::from_secs(3 * 3_600),
            linger: Span::from_secs(180),
            idle_timeout: Span::from_secs(600),
            unanswered_packets: 4,
            unanswered_for: Span::from_secs(10),
            reconnect_every: Span::from_secs(30),
        }
    }
}

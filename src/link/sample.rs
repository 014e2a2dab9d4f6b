//! What a packet says about the offset between two raw clocks.

use super::likelihood::Likelihood;
use crate::time::{RawTime, Span};

/// One packet in one direction: a limit on the offset, since nothing arrives before it was sent.
///
/// With `offset(t) = a + b·t` over our raw clock and a delay of at least zero:
///
/// - forward, sent at `t1` (ours), received at `t2` (theirs): `offset(t1) ≤ t2 − t1`
/// - reverse, sent at `t3` (theirs), received at `t4` (ours): `offset(t4) ≥ t3 − t4`
///
/// Both hold exactly for a line, whatever the delay (J.-M. Berthaud, *Time synchronization
/// over networks using convex closures*, IEEE/ACM Trans. Networking 8(2), 2000).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneWay {
    /// From us to the peer.
    pub forward: bool,
    /// When the limit applies, on our raw clock.
    pub at: RawTime,
    /// The limit: peer's stamp minus ours, ns.
    pub offset: i64,
    /// The stamps may be off by this much together.
    pub error: Span,
}

impl OneWay {
    /// A packet that left us at `sent` and reached the peer at `received` by its own clock.
    pub fn forward(sent: RawTime, received: RawTime, error: Span) -> Self {
        Self {
            forward: true,
            at: sent,
            offset: (received - sent).as_nanos(),
            error,
        }
    }

    /// A packet that left the peer at `sent` by its own clock and reached us at `received`.
    pub fn reverse(sent: RawTime, received: RawTime, error: Span) -> Self {
        Self {
            forward: false,
            at: received,
            offset: (sent - received).as_nanos(),
            error,
        }
    }
}

/// One packet in one direction, in the link's coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Direction {
    /// From us to the peer; the offset is an upper limit, otherwise a lower one.
    pub forward: bool,
    /// When, in seconds since the link's epoch.
    pub at: f64,
    /// The peer's stamp minus ours, ns relative to the link's reference.
    pub offset: f64,
    /// The two stamps may be off by this much together, ns.
    pub error: f64,
}

/// Both directions of one exchange, in the link's coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchange {
    /// When, in seconds since the link's epoch.
    pub at: f64,
    /// The offset if both directions took equally long, ns.
    pub offset: f64,
    /// Half of the round trip, ns: the offset cannot be further off than this.
    pub half_delay: f64,
    /// One sigma of the noise of the stamps themselves, ns.
    pub stamp_sigma: f64,
    /// What the delays leave possible, as far as they are known.
    pub likelihood: Likelihood,
}

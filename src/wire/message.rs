//! What neighbours tell each other in every time packet, requests and replies alike.

use serde::{Deserialize, Serialize};

use crate::time::{Rate, RawTime, Span, VirtualLine};

/// Where a timestamp was taken, worst to best.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum StampSource {
    /// In user space, around the system call.
    User,
    /// In the XDP hook.
    Xdp,
    /// In the kernel's network stack.
    Kernel,
    /// In the network card.
    Hardware,
}

/// How far a node is on its way to the common clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockState {
    /// No usable neighbour has been heard yet.
    Unsynchronized,
    /// Neighbours are heard; the virtual clock still jumps to meet them.
    Joining,
    /// In agreement with the neighbours.
    Synchronized,
    /// Neighbours are gone; the clock runs on at its last good rate and its bound grows.
    Holdover,
    /// Holdover has lasted too long for the clock to be worth anything.
    FreeRunning,
}

impl ClockState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Unsynchronized,
        Self::Joining,
        Self::Synchronized,
        Self::Holdover,
        Self::FreeRunning,
    ];
}

/// One end of one packet: when it left or arrived, on the sender's or receiver's raw clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PacketStamp {
    /// The packet's number ([`Message::seq`]) in its direction.
    pub seq: u32,
    /// The instant, on the raw clock of the host that took it.
    pub at: RawTime,
    /// The instant may be off by this much either way (clock conversion, resolution).
    pub error: Span,
    /// Where it was taken.
    pub source: StampSource,
}

/// Where a node stands in a tree of time servers. Only the network strategy of that kind looks at
/// it; the others know no ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Tier {
    /// Hops to the preferred server, it being 1; 0: in no tree, nobody may follow.
    pub level: u8,
    /// The preferred server's rank, which stands for it; the least is the most preferred.
    pub root: [u8; 3],
}

impl Tier {
    /// Takes no part in a tree.
    pub const NONE: Self = Self {
        level: 0,
        root: [0; 3],
    };
}

/// How closely an honest, synchronized node keeps to the line it tells: `age` after it said so it
/// is no farther from it than `slack + rate·age`. Small corrections go to and fro, so a clock that
/// moves by 20 ns a second need not be 200 ns from its line after ten.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// As far as this it may be at once …
    pub slack: Span,
    /// … and no faster than this it goes farther …
    pub rate: Rate,
    /// … for so long; what it does later is not promised.
    pub hold: Span,
    /// The line is over an oscillator whose frequency walks by no more than this (one sigma, as a
    /// fraction per √s), as far as the node has measured it.
    pub wander: Option<f64>,
}

impl Promise {
    /// Promises nothing.
    pub const NONE: Self = Self {
        slack: Span::ZERO,
        rate: Rate::ZERO,
        hold: Span::ZERO,
        wander: None,
    };
}

/// A difference of frequencies that may be unknown, in two bytes: units of 2⁻²⁸ (3.7 ppb), up to
/// ±122 ppm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess(i16);

impl Excess {
    /// Not known.
    pub const UNKNOWN: Self = Self(i16::MIN);

    const UNIT: f64 = 1.0 / (1_u64 << 28) as f64;

    /// As it goes over the wire.
    pub(super) const fn from_code(code: i16) -> Self {
        Self(code)
    }

    /// As it goes over the wire.
    pub(super) const fn code(self) -> i16 {
        self.0
    }

    /// The nearest to `fraction`; what is beyond its range is not known.
    pub fn new(fraction: f64) -> Self {
        let steps = (fraction / Self::UNIT).round();
        if steps.abs() <= f64::from(i16::MAX) {
            Self(steps as i16)
        } else {
            Self::UNKNOWN
        }
    }

    /// As a fraction, if it is known.
    pub fn fraction(self) -> Option<f64> {
        (self != Self::UNKNOWN).then(|| f64::from(self.0) * Self::UNIT)
    }
}

/// The content of a time packet.
///
/// The exchange is symmetric and *interleaved* (as NTP's `xleave`): the precise transmit stamp of
/// a packet is known only after it left, so the next packet carries it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Number of this packet among those the sender sent to this peer; wraps.
    pub seq: u32,
    /// The sender wants a reply.
    pub wants_reply: bool,
    /// State of the sender's virtual clock.
    pub state: ClockState,
    /// When the sender's previous packet to this peer left.
    pub last_tx: Option<PacketStamp>,
    /// When the last packet from this peer arrived at the sender.
    pub last_rx: Option<PacketStamp>,
    /// When the one before that did: where the sides take turns in asking, nothing else would tell
    /// the fate of an answer that ended a burst.
    pub prior_rx: Option<PacketStamp>,
    /// The sender's virtual clock as a line over its raw clock.
    pub line: VirtualLine,
    /// The sender's guaranteed bound on its virtual clock; [`Span::MAX`] if unknown.
    pub bound: Span,
    /// The sender's place in the tree of time servers, if it takes part in one.
    pub tier: Tier,
    /// How closely the sender keeps to `line`.
    pub promise: Promise,
    /// What the sender's users are shown minus `line`: what it has agreed on with the nodes near it.
    /// It has no weight in what the network agrees on.
    pub local: Span,
    /// How much faster the virtual clock runs than the typical oscillator of the network, as far as
    /// the sender knows.
    pub excess: Excess,
}

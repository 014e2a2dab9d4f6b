//! The lines of a record.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::node::{ClockView, LinkId, NodeConfig, RawStamp, Strategies};
use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::topology::{Candidate, NodeId};
use crate::wire::Message;

/// The format this release writes and reads.
pub const FORMAT: u32 = 1;

/// What a record calls itself.
const MAGIC: &str = "parisync";

/// Which clock the raw times of a record are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawScale {
    /// `CLOCK_MONOTONIC_RAW`, the same for all processes of a host since it booted: the true
    /// offset between two such records of one boot is zero.
    MonotonicRaw,
    /// The clock of a network card.
    Card,
    /// An oscillator of the process's own.
    Virtual,
}

/// The first line: what the node was built from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Always `parisync`.
    pub record: String,
    /// [`FORMAT`].
    pub format: u32,
    /// The release that recorded.
    pub version: String,
    /// The node.
    pub id: NodeId,
    /// The strategy for one link, as it is named on the command line.
    pub estimator: String,
    /// The strategy for many links, likewise.
    pub combine: String,
    /// Which clock the raw times are on.
    pub raw: RawScale,
    /// The kernel's random name of this boot; null if it has none.
    pub boot: Option<String>,
    /// The raw clock when the node was built.
    pub now: RawTime,
    /// The virtual clock then.
    pub line: VirtualLine,
    /// What all random choices come from.
    pub seed: u64,
    /// How the node behaves.
    pub config: NodeConfig,
}

impl Header {
    /// A header in this release's format.
    pub fn new(
        id: NodeId,
        strategies: Strategies,
        (raw, boot): (RawScale, Option<String>),
        now: RawTime,
        line: VirtualLine,
        seed: u64,
        config: NodeConfig,
    ) -> Self {
        Self {
            record: MAGIC.to_owned(),
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            id,
            estimator: strategies.estimator.name().to_owned(),
            combine: strategies.combine.name().to_owned(),
            raw,
            boot,
            now,
            line,
            seed,
            config,
        }
    }

    pub(super) fn is_record(&self) -> bool {
        self.record == MAGIC
    }

    /// What in it no node could have been built from.
    pub(super) fn problem(&self) -> Option<&'static str> {
        /// Far more than anybody configures; a changed digit must not cost all memory.
        const MOST_PEERS: usize = 1 << 16;
        let config = &self.config;
        let spans = [
            config.poll,
            config.fast_poll,
            config.listen,
            config.holdover_limit,
            config.rotate,
        ];
        let century = Span::from_secs(100 * 365 * 86_400);
        let within = |value: f64, most: f64| (0.0..=most).contains(&value);
        if config.inbound.max(config.near) > MOST_PEERS || config.candidates > MOST_PEERS {
            Some("there is no node with as many peers")
        } else if spans.iter().any(|s| *s < Span::ZERO || *s > century) {
            Some("a time in it is negative, or beyond a century")
        } else if !within(config.oscillator.max_drift.as_fraction(), 0.1)
            || !within(config.oscillator.wander, 1e-3)
            || !within(config.max_correction.as_fraction(), 0.1)
            || !within(config.assumed_liars, 1.0)
        {
            Some("a rate in it is beyond belief")
        } else {
            None
        }
    }
}

/// What the node was told, in order, and the clock it showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry {
    /// An engine found a peer.
    Found {
        /// Who and where.
        peer: Candidate,
    },
    /// An engine says that a peer has left.
    Lost {
        /// When, on the raw clock, as everywhere.
        t: RawTime,
        /// Who.
        peer: NodeId,
    },
    /// A session is up.
    Up {
        /// When.
        t: RawTime,
        /// With whom.
        peer: NodeId,
        /// Where.
        addr: SocketAddr,
        /// The peer opened it.
        inbound: bool,
    },
    /// A session is gone.
    Down {
        /// When.
        t: RawTime,
        /// With whom.
        peer: NodeId,
    },
    /// A session could not be opened.
    Failed {
        /// When.
        t: RawTime,
        /// With whom.
        peer: NodeId,
    },
    /// A peer speaks from a new address.
    Moved {
        /// Who.
        peer: NodeId,
        /// Where.
        addr: SocketAddr,
    },
    /// A message arrived.
    Rx {
        /// When it was taken in.
        t: RawTime,
        /// Whose it is.
        peer: NodeId,
        /// When the packet arrived.
        stamp: RawStamp,
        /// What it says.
        #[serde(with = "hex")]
        message: Message,
    },
    /// The node was asked for a message to send.
    Tx {
        /// When.
        t: RawTime,
        /// The link and the number of the message; null if there was none to send after all.
        packet: Option<(LinkId, u32)>,
    },
    /// The transmit stamp of a message came.
    Stamp {
        /// The link and the number of the message.
        packet: (LinkId, u32),
        /// When the packet left.
        stamp: RawStamp,
    },
    /// Time passed: the node did what was due.
    Tick {
        /// When.
        t: RawTime,
    },
    /// The host slept.
    Slept {
        /// When.
        t: RawTime,
        /// For how long.
        span: Span,
    },
    /// What the node was told of the true frequency.
    Truth {
        /// That against its raw clock; null if it is no longer known.
        rate: Option<Rate>,
    },
    /// The clock that the node showed after what is said above.
    Clock {
        /// When.
        t: RawTime,
        /// The clock.
        view: ClockView,
    },
    /// The recorder could not keep up: what follows cannot be replayed exactly.
    Gap {
        /// Lines that are missing here.
        missing: u64,
    },
    /// The check sum of all bytes before this line.
    Sum {
        /// In hexadecimal.
        fnv: String,
    },
    /// The record is complete. Also a check sum.
    End {
        /// In hexadecimal.
        fnv: String,
    },
}

impl Entry {
    /// When it happened, if it says so.
    pub const fn time(&self) -> Option<RawTime> {
        match self {
            Self::Lost { t, .. }
            | Self::Up { t, .. }
            | Self::Down { t, .. }
            | Self::Failed { t, .. }
            | Self::Rx { t, .. }
            | Self::Tx { t, .. }
            | Self::Tick { t }
            | Self::Slept { t, .. }
            | Self::Clock { t, .. } => Some(*t),
            Self::Found { .. }
            | Self::Moved { .. }
            | Self::Stamp { .. }
            | Self::Truth { .. }
            | Self::Gap { .. }
            | Self::Sum { .. }
            | Self::End { .. } => None,
        }
    }
}

/// A message as its bytes on the wire.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::wire::{self, MESSAGE_LEN, Message};

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    pub(super) fn serialize<S: Serializer>(message: &Message, to: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; MESSAGE_LEN];
        wire::encode(message, &mut bytes);
        let digits = |byte: u8| [byte >> 4, byte & 15].map(|d| char::from(DIGITS[usize::from(d)]));
        to.serialize_str(&bytes.into_iter().flat_map(digits).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Message, D::Error> {
        let text = String::deserialize(from)?;
        let nibble = |c: u8| char::from(c).to_digit(16);
        let bytes: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some((nibble(*high)? << 4 | nibble(*low)?) as u8),
                _ => None,
            })
            .collect();
        let bytes = bytes.filter(|bytes| bytes.len() == MESSAGE_LEN);
        let bytes = bytes.ok_or_else(|| {
            Error::custom(format!(
                "a message is {} hexadecimal digits",
                2 * MESSAGE_LEN
            ))
        })?;
        wire::decode(&bytes).map_err(Error::custom)
    }
}

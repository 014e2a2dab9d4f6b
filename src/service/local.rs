//! The host's raw clock, and packet stamps on its timescale.

use hwts::clock::{RawClock, StampConverter};
use hwts::{Domain, Source, Stamp};

use crate::node::RawStamp;
use crate::time::{RawTime, Span};
use crate::wire::StampSource;

/// Reads the raw clock and brings the kernel's stamps onto it. One for each thread.
#[derive(Debug, Clone)]
pub struct LocalClock {
    raw: RawClock,
    converter: StampConverter,
}

impl LocalClock {
    /// On top of `raw`.
    pub fn new(raw: RawClock) -> Self {
        Self {
            raw,
            converter: StampConverter::new(Domain::Realtime),
        }
    }

    /// The raw clock now.
    pub fn now(&self) -> RawTime {
        RawTime::from_nanos(self.raw.now())
    }

    /// The raw clock when `CLOCK_MONOTONIC_RAW` reads `mono` nanoseconds.
    pub fn at(&self, mono: i64) -> RawTime {
        RawTime::from_nanos(self.raw.at(mono))
    }

    /// Compare clocks; call it around every wait for packets.
    pub fn refresh(&mut self) {
        self.converter.refresh();
    }

    /// `stamp` on the raw clock, or `None` if the stamped clock jumped in between.
    pub fn convert(&mut self, stamp: Stamp) -> Option<RawStamp> {
        let mono = self.converter.convert(stamp).ok()?;
        Some(RawStamp {
            at: self.at(mono.raw),
            error: Span::from_nanos(mono.error),
            source: match stamp.source {
                Source::User => StampSource::User,
                Source::Kernel => StampSource::Kernel,
            },
        })
    }
}

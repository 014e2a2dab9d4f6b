//! The host's raw clock, and packet stamps on its timescale.

use hwts::clock::{CardEvent, CardOscillator, PhcError, RawClock, Timebase};
use hwts::{Domain, Source, Stamp};

use crate::node::RawStamp;
use crate::time::{RawTime, Span};
use crate::wire::StampSource;

/// Reads the raw clock and brings stamps of the kernel and of cards onto it. One for each thread.
#[derive(Debug)]
pub struct LocalClock {
    raw: RawClock,
    /// Stamps come from `base` on the raw clock already.
    of_card: bool,
    base: Timebase,
}

impl LocalClock {
    /// On top of `raw`.
    pub fn new(raw: RawClock) -> Self {
        Self {
            raw,
            of_card: false,
            base: Timebase::new(),
        }
    }

    /// On top of the clock of `card`, which it follows for all threads.
    pub fn over(card: CardOscillator) -> Self {
        Self {
            raw: RawClock::Card(card.reader()),
            of_card: true,
            base: Timebase::over(card),
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
        self.base.refresh();
    }

    /// The raw clock it is on top of.
    pub const fn raw(&self) -> &RawClock {
        &self.raw
    }

    /// Opens `/dev/ptp` number `phc` ahead of its first stamp, while there is the permission to.
    pub fn open_card(&mut self, phc: u32) {
        self.base.open(phc);
    }

    /// Why a card's clock cannot be read: once each time it fails.
    pub fn next_fault(&mut self) -> Option<PhcError> {
        self.base.next_fault()
    }

    /// What happened to the card whose clock is the raw clock, each once.
    pub fn next_event(&mut self) -> Option<CardEvent> {
        self.base.next_event()
    }

    /// How far raw times may be off this host's clocks all together, ns, since they are as a card sees
    /// them, and is read at other instants.
    pub fn asymmetry(&self) -> i64 {
        let read = self.raw.error_at(Domain::MonotonicRaw.now());
        self.base.asymmetry().saturating_add(read)
    }

    /// `stamp` on the raw clock, or that of the kernel `beside` it if it is of no use; `None` if
    /// the stamped clock jumped in between.
    pub fn convert(&mut self, stamp: Stamp, beside: Option<Stamp>) -> Option<RawStamp> {
        let (converted, source) = self.base.convert(stamp, beside).ok()?;
        Some(RawStamp {
            at: if self.of_card {
                RawTime::from_nanos(converted.raw)
            } else {
                self.at(converted.raw)
            },
            error: Span::from_nanos(converted.error),
            source: match source {
                Source::User => StampSource::User,
                Source::Xdp => StampSource::Xdp,
                Source::Kernel => StampSource::Kernel,
                Source::Hardware => StampSource::Hardware,
            },
        })
    }
}

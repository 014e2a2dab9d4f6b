//! The free-running clock that everything is estimated against.

use super::{CardReader, Oscillator};
use crate::stamp::Domain;

/// A clock nobody steers: the host's, a card's, or a virtual oscillator over the host's.
#[derive(Debug, Clone, Default)]
pub enum RawClock {
    /// `CLOCK_MONOTONIC_RAW` itself.
    #[default]
    Monotonic,
    /// That of a network card.
    Card(CardReader),
    /// An oscillator with known errors, for demonstrations and tests.
    Oscillator(Oscillator),
}

impl RawClock {
    /// Reads it now, ns.
    #[inline]
    pub fn now(&self) -> i64 {
        self.at(Domain::MonotonicRaw.now())
    }

    /// What it reads, in ns, when `CLOCK_MONOTONIC_RAW` reads `mono`.
    #[inline]
    pub fn at(&self, mono: i64) -> i64 {
        match self {
            Self::Monotonic => mono,
            Self::Card(card) => card.at(mono),
            Self::Oscillator(o) => o.at(mono),
        }
    }

    /// How far [`at`](Self::at) of `mono` may be off, ns: what a card's readings leave open, else nothing.
    pub fn error_at(&self, mono: i64) -> i64 {
        match self {
            Self::Card(card) => card.error_at(mono),
            Self::Monotonic | Self::Oscillator(_) => 0,
        }
    }
}

impl From<Oscillator> for RawClock {
    fn from(oscillator: Oscillator) -> Self {
        Self::Oscillator(oscillator)
    }
}

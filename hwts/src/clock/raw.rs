//! The free-running clock that everything is estimated against.

use super::Oscillator;
use crate::stamp::Domain;

/// A clock nobody steers: the real one, or a virtual oscillator over it.
#[derive(Debug, Clone, Default)]
pub enum RawClock {
    /// `CLOCK_MONOTONIC_RAW` itself.
    #[default]
    Monotonic,
    /// An oscillator with known errors, for demonstrations and tests.
    Oscillator(Oscillator),
}

impl RawClock {
    /// Reads it now, ns.
    #[inline]
    pub fn now(&self) -> i64 {
        self.at(Domain::MonotonicRaw.now())
    }

    /// What it reads, in ns, when `CLOCK_MONOTONIC_RAW` reads `mono`; exact.
    #[inline]
    pub fn at(&self, mono: i64) -> i64 {
        match self {
            Self::Monotonic => mono,
            Self::Oscillator(o) => o.at(mono),
        }
    }
}

impl From<Oscillator> for RawClock {
    fn from(oscillator: Oscillator) -> Self {
        Self::Oscillator(oscillator)
    }
}

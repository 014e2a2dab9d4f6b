//! Instants and spans, typed by timescale.
//!
//! Everything is estimated against the **raw** clock of a host, an oscillator nobody steers
//! (`CLOCK_MONOTONIC_RAW`, later a free-running PHC). The network agrees on a **virtual** clock,
//! a line over raw. Mixing the two does not compile:
//!
//! ```compile_fail
//! use parisync::time::{RawTime, VirtualTime};
//! let _ = RawTime::from_nanos(0) - VirtualTime::from_nanos(0);
//! ```
//!
//! Absolute time is `i64` nanoseconds; `f64` appears only in differences, rates and noise.

mod line;
mod rate;
mod span;

pub use line::VirtualLine;
pub(crate) use line::floor;
pub use rate::Rate;
pub use span::Span;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The raw timescale of one host: its free-running oscillator, arbitrary epoch.
#[derive(Debug, Clone, Copy)]
pub enum Raw {}

/// The timescale the network agrees on: continuous, TAI-like, nanoseconds since 1970-01-01 TAI.
#[derive(Debug, Clone, Copy)]
pub enum Virtual {}

/// An instant on timescale `S`, in nanoseconds since that scale's epoch.
pub struct Time<S> {
    nanos: i64,
    scale: PhantomData<S>,
}

/// An instant on a host's raw oscillator.
pub type RawTime = Time<Raw>;

/// An instant on the virtual clock.
pub type VirtualTime = Time<Virtual>;

impl<S> Time<S> {
    /// The instant `nanos` nanoseconds after the epoch of the scale.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self {
            nanos,
            scale: PhantomData,
        }
    }

    /// Nanoseconds since the epoch of the scale.
    pub const fn as_nanos(self) -> i64 {
        self.nanos
    }

    /// This instant, `span` later; stays at the end of the scale instead of wrapping.
    pub const fn saturating_add(self, span: Span) -> Self {
        Self::from_nanos(self.nanos.saturating_add(span.as_nanos()))
    }
}

impl<S> Clone for Time<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Time<S> {}

impl<S> PartialEq for Time<S> {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl<S> Eq for Time<S> {}

impl<S> PartialOrd for Time<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for Time<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl<S> Hash for Time<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl<S> fmt::Debug for Time<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ns", self.nanos)
    }
}

/// As nanoseconds since the scale's epoch.
impl<S> Serialize for Time<S> {
    fn serialize<T: Serializer>(&self, to: T) -> Result<T::Ok, T::Error> {
        self.nanos.serialize(to)
    }
}

impl<'de, S> Deserialize<'de> for Time<S> {
    fn deserialize<T: Deserializer<'de>>(from: T) -> Result<Self, T::Error> {
        i64::deserialize(from).map(Self::from_nanos)
    }
}

// Instants that come off the wire may be anything, so arithmetic saturates instead of panicking.
impl<S> Sub for Time<S> {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl<S> Add<Span> for Time<S> {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        self.saturating_add(span)
    }
}

impl<S> Sub<Span> for Time<S> {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self::from_nanos(self.nanos.saturating_sub(span.as_nanos()))
    }
}

impl<S> AddAssign<Span> for Time<S> {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl<S> SubAssign<Span> for Time<S> {
    fn sub_assign(&mut self, span: Span) {
        *self = *self - span;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_instead_of_wrapping() {
        let end = RawTime::from_nanos(i64::MAX);
        assert_eq!(end + Span::from_nanos(1), end);
        assert_eq!(
            end - RawTime::from_nanos(i64::MIN),
            Span::from_nanos(i64::MAX)
        );
    }
}

//! A timestamp, and what it is worth.

use std::fmt;

use crate::sys;

/// The clock a stamp was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `CLOCK_REALTIME`: nanoseconds since 1970-01-01 UTC; may be slewed and stepped.
    Realtime,
    /// `CLOCK_TAI`: `CLOCK_REALTIME` plus the TAI offset the kernel was told.
    Tai,
    /// `CLOCK_MONOTONIC_RAW`: the free-running counter, arbitrary epoch; nobody steers it.
    MonotonicRaw,
    /// The clock of a network card, `/dev/ptpN`: counts as its owner has it count, TAI by custom.
    Phc(u32),
}

impl Domain {
    /// Reads this clock now, in nanoseconds. A card's clock cannot be read without its device
    /// ([`Phc`](crate::clock::Phc)): 0, which stands for no time.
    #[inline]
    pub fn now(self) -> i64 {
        sys::clock_gettime(match self {
            Self::Realtime => libc::CLOCK_REALTIME,
            Self::Tai => libc::CLOCK_TAI,
            Self::MonotonicRaw => libc::CLOCK_MONOTONIC_RAW,
            Self::Phc(_) => return 0,
        })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Realtime => "CLOCK_REALTIME",
            Self::Tai => "CLOCK_TAI",
            Self::MonotonicRaw => "CLOCK_MONOTONIC_RAW",
            Self::Phc(n) => return write!(f, "/dev/ptp{n}"),
        })
    }
}

/// Where on a packet's way a stamp was taken; ordered from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// By this process, before the send call or after the receive call: includes scheduling.
    User,
    /// By the kernel, when the packet was handed to or taken from the device driver.
    Kernel,
    /// By the network card, when the packet was on the wire.
    Hardware,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Kernel => "kernel",
            Self::Hardware => "hardware",
        })
    }
}

/// When a packet left or arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since the epoch of `domain`.
    pub nanos: i64,
    /// The clock it was read from.
    pub domain: Domain,
    /// Where it was taken.
    pub source: Source,
}

impl Stamp {
    /// A stamp taken here and now from the raw clock, which needs no conversion later.
    #[inline]
    pub fn user_now() -> Self {
        Self {
            nanos: Domain::MonotonicRaw.now(),
            domain: Domain::MonotonicRaw,
            source: Source::User,
        }
    }
}

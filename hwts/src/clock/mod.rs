//! Clocks: one that runs free, and those that can be steered.
//!
//! Everything is nanoseconds in `i64`. A rate is a fraction: `1e-6` gains one microsecond each
//! second.

mod card_oscillator;
mod convert;
mod cross;
mod oscillator;
mod phc;
mod phc_clock;
mod phc_convert;
mod pulse;
mod raw;
mod relation;
mod rise;
mod system;
mod timebase;
mod timex;
mod virtual_clock;
mod virtual_phc;

pub use card_oscillator::{CardEvent, CardOscillator, CardReader, FindPhc};
pub use convert::{ConvertError, Converted, StampConverter};
pub use cross::CrossRead;
pub use oscillator::{Oscillator, OscillatorSpec};
pub use phc::{Phc, PhcAbilities, PhcError, PhcMethod};
pub use phc_clock::PhcClock;
pub use phc_convert::PhcConverter;
pub use pulse::PulseError;
pub use raw::RawClock;
pub use system::{Permission, SystemClock};
pub use timebase::Timebase;
pub use virtual_clock::{VirtualClock, VirtualReader};
pub use virtual_phc::virtual_clocks;

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Fractions of a nanosecond and rates are kept in units of 2⁻⁶⁰.
const FRACTION_BITS: u32 = 60;

/// A fraction in units of 2⁻⁶⁰; saturates, and NaN becomes zero.
fn fixed_rate(rate: f64) -> i64 {
    (rate * (1_i64 << FRACTION_BITS) as f64).round() as i64
}

/// Units of 2⁻⁶⁰ as a fraction.
fn scale_rate(rate: i64) -> f64 {
    rate as f64 / (1_i64 << FRACTION_BITS) as f64
}

/// A clock whose rate and phase can be set.
pub trait Clock: Send {
    /// Reads it now, ns since its epoch.
    fn now(&self) -> i64;

    /// The largest magnitude [`set_rate`](Self::set_rate) can apply, as a fraction.
    fn max_rate(&self) -> f64;

    /// From now on runs by `rate` (a fraction) faster than with no steering at all; limited to
    /// ±[`max_rate`](Self::max_rate). Returns the rate really applied, which differs by the limit
    /// and by the resolution of the clock.
    ///
    /// # Errors
    /// [`ClockError::NotPermitted`], [`ClockError::OutOfRange`] for a rate that is no number.
    fn set_rate(&mut self, rate: f64) -> Result<f64, ClockError>;

    /// Moves the clock by `nanos` at once. Forgets what was [published](Self::publish), so publish
    /// again.
    ///
    /// # Errors
    /// [`ClockError::NotPermitted`], [`ClockError::OutOfRange`] beyond the clock's range.
    fn step(&mut self, nanos: i64) -> Result<(), ClockError>;

    /// Tells whoever asks the clock how good it is.
    ///
    /// # Errors
    /// [`ClockError::NotPermitted`].
    fn publish(&mut self, status: &SyncStatus) -> Result<(), ClockError>;

    /// What is applied and published now, also by others; needs no privilege.
    ///
    /// # Errors
    /// [`ClockError::Os`] if the clock cannot be asked.
    fn read_state(&self) -> Result<Steering, ClockError>;

    /// Starts to gain `nanos` over `duration` nanoseconds on top of the rate `base`, and returns
    /// the rate applied. The slew goes on until the caller sets the rate again, so it must call
    /// [`set_rate`](Self::set_rate) when `duration` has passed.
    ///
    /// # Errors
    /// As [`set_rate`](Self::set_rate); a duration that is not positive is out of range.
    fn slew(&mut self, base: f64, nanos: f64, duration: i64) -> Result<f64, ClockError> {
        if duration <= 0 {
            return Err(ClockError::OutOfRange("a slew needs a positive duration"));
        }
        self.set_rate(base + nanos / duration as f64)
    }
}

/// A leap second at the end of the current UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leap {
    /// None is near.
    #[default]
    None,
    /// The day has 86 401 seconds.
    Insert,
    /// The day has 86 399 seconds.
    Delete,
}

/// How good a clock is, as it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncStatus {
    /// Whether it is synchronized at all.
    pub synchronized: bool,
    /// Expected error, ns.
    pub estimated_error: i64,
    /// Guaranteed error, ns. The kernel lets it grow by 500 µs each second and takes the clock for
    /// unsynchronized at 16 s: publish every few seconds.
    pub max_error: i64,
    /// TAI − UTC in seconds, if it is to be set.
    pub tai_offset: Option<i32>,
    /// The leap second to announce.
    pub leap: Leap,
}

/// What steers a clock now; see `adjtimex(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Steering {
    /// Rate applied, tick and frequency together, as a fraction.
    pub rate: f64,
    /// Length of a tick, µs (10 000 is nominal); 0 for clocks without ticks.
    pub tick: i64,
    /// Frequency adjustment besides the tick, in 2⁻¹⁶ ppm.
    pub frequency: i64,
    /// Phase that the kernel's own loop still has to work off, ns.
    pub pending_offset: i64,
    /// Whether the kernel's own loop (PLL, FLL or PPS) steers the clock.
    pub kernel_loop: bool,
    /// What is published.
    pub status: SyncStatus,
    /// The kernel's `STA_*` bits; 0 for other clocks.
    pub status_bits: i32,
}

/// Why a clock did not do what it was told.
#[derive(Debug)]
pub enum ClockError {
    /// The process lacks the privilege to change the clock.
    NotPermitted {
        /// What was asked for.
        what: &'static str,
    },
    /// The value is beyond what the clock can do.
    OutOfRange(&'static str),
    /// The kernel has no such clock or operation.
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// A card's clock refused.
    Card {
        /// What was asked for.
        what: &'static str,
        /// Its device.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// Any other refusal of the kernel.
    Os {
        /// What was asked for.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Why a card's clock did not do what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `EBUSY`: virtual clocks stand on it, so it has to run free.
    Busy,
    /// `ERANGE`: beyond what its driver takes.
    Range,
    /// `ENODEV`: the card or its driver is gone.
    Gone,
    /// `EACCES`: it may be read, not written.
    ReadOnly,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Busy => {
                "it has to run free while virtual clocks stand on it; steer one of those (the other \
                 /dev/ptpN of the card), or remove them: echo 0 > /sys/class/ptp/ptpN/n_vclocks"
            }
            Self::Range => "the value is beyond the range of its driver",
            Self::Gone => "the card or its driver is gone",
            Self::ReadOnly => "this process may not write to it; run as root or by a udev rule",
        })
    }
}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { what } => write!(
                f,
                "not permitted to {what}: give the process CAP_SYS_TIME (AmbientCapabilities= in \
                 a unit, or setcap cap_sys_time+ep) and keep it out of a user namespace, or run \
                 without disciplining the system clock"
            ),
            Self::OutOfRange(what) => f.write_str(what),
            Self::Unsupported { what } => write!(f, "this kernel cannot {what}"),
            Self::Card {
                what,
                path,
                refusal,
            } => write!(f, "cannot {what}: {} refuses, {refusal}", path.display()),
            Self::Os { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for ClockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl ClockError {
    fn from_os(what: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::NotPermitted { what },
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => Self::Unsupported { what },
            _ => Self::Os { what, error },
        }
    }
}

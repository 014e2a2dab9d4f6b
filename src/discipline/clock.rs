//! What the discipline asks of a clock it steers.

pub use hwts::clock::Leap;

use crate::time::{Rate, RawTime, Span, Time};

/// The timescale that a steered clock shows: UTC for the system clock, TAI for a virtual one.
#[derive(Debug, Clone, Copy)]
pub enum Shown {}

/// What a steered clock reads, nanoseconds since the epoch of the scale it shows.
pub type ClockTime = Time<Shown>;

/// One reading of the steered clock against the raw clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossRead {
    /// The raw instant.
    pub raw: RawTime,
    /// What the steered clock read then.
    pub clock: ClockTime,
    /// `clock` may be off by this much either way, since the two are not read at once.
    pub error: Span,
}

/// How finely a clock can be steered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockLimits {
    /// The largest rate that can be commanded, either way.
    pub max_rate: Rate,
    /// The rate that runs may differ from the one `set_rate` returned by half of this either way.
    pub hidden_quantum: Rate,
    /// The clock wanders about its own line by this much (one sigma): a kernel that dithers
    /// between two multipliers.
    pub jitter: Span,
}

/// What steers the clock at this moment, whoever set it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelState {
    /// The rate in force: tick and frequency together.
    pub rate: Rate,
    /// The kernel's own loop (PLL or FLL) is on.
    pub kernel_loop: bool,
    /// Phase that the kernel still has to slew on somebody's behalf.
    pub pending: Span,
    /// The leap second that the kernel was told to make at the end of the UTC day.
    pub leap: Leap,
}

/// What the clock tells others about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// Within `max_error` of the common time; otherwise `STA_UNSYNC`.
    pub synchronized: bool,
    /// Expected error, one sigma.
    pub estimated_error: Span,
    /// Largest error possible.
    pub max_error: Span,
    /// TAI − UTC in seconds.
    pub tai_minus_utc: i32,
    /// The leap second that is pending: who told the kernel of it is not us, and it stays.
    pub leap: Leap,
}

/// A clock could not be steered; the text says what was refused and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// The process may not do this. Not tried again.
    #[error("{0}")]
    NotPermitted(String),
    /// The clock cannot be set to this value.
    #[error("{0}")]
    OutOfRange(String),
    /// The clock has no such control.
    #[error("{0}")]
    Unsupported(String),
    /// The operating system refused.
    #[error("{0}")]
    Os(String),
}

/// A clock whose rate and phase can be changed.
pub trait SteeredClock {
    /// How finely it can be steered.
    fn limits(&self) -> ClockLimits;

    /// Turns off whatever else steers the clock: the kernel's loop, a slew somebody asked for. May
    /// wait for the next command to do so.
    ///
    /// # Errors
    /// [`SteerError`] if the clock refuses.
    fn take_over(&mut self) -> Result<(), SteerError>;

    /// Runs at `rate` relative to nominal from now on. Returns the rate applied, to the clock's
    /// resolution.
    ///
    /// # Errors
    /// [`SteerError`] if the clock refuses; its rate is then unchanged.
    fn set_rate(&mut self, rate: Rate) -> Result<Rate, SteerError>;

    /// Jumps by `by`, rate unchanged.
    ///
    /// # Errors
    /// [`SteerError`] if the clock refuses; it has then not jumped.
    fn step(&mut self, by: Span) -> Result<(), SteerError>;

    /// Tells the clock's readers how good it is. Never changes rate or phase.
    ///
    /// # Errors
    /// [`SteerError`] if the clock refuses.
    fn publish(&mut self, publication: &Publication) -> Result<(), SteerError>;

    /// What steers the clock at this moment. Needs no privilege.
    ///
    /// # Errors
    /// [`SteerError`] if the clock cannot tell.
    fn kernel_state(&mut self) -> Result<KernelState, SteerError>;
}

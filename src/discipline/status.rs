//! What the discipline does and why.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::clock::SteerError;
use crate::time::{Rate, Span};

/// What is being done with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SteeringState {
    /// The node has no time to steer by; the clock keeps its rate.
    Unsynchronized,
    /// The node is still finding its time, or the clock's rate is being measured.
    Joining,
    /// The clock follows the virtual clock.
    Synchronized,
    /// The node has lost its neighbours: the clock runs on at its last good rate.
    Holdover,
    /// Holdover has lasted too long for the clock to be called synchronized.
    FreeRunning,
    /// The machine slept: waiting for the node to find its time again.
    Suspended,
    /// The offset is too large to be believed: the clock is left alone.
    Panic,
    /// Another daemon steers the same clock: it is left to that one.
    HeldBack,
    /// The clock is compared but never touched, by choice or for lack of privilege.
    MeasureOnly,
    /// The clock refuses; tried again at every update.
    Failing,
}

impl SteeringState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Unsynchronized,
        Self::Joining,
        Self::Synchronized,
        Self::Holdover,
        Self::FreeRunning,
        Self::Suspended,
        Self::Panic,
        Self::HeldBack,
        Self::MeasureOnly,
        Self::Failing,
    ];
}

/// A sign that somebody else steers the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ForeignSign {
    /// The rate is not the one set last.
    Rate {
        /// What was set.
        expected: Rate,
        /// What is in force.
        found: Rate,
    },
    /// The kernel's own loop was turned on.
    KernelLoop,
    /// The kernel was told to slew this much phase.
    Pending(Span),
    /// The clock moved by this much within one update: a step, or an `adjtime(3)` slew, which
    /// the kernel does not show.
    Moved(Span),
}

impl fmt::Display for ForeignSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { expected, found } => write!(
                f,
                "its rate was set to {found} where {expected} had been set"
            ),
            Self::KernelLoop => f.write_str("the kernel's PLL was turned on"),
            Self::Pending(by) => write!(f, "the kernel was told to slew {by}"),
            Self::Moved(by) => write!(f, "it was moved by {by}"),
        }
    }
}

/// Why the clock is in its state; [`Display`](fmt::Display) says it in words.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// No update yet.
    Starting,
    /// The node has heard no usable neighbour.
    NoNeighbours,
    /// The node's clock still jumps to meet its neighbours.
    NodeJoining,
    /// Too few readings to know the clock's own rate.
    MeasuringRate,
    /// Following; nothing left but the noise.
    Following,
    /// Following; this much phase is being slewed.
    Slewing(Span),
    /// The node runs without neighbours.
    NodeHoldover,
    /// The node has run without neighbours for too long.
    NodeFreeRunning,
    /// The machine slept for this long.
    Slept(Span),
    /// The offset is beyond the threshold.
    BeyondPanic {
        /// The clock minus the virtual clock.
        offset: Span,
        /// The threshold.
        threshold: Span,
    },
    /// Somebody else steers the clock; the last sign of it.
    AnotherDaemon(ForeignSign),
    /// Asked for.
    AsConfigured,
    /// The clock said no.
    Refused(SteerError),
    /// A reading or the node's line makes no sense.
    BadInput,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::NoNeighbours => f.write_str("no usable neighbour yet"),
            Self::NodeJoining => {
                f.write_str("the virtual clock still jumps to meet its neighbours")
            }
            Self::MeasuringRate => f.write_str("measuring the clock's own rate"),
            Self::Following => f.write_str("following the virtual clock"),
            Self::Slewing(offset) => write!(f, "slewing {offset}"),
            Self::NodeHoldover => f.write_str("no neighbours: running on at the last good rate"),
            Self::NodeFreeRunning => f.write_str("no neighbours for too long"),
            Self::Slept(span) => write!(
                f,
                "the machine slept for {span}: waiting for the virtual clock to be found again"
            ),
            Self::BeyondPanic { offset, threshold } => write!(
                f,
                "the clock is off by {offset}, more than the panic threshold of {threshold}: it \
                 is left alone; set it by hand, or restart parisync, which may step at start-up"
            ),
            Self::AnotherDaemon(sign) => write!(
                f,
                "another daemon steers this clock ({sign}): stop it (chronyd, ntpd, \
                 systemd-timesyncd, ptp4l, phc2sys), or run with --discipline none"
            ),
            Self::AsConfigured => f.write_str("measure-only, as configured"),
            Self::Refused(error) => write!(f, "the clock cannot be steered: {error}"),
            Self::BadInput => {
                f.write_str("a clock reading makes no sense; waiting for a better one")
            }
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The state changed.
    State {
        /// Before.
        from: SteeringState,
        /// Now.
        to: SteeringState,
        /// Why.
        reason: Reason,
    },
    /// We stepped the clock.
    Stepped(Span),
    /// Somebody else moved the clock or changed how it is steered.
    Foreign(ForeignSign),
    /// The machine slept for this long. The raw clock stood still: the node must find its time
    /// again.
    Slept(Span),
    /// The virtual clock itself jumped by this much.
    TargetJumped(Span),
    /// The clock has been left alone by others: we steer again.
    Resumed,
    /// The kernel has made a leap second: TAI − UTC is this many seconds now.
    LeapSecond(i32),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { to, reason, .. } => write!(f, "clock {to}: {reason}"),
            Self::Stepped(by) => write!(f, "stepped the clock by {by}"),
            Self::Foreign(sign) => write!(f, "somebody else touched the clock: {sign}"),
            Self::Slept(span) => write!(f, "the machine slept for {span}"),
            Self::TargetJumped(by) => write!(f, "the virtual clock jumped by {by}"),
            Self::Resumed => f.write_str("the clock was left alone by others: steering it again"),
            Self::LeapSecond(seconds) => {
                write!(f, "leap second: UTC is {seconds} s behind TAI from now on")
            }
        }
    }
}

impl fmt::Display for SteeringState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unsynchronized => "unsynchronized",
            Self::Joining => "joining",
            Self::Synchronized => "synchronized",
            Self::Holdover => "holdover",
            Self::FreeRunning => "free-running",
            Self::Suspended => "suspended",
            Self::Panic => "panic",
            Self::HeldBack => "held-back",
            Self::MeasureOnly => "measure-only",
            Self::Failing => "failing",
        })
    }
}

/// The discipline at its last update. Rates are fractions of nominal in ppm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DisciplineStatus {
    /// What is being done.
    pub state: SteeringState,
    /// Why.
    pub reason: Reason,
    /// The clock minus what it should show; null before both are known.
    pub offset_ns: Option<f64>,
    /// One sigma of the clock's phase as measured (without the virtual clock's own error).
    pub sigma_ns: Option<f64>,
    /// The rate in force.
    pub rate_ppm: Option<f64>,
    /// The part of it that takes out phase.
    pub slew_ppm: f64,
    /// The clock's own rate against raw, without any command.
    pub base_ppm: Option<f64>,
    /// Published as `maxerror`; null if no bound is known.
    pub max_error_ns: Option<i64>,
    /// Published as `esterror`; null if unknown.
    pub estimated_error_ns: Option<i64>,
    /// Updates so far.
    pub updates: u64,
    /// Steps we made.
    pub steps: u64,
    /// Signs of somebody else steering the clock.
    pub foreign: u64,
    /// Sleeps of the machine.
    pub sleeps: u64,
    /// Commands that the clock refused.
    pub refused: u64,
}

impl Default for DisciplineStatus {
    fn default() -> Self {
        Self {
            state: SteeringState::Unsynchronized,
            reason: Reason::Starting,
            offset_ns: None,
            sigma_ns: None,
            rate_ppm: None,
            slew_ppm: 0.0,
            base_ppm: None,
            max_error_ns: None,
            estimated_error_ns: None,
            updates: 0,
            steps: 0,
            foreign: 0,
            sleeps: 0,
            refused: 0,
        }
    }
}

impl DisciplineStatus {
    /// Trouble that people should know of, in words.
    pub fn warning(&self) -> Option<String> {
        use SteeringState as S;
        let trouble = matches!(
            self.state,
            S::Suspended | S::Panic | S::HeldBack | S::Failing
        ) || matches!(self.reason, Reason::Refused(_) | Reason::BadInput);
        trouble.then(|| self.reason.to_string())
    }
}

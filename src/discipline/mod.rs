//! The virtual clock to the steering of a real one.
//!
//! Feed-forward: the virtual clock is estimated against the raw clock, never through the steered
//! one. The steered clock's own rate against raw is measured, so the rate that makes
//! it run with the virtual clock is known and set at once; what phase remains is slewed within a
//! limit, and stepped only where the [`StepPolicy`] says so. Sans-io and deterministic: readings
//! come in with the [`Tick`], commands go out through [`SteeredClock`].
//!
//! ```text
//!                      first agreement; rate measured            neighbours lost
//!  unsynchronized → joining ───────────────► synchronized ⇄ holdover → free-running
//!        ▲             ▲                       │   ▲  │
//!        └─────────────┴── suspended ◄─ slept ─┘   │  └─► panic: too far off, left alone
//!                                                  └────► held-back: another daemon steers
//!  measure-only: by choice or without privilege        failing: the clock refuses, retried
//! ```
//!
//! **Another daemon.** The clock's control state is read at every update and compared with what
//! was set last. A sign of somebody else is warned of, the clock is measured anew and steered on.
//! After three such acts within an hour we give way: two daemons on one clock are worse than
//! either, and the one that was there may be wanted. The state says so, and steering is tried
//! again after 15 quiet minutes, doubling each time.
//!
//! **Interruptions.** After a suspend the raw clock has stood still and the virtual line is
//! late by the sleep: the clock keeps its rate until the node has had time to agree again. After
//! a suspend or a foreign step, the step policy's start-up begins anew unless it is told not to.
//!
//! **Leap seconds.** Who knows of one tells the kernel of each host (`adjtimex(2)`: `STA_INS`); that
//! stays, and when the kernel's clock makes it, what it shows is a second more or less behind TAI.

mod clock;
mod course;
mod filter;
mod guard;
mod host;
mod leap;
mod machine;
mod settings;
mod startup;
mod status;
mod tai;
#[cfg(test)]
mod tests;

pub use clock::{
    ClockLimits, ClockTime, CrossRead, KernelState, Leap, Publication, Shown, SteerError,
    SteeredClock,
};
pub use host::{FindCard, HostClock, asleep, tai_minus_utc};
pub use machine::{Discipline, Target, Tick};
pub use settings::{HoldBack, Settings, SettingsError, StepPolicy};
pub use status::{DisciplineStatus, Event, ForeignSign, Reason, SteeringState};
pub use tai::{TAI_MINUS_UTC, TAI_MINUS_UTC_SECONDS};

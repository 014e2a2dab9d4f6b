//! How a clock is to be steered.

use super::tai::TAI_MINUS_UTC;
use crate::time::{Rate, Span};

/// When the clock may jump.
///
/// Start-up begins with the first update that finds the virtual clock synchronized. It ends after
/// `startup`, or after `startup_steps` steps, whichever is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPolicy {
    /// Smaller offsets are always slewed.
    pub threshold: Span,
    /// How long start-up lasts; zero forbids steps at start-up.
    pub startup: Span,
    /// At most so many steps in one start-up.
    pub startup_steps: u32,
    /// Start-up begins anew after a suspend or after somebody else stepped the clock: the clock
    /// has jumped anyway, this takes it back.
    pub after_interruption: bool,
    /// Steps are allowed at any time.
    pub while_running: bool,
    /// Offsets beyond this are believed at start-up only: otherwise the clock is left alone and
    /// the state says so. [`Span::MAX`] turns it off.
    pub panic: Span,
    /// The same at start-up. Off by default, since a host without a battery starts in 1970.
    pub startup_panic: Span,
}

impl Default for StepPolicy {
    fn default() -> Self {
        Self {
            threshold: Span::from_millis(10),
            startup: Span::from_secs(60),
            startup_steps: 3,
            after_interruption: true,
            while_running: false,
            panic: Span::from_secs(10),
            startup_panic: Span::MAX,
        }
    }
}

/// What to do when somebody else steers the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldBack {
    /// Give up steering after so many sightings within [`window`](Self::window).
    pub sightings: u32,
    /// Sightings older than this are forgotten.
    pub window: Span,
    /// Try again after the clock was left alone for this long. Doubles every time we give up.
    pub retry_after: Span,
}

impl Default for HoldBack {
    fn default() -> Self {
        Self {
            sightings: 3,
            window: Span::from_secs(3_600),
            retry_after: Span::from_secs(900),
        }
    }
}

/// How a clock is to be steered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Time between updates.
    pub interval: Span,
    /// The largest deviation from the clock's steady rate, either way, to take out phase.
    pub max_slew: Rate,
    /// Share of the phase taken out until the next update, in `(0, 1]`.
    pub gain: f64,
    /// Random walk of the clock's own rate against the raw clock, per √s. The system clock runs
    /// on the oscillator behind the raw clock, so this is next to nothing there.
    pub wander: Rate,
    /// What the steered clock shows minus the virtual clock: −(TAI − UTC) for a UTC clock.
    pub shown_minus_virtual: Span,
    /// When the clock may jump.
    pub step: StepPolicy,
    /// What to do when somebody else steers it too.
    pub hold_back: HoldBack,
    /// After a suspend, wait this long for the node to agree with its neighbours again.
    pub resume_wait: Span,
    /// Look, but touch nothing.
    pub measure_only: bool,
}

impl Settings {
    /// For the system clock, which shows UTC.
    pub fn system() -> Self {
        Self {
            interval: Span::from_millis(250),
            max_slew: Rate::from_ppm(500.0),
            gain: 0.75,
            wander: Rate::from_fraction(1e-11),
            shown_minus_virtual: -TAI_MINUS_UTC,
            step: StepPolicy::default(),
            hold_back: HoldBack::default(),
            resume_wait: Span::from_secs(10),
            measure_only: false,
        }
    }

    /// For a clock of our own, which shows TAI. Nobody reads it before it is synchronized, so a
    /// start-up step costs nothing.
    pub fn virtual_clock() -> Self {
        Self {
            shown_minus_virtual: Span::ZERO,
            step: StepPolicy {
                threshold: Span::from_micros(100),
                ..StepPolicy::default()
            },
            ..Self::system()
        }
    }

    /// For the clock of a network card, which shows TAI as PTP has it, and runs on an oscillator of
    /// its own.
    pub fn card_clock() -> Self {
        Self {
            wander: Rate::from_fraction(3e-9),
            ..Self::virtual_clock()
        }
    }

    /// Whether these values make sense together.
    ///
    /// # Errors
    /// [`SettingsError`] names the first value that does not.
    pub fn check(&self) -> Result<(), SettingsError> {
        let fraction = self.max_slew.as_fraction();
        let wander = self.wander.as_fraction();
        if self.interval < Span::from_millis(10) || self.interval > Span::from_secs(60) {
            Err(SettingsError::Interval(self.interval))
        } else if !(fraction > 0.0 && fraction <= 0.1) {
            Err(SettingsError::MaxSlew(self.max_slew))
        } else if !(self.gain > 0.0 && self.gain <= 1.0) {
            Err(SettingsError::Gain(self.gain))
        } else if !(0.0..=1e-3).contains(&wander) {
            Err(SettingsError::Wander(self.wander))
        } else if self.step.threshold <= Span::ZERO {
            Err(SettingsError::StepThreshold(self.step.threshold))
        } else if self.step.panic <= self.step.threshold {
            Err(SettingsError::Panic(self.step.panic))
        } else if self.step.startup_panic <= self.step.threshold {
            Err(SettingsError::Panic(self.step.startup_panic))
        } else if self.hold_back.sightings == 0 {
            Err(SettingsError::Sightings)
        } else {
            Ok(())
        }
    }
}

/// A value that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The time between updates.
    #[error("the update interval must be between 10ms and 60s, not {0}")]
    Interval(Span),
    /// The slew limit.
    #[error("the slew limit must be above 0 and at most 100000ppm, not {0}")]
    MaxSlew(Rate),
    /// The phase gain.
    #[error("the gain must be above 0 and at most 1, not {0}")]
    Gain(f64),
    /// The wander of the clock.
    #[error("the wander must be between 0 and 1000ppm per root second, not {0}")]
    Wander(Rate),
    /// The step threshold.
    #[error("the step threshold must be above 0, not {0}")]
    StepThreshold(Span),
    /// A panic threshold.
    #[error("the panic threshold must be above the step threshold, not {0}")]
    Panic(Span),
    /// The number of sightings before giving up.
    #[error("at least one sighting of another daemon is needed before giving up")]
    Sightings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(Settings::system().check(), Ok(()));
        assert_eq!(Settings::virtual_clock().check(), Ok(()));
        assert_eq!(Settings::card_clock().check(), Ok(()));
        let nan = Settings {
            gain: f64::NAN,
            ..Settings::system()
        };
        assert!(matches!(nan.check(), Err(SettingsError::Gain(_))));
        let slew = Settings {
            max_slew: Rate::from_fraction(f64::NAN),
            ..Settings::system()
        };
        assert!(matches!(slew.check(), Err(SettingsError::MaxSlew(_))));
    }
}

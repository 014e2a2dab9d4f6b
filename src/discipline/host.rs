//! The clocks of this host as the discipline wants them.

use hwts::Domain;
use hwts::clock::{
    Clock, ClockError, PhcClock, PhcError, RawClock, Refusal, SyncStatus, SystemClock, VirtualClock,
};
use nix::time::{ClockId, clock_gettime};

use super::clock::{
    ClockLimits, ClockTime, CrossRead, KernelState, Publication, SteerError, SteeredClock,
};
use super::tai::{TAI_MINUS_UTC, TAI_MINUS_UTC_SECONDS};
use crate::time::{Rate, RawTime, Span};

/// Reads of a pair of clocks of which the narrowest counts.
const TRIES: usize = 5;
/// How far the kernel's dithering between two multipliers moves the system clock about its line.
const KERNEL_JITTER: Span = Span::from_nanos(10);

/// A clock of this host that can be steered.
#[derive(Debug)]
pub struct HostClock(Kind);

#[derive(Debug)]
enum Kind {
    System(SystemClock),
    Virtual(Box<VirtualClock>),
    Card(Box<PhcClock>),
}

impl HostClock {
    /// The system clock. Steer it with [`Settings::system`](super::Settings::system).
    pub fn system() -> Self {
        Self(Kind::System(SystemClock::new()))
    }

    /// A clock of our own. Steer it with
    /// [`Settings::virtual_clock`](super::Settings::virtual_clock).
    pub fn virtual_clock(clock: VirtualClock) -> Self {
        Self(Kind::Virtual(Box::new(clock)))
    }

    /// The clock of a network card. Steer it with [`Settings::card_clock`](super::Settings::card_clock).
    pub fn card(clock: PhcClock) -> Self {
        Self(Kind::Card(Box::new(clock)))
    }

    /// Whether it is the clock of a network card.
    pub const fn is_card(&self) -> bool {
        matches!(self.0, Kind::Card(_))
    }

    /// Reads it against `raw`, which must be the raw clock that the node is on (and, for a virtual
    /// clock, the one under it).
    ///
    /// # Errors
    /// The card is gone. It is opened anew at the next call, so that it may come back.
    pub fn read(&mut self, raw: &RawClock) -> Result<CrossRead, SteerError> {
        let (at, clock, error) = match &mut self.0 {
            Kind::Card(clock) => {
                let read = match clock.reading() {
                    Ok(read) => read,
                    Err(error) => {
                        if let Ok(anew) = PhcClock::open(clock.phc().path()) {
                            **clock = anew;
                        }
                        return Err(unreadable(&error));
                    }
                };
                (raw.at(read.a), read.b, read.error)
            }
            Kind::System(_) => {
                let read =
                    hwts::clock::CrossRead::take(Domain::MonotonicRaw, Domain::Realtime, TRIES);
                (raw.at(read.a), read.b, read.error)
            }
            Kind::Virtual(clock) => {
                let now = raw.now();
                (now, clock.at(now), 0)
            }
        };
        Ok(CrossRead {
            raw: RawTime::from_nanos(at),
            clock: ClockTime::from_nanos(clock),
            error: Span::from_nanos(error),
        })
    }

    fn clock(&self) -> &dyn Clock {
        match &self.0 {
            Kind::System(clock) => clock,
            Kind::Virtual(clock) => clock.as_ref(),
            Kind::Card(clock) => clock.as_ref(),
        }
    }

    fn clock_mut(&mut self) -> &mut dyn Clock {
        match &mut self.0 {
            Kind::System(clock) => clock,
            Kind::Virtual(clock) => clock.as_mut(),
            Kind::Card(clock) => clock.as_mut(),
        }
    }
}

impl SteeredClock for HostClock {
    fn limits(&self) -> ClockLimits {
        ClockLimits {
            max_rate: Rate::from_fraction(self.clock().max_rate()),
            // The kernel averages between two multipliers; a virtual clock says what it applied.
            hidden_quantum: Rate::ZERO,
            jitter: match self.0 {
                Kind::System(_) => KERNEL_JITTER,
                Kind::Virtual(_) | Kind::Card(_) => Span::ZERO,
            },
        }
    }

    fn take_over(&mut self) -> Result<(), SteerError> {
        if let Kind::System(clock) = &mut self.0 {
            // A new one ends other people's slews and loops with its first command.
            *clock = SystemClock::new();
        }
        Ok(())
    }

    fn set_rate(&mut self, rate: Rate) -> Result<Rate, SteerError> {
        let applied = self.clock_mut().set_rate(rate.as_fraction())?;
        Ok(Rate::from_fraction(applied))
    }

    fn step(&mut self, by: Span) -> Result<(), SteerError> {
        Ok(self.clock_mut().step(by.as_nanos())?)
    }

    fn publish(&mut self, publication: &Publication) -> Result<(), SteerError> {
        let status = SyncStatus {
            synchronized: publication.synchronized,
            estimated_error: publication.estimated_error.as_nanos(),
            max_error: publication.max_error.as_nanos(),
            tai_offset: Some(publication.tai_minus_utc),
            leap: publication.leap,
        };
        Ok(self.clock_mut().publish(&status)?)
    }

    fn kernel_state(&mut self) -> Result<KernelState, SteerError> {
        let state = self.clock().read_state()?;
        Ok(KernelState {
            rate: Rate::from_fraction(state.rate),
            kernel_loop: state.kernel_loop,
            pending: Span::from_nanos(state.pending_offset),
            leap: state.status.leap,
        })
    }
}

impl From<ClockError> for SteerError {
    fn from(error: ClockError) -> Self {
        let text = error.to_string();
        match error {
            ClockError::NotPermitted { .. } => Self::NotPermitted(text),
            ClockError::OutOfRange(_) => Self::OutOfRange(text),
            ClockError::Unsupported { .. } => Self::Unsupported(text),
            ClockError::Card { refusal, .. } => match refusal {
                Refusal::ReadOnly => Self::NotPermitted(text),
                Refusal::Range => Self::OutOfRange(text),
                Refusal::Busy | Refusal::Gone => Self::Os(text),
            },
            ClockError::Os { .. } => Self::Os(text),
        }
    }
}

fn unreadable(error: &PhcError) -> SteerError {
    SteerError::Os(error.to_string())
}

/// TAI − UTC as this host's kernel has it, if that is more than [`TAI_MINUS_UTC`]: a leap second since
/// then was made by the kernel, and who starts now must know of it.
pub fn tai_minus_utc() -> Span {
    /// As many leap seconds as there were in the first forty years; beyond that somebody erred.
    const MOST: i32 = TAI_MINUS_UTC_SECONDS + 27;
    let state = SystemClock::new().read_state().ok();
    state
        .and_then(|state| state.status.tai_offset)
        .filter(|seconds| (TAI_MINUS_UTC_SECONDS..=MOST).contains(seconds))
        .map_or(TAI_MINUS_UTC, |seconds| Span::from_secs(seconds.into()))
}

/// How long the machine has slept since boot: `CLOCK_BOOTTIME` − `CLOCK_MONOTONIC`, the narrowest
/// of a few bracketed reads; zero where the kernel cannot tell.
pub fn asleep() -> Span {
    let read = |clock: ClockId| {
        let at = clock_gettime(clock).ok()?;
        Some(Span::from_secs(at.tv_sec()) + Span::from_nanos(at.tv_nsec()))
    };
    let once = |_| {
        let before = read(ClockId::CLOCK_MONOTONIC)?;
        let boot = read(ClockId::CLOCK_BOOTTIME)?;
        let width = read(ClockId::CLOCK_MONOTONIC)? - before;
        Some((width, boot - (before + width / 2)))
    };
    (0..3)
        .filter_map(once)
        .min()
        .map_or(Span::ZERO, |(_, asleep)| asleep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discipline::{Discipline, Settings, SteeringState, Target, Tick};
    use crate::time::{VirtualLine, VirtualTime};
    use crate::wire::ClockState;
    use hwts::clock::{Oscillator, OscillatorSpec};

    #[test]
    fn a_virtual_clock_over_a_bad_oscillator_follows_a_line() {
        let start = Domain::MonotonicRaw.now();
        let raw = RawClock::from(Oscillator::new(OscillatorSpec {
            start,
            offset: 3_000_000,
            ppm: 45.0,
            walk: 1e-9,
            seed: 5,
        }));
        let settings = Settings {
            interval: Span::from_millis(10),
            ..Settings::virtual_clock()
        };
        let mut discipline = Discipline::new(settings, None).unwrap();
        let mut clock = HostClock::virtual_clock(VirtualClock::new(raw.clone(), 0));
        let origin = RawTime::from_nanos(raw.now());
        let epoch = VirtualTime::from_nanos(1_700_000_000_000_000_000);
        let line = VirtualLine::new(origin, epoch, Rate::from_ppm(-45.0));
        for _ in 0..30 {
            std::thread::sleep(discipline.interval().to_duration());
            let read = clock.read(&raw).unwrap();
            let target = Target {
                line,
                bound: Span::from_micros(3),
                estimated_error: Span::from_nanos(50),
                state: ClockState::Synchronized,
            };
            let tick = Tick {
                now: read.raw,
                read,
                target: Some(target),
                asleep: asleep(),
            };
            discipline.update(&mut clock, &tick);
        }
        let status = discipline.status();
        assert_eq!(status.state, SteeringState::Synchronized, "{status:?}");
        assert_eq!(status.steps, 1);
        assert!(status.offset_ns.unwrap().abs() < 10.0, "{status:?}");
        let published = clock.clock().read_state().unwrap().status;
        assert!(published.synchronized && published.max_error < 4_000);
        assert_eq!(published.tai_offset, Some(37));
    }

    #[test]
    fn the_system_clock_is_read_without_touching_it() {
        let raw = RawClock::default();
        let mut clock = HostClock::system();
        let first = clock.read(&raw).unwrap();
        let second = clock.read(&raw).unwrap();
        assert!(second.raw >= first.raw);
        let drift = (second.clock - first.clock) - (second.raw - first.raw);
        assert!(drift.abs() < Span::from_millis(1), "{drift}");
        assert!(clock.kernel_state().unwrap().rate.abs().as_fraction() < 0.11);
    }

    #[test]
    fn sleep_does_not_change_while_awake() {
        assert!((asleep() - asleep()).abs() < Span::from_millis(1));
        assert!(asleep() > Span::from_millis(-1));
    }
}

//! The clocks of this host as the discipline wants them.

use hwts::Domain;
use hwts::clock::{
    Clock, ClockError, PhcClock, RawClock, Refusal, SyncStatus, SystemClock, VirtualClock,
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
    Card(Box<Card>),
}

/// The clock of a card, and how to find it again when it was gone.
struct Card {
    clock: Option<PhcClock>,
    find: FindCard,
    /// What it could be set to when it was last there.
    max_rate: f64,
}

/// Opens the clock of a card; says why it cannot.
pub type FindCard = Box<dyn FnMut() -> Result<PhcClock, String> + Send>;

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Card")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl Card {
    fn clock(&mut self) -> Result<&mut PhcClock, SteerError> {
        if self.clock.is_none() {
            let found = (self.find)().map_err(SteerError::Os)?;
            self.max_rate = found.max_rate();
            self.clock = Some(found);
        }
        self.clock
            .as_mut()
            .ok_or_else(|| SteerError::Os("the card's clock is gone".to_owned()))
    }

    fn read(&mut self) -> Result<hwts::clock::CrossRead, SteerError> {
        match self.clock()?.reading() {
            Ok(read) => Ok(read),
            Err(error) => {
                // As long as it is held open a new one gets another number.
                self.clock = None;
                Err(SteerError::Os(error.to_string()))
            }
        }
    }
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

    /// The clock of a network card, which `find` opens, now and whenever it was gone. Steer it with
    /// [`Settings::card_clock`](super::Settings::card_clock).
    ///
    /// # Errors
    /// What `find` says.
    pub fn card(mut find: FindCard) -> Result<Self, String> {
        let clock = find()?;
        Ok(Self(Kind::Card(Box::new(Card {
            max_rate: clock.max_rate(),
            clock: Some(clock),
            find,
        }))))
    }

    /// Whether it is the clock of a network card.
    pub const fn is_card(&self) -> bool {
        matches!(self.0, Kind::Card(_))
    }

    /// Reads it against `raw`, which must be the raw clock that the node is on (and, for a virtual
    /// clock, the one under it).
    ///
    /// # Errors
    /// The card is gone. It is looked for at each call, so that it may come back.
    pub fn read(&mut self, raw: &RawClock) -> Result<CrossRead, SteerError> {
        let (at, clock, error) = match &mut self.0 {
            Kind::Card(card) => {
                let read = card.read()?;
                (raw.at(read.a), read.b, read.error + raw.error_at(read.a))
            }
            Kind::System(_) => {
                let read =
                    hwts::clock::CrossRead::take(Domain::MonotonicRaw, Domain::Realtime, TRIES);
                (raw.at(read.a), read.b, read.error + raw.error_at(read.a))
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

    fn clock(&mut self) -> Result<&mut dyn Clock, SteerError> {
        Ok(match &mut self.0 {
            Kind::System(clock) => clock,
            Kind::Virtual(clock) => clock.as_mut(),
            Kind::Card(card) => card.clock()?,
        })
    }
}

impl SteeredClock for HostClock {
    fn limits(&self) -> ClockLimits {
        ClockLimits {
            max_rate: Rate::from_fraction(match &self.0 {
                Kind::System(clock) => clock.max_rate(),
                Kind::Virtual(clock) => clock.max_rate(),
                Kind::Card(card) => card.max_rate,
            }),
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
        let applied = self.clock()?.set_rate(rate.as_fraction())?;
        Ok(Rate::from_fraction(applied))
    }

    fn step(&mut self, by: Span) -> Result<(), SteerError> {
        Ok(self.clock()?.step(by.as_nanos())?)
    }

    fn publish(&mut self, publication: &Publication) -> Result<(), SteerError> {
        let status = SyncStatus {
            synchronized: publication.synchronized,
            estimated_error: publication.estimated_error.as_nanos(),
            max_error: publication.max_error.as_nanos(),
            tai_offset: Some(publication.tai_minus_utc),
            leap: publication.leap,
        };
        Ok(self.clock()?.publish(&status)?)
    }

    fn kernel_state(&mut self) -> Result<KernelState, SteerError> {
        let state = self.clock()?.read_state()?;
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
        let published = clock.clock().unwrap().read_state().unwrap().status;
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

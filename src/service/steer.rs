//! The steered clock follows the board.

use std::sync::{Arc, Mutex, PoisonError};

use hwts::Domain;
use hwts::clock::{CrossRead as KernelRead, SystemClock, VirtualClock, time_asleep};

use super::board::BoardReader;
use super::host::HostClock;
use crate::discipline::{
    ClockTime, CrossRead, Discipline, Event, Settings, SettingsError, SteeredClock, Steering,
    SteeringState, Target, Tick,
};
use crate::export::status::Tracking;
use crate::time::{Rate, RawTime, Span};

/// Attempts at each comparison of the system clock with the raw clock; the narrowest counts.
const TRIES: usize = 5;

/// The clock that is steered.
#[derive(Debug)]
pub enum Steered {
    /// The host's.
    System(SystemClock),
    /// One of our own.
    Virtual(VirtualClock),
}

/// What the steering did last, for the status.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SteeringReport {
    /// What is steered, in words.
    pub target: &'static str,
    /// The clock minus what it should show, ns.
    pub offset: Option<f64>,
    /// Rate in force, ppm.
    pub rate: Option<f64>,
    /// What the discipline is doing, and why.
    pub state: Option<(SteeringState, String)>,
    /// Trouble that people should know of.
    pub warning: Option<String>,
    /// Last good rate, to be kept for the next start.
    pub steady: Option<Rate>,
}

/// The last report, shared with whoever asks for the status.
pub type SharedReport = Arc<Mutex<SteeringReport>>;

/// Steers one clock.
#[derive(Debug)]
pub struct Steerer {
    discipline: Discipline,
    clock: Steered,
    host: HostClock,
    board: BoardReader,
    report: SharedReport,
}

impl Steerer {
    /// A steerer of `clock`. `saved` is the rate that was good at the end of the last run.
    ///
    /// # Errors
    /// [`SettingsError`] if the settings make no sense.
    pub fn new(
        clock: Steered,
        settings: Settings,
        saved: Option<Rate>,
        host: HostClock,
        board: BoardReader,
    ) -> Result<Self, SettingsError> {
        let target = match clock {
            Steered::System(_) => "system",
            Steered::Virtual(_) => "virtual",
        };
        let report = SteeringReport {
            target,
            ..SteeringReport::default()
        };
        Ok(Self {
            discipline: Discipline::new(settings, saved)?,
            clock,
            host,
            board,
            report: Arc::new(Mutex::new(report)),
        })
    }

    /// Where the report appears.
    pub fn report(&self) -> SharedReport {
        Arc::clone(&self.report)
    }

    /// Time between two updates.
    pub fn interval(&self) -> Span {
        self.discipline.interval()
    }

    /// Steer once.
    pub fn update(&mut self) {
        let read = self.read();
        let view = self.board.read();
        let tick = Tick {
            now: self.host.now(),
            read,
            target: Some(Target {
                line: view.line,
                bound: view.bound_at(read.raw).unwrap_or(Span::MAX),
                estimated_error: view.sigma,
                state: view.state,
            }),
            asleep: Span::from_nanos(time_asleep()),
        };
        let clock = self.clock.as_steered();
        self.discipline.update(clock, &tick);
        while let Some(event) = self.discipline.poll_event() {
            match event {
                Event::State { .. } | Event::Resumed => tracing::info!("{event}"),
                _ => tracing::warn!("{event}"),
            }
        }
        self.note();
    }

    /// Leave the clock at its last good rate.
    pub fn stop(&mut self) {
        if let Err(error) = self.discipline.stop(self.clock.as_steered()) {
            tracing::warn!("cannot leave the clock at its last good rate: {error}");
        }
        self.note();
    }

    fn note(&self) {
        let status = self.discipline.status();
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.offset = status.offset_ns;
        report.rate = status.rate_ppm;
        report.warning = status.warning();
        report.steady = self.discipline.steady_rate();
        if report.state.as_ref().map(|(state, _)| *state) != Some(status.state) {
            report.state = Some((status.state, status.reason.to_string()));
        }
    }

    /// The steered clock against the raw clock.
    fn read(&self) -> CrossRead {
        match &self.clock {
            Steered::System(_) => {
                let read = KernelRead::take(Domain::MonotonicRaw, Domain::Realtime, TRIES);
                CrossRead {
                    raw: self.host.at(read.a),
                    clock: ClockTime::from_nanos(read.b),
                    error: Span::from_nanos(read.error),
                }
            }
            Steered::Virtual(clock) => {
                let raw = self.host.now();
                CrossRead {
                    raw,
                    clock: ClockTime::from_nanos(clock.at(raw.as_nanos())),
                    error: Span::ZERO,
                }
            }
        }
    }
}

impl Steered {
    fn as_steered(&mut self) -> &mut dyn SteeredClock {
        match self {
            Self::System(clock) => clock,
            Self::Virtual(clock) => clock,
        }
    }
}

/// Add what is known of the steering to `tracking`.
pub fn describe(report: Option<&SharedReport>, tracking: &mut Tracking) {
    let Some(report) = report else {
        tracking.discipline = "none".to_owned();
        return;
    };
    let report = report.lock().unwrap_or_else(PoisonError::into_inner);
    tracking.discipline = report.target.to_owned();
    tracking.clock_offset_ns = report.offset;
    tracking.clock_rate_ppm = report.rate;
    tracking.warnings.extend(report.warning.clone());
}

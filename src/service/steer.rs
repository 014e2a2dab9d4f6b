//! The steered clock follows the board.

use std::sync::{Arc, Mutex, PoisonError};

use hwts::clock::{RawClock, VirtualReader};

use super::board::BoardReader;
use super::cards::CardBoard;
use crate::discipline::{
    Discipline, DisciplineStatus, Event, HostClock, Settings, SettingsError, Target, Tick, asleep,
};
use crate::export::status::Tracking;
use crate::time::{Rate, RawTime, Span};

/// A clock to steer.
#[derive(Debug)]
pub struct Steered {
    /// What it is, in one word.
    pub name: String,
    /// The clock.
    pub clock: HostClock,
    /// How to steer it.
    pub settings: Settings,
    /// Reads it from other threads, if it is one of our own.
    pub reader: Option<VirtualReader>,
}

/// What the steering did last.
#[derive(Debug, Clone)]
pub struct SteeringReport {
    name: String,
    status: DisciplineStatus,
    /// Why it cannot be read.
    unreadable: Option<String>,
    /// Last good rate, to be kept for the next start.
    pub steady: Option<Rate>,
}

/// The last report, shared with whoever asks for the status.
pub type SharedReport = Arc<Mutex<SteeringReport>>;

/// Steers one clock.
#[derive(Debug)]
pub struct Steerer {
    discipline: Discipline,
    clock: HostClock,
    raw: RawClock,
    board: BoardReader,
    cards: Arc<CardBoard>,
    report: SharedReport,
}

impl Steerer {
    /// A steerer that makes `steered` follow what is on `board`. `saved` is the rate that was good
    /// at the end of the last run; `cards` says how far the raw clock may be off.
    ///
    /// # Errors
    /// [`SettingsError`] if the settings make no sense.
    pub fn new(
        steered: Steered,
        saved: Option<Rate>,
        raw: RawClock,
        board: BoardReader,
        cards: Arc<CardBoard>,
    ) -> Result<Self, SettingsError> {
        let discipline = Discipline::new(steered.settings, saved)?;
        let report = SteeringReport {
            name: steered.name,
            status: discipline.status().clone(),
            unreadable: None,
            steady: None,
        };
        Ok(Self {
            discipline,
            clock: steered.clock,
            raw,
            board,
            cards,
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
        let read = match self.clock.read(&self.raw) {
            Ok(read) => read,
            Err(error) => return self.unreadable(error.to_string()),
        };
        let view = self.board.read();
        let unseen = match (&self.raw, self.clock.is_card()) {
            // The card whose stamps the node goes by does not see how far its readings are off.
            (RawClock::Monotonic | RawClock::Oscillator(_), true) => Span::ZERO,
            // Both are read over their buses.
            (RawClock::Card(_), true) => self.cards.asymmetry() * 2,
            (_, false) => self.cards.asymmetry(),
        };
        let bound = view.bound_at(read.raw).unwrap_or(Span::MAX);
        let tick = Tick {
            now: RawTime::from_nanos(self.raw.now()),
            read,
            target: Some(Target {
                line: view.line,
                bound: if bound == Span::MAX {
                    bound
                } else {
                    bound + unseen
                },
                estimated_error: view.sigma_at(read.raw).unwrap_or(Span::MAX),
                state: view.state,
            }),
            asleep: asleep(),
        };
        self.discipline.update(&mut self.clock, &tick);
        while let Some(event) = self.discipline.poll_event() {
            match event {
                Event::State { .. } | Event::Resumed => tracing::info!("{event}"),
                Event::TargetJumped(_) => tracing::debug!("{event}"),
                _ => tracing::warn!("{event}"),
            }
        }
        self.note();
    }

    /// Leave the clock at its last good rate.
    pub fn stop(&mut self) {
        if let Err(error) = self.discipline.stop(&mut self.clock) {
            tracing::warn!("cannot leave the clock at its last good rate: {error}");
        }
        self.note();
    }

    fn unreadable(&self, why: String) {
        let mut report = lock(&self.report);
        if report.unreadable.is_none() {
            tracing::warn!("{why}");
        }
        report.unreadable = Some(why);
    }

    fn note(&self) {
        let mut report = lock(&self.report);
        if report.unreadable.take().is_some() {
            tracing::info!("the disciplined clock can be read again");
        }
        report.status.clone_from(self.discipline.status());
        report.steady = self.discipline.steady_rate();
    }
}

/// The report, even if a thread died while it wrote one.
pub fn lock(report: &SharedReport) -> std::sync::MutexGuard<'_, SteeringReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Add what is known of the steering to `tracking`.
pub fn describe(report: Option<&SharedReport>, tracking: &mut Tracking) {
    let Some(report) = report else {
        tracking.discipline = "none".to_owned();
        return;
    };
    let report = lock(report);
    tracking.discipline.clone_from(&report.name);
    tracking.clock_state = Some(report.status.state);
    tracking.clock_offset_ns = report.status.offset_ns;
    tracking.clock_rate_ppm = report.status.rate_ppm;
    tracking.warnings.extend(report.status.warning());
    tracking.warnings.extend(report.unreadable.clone());
}

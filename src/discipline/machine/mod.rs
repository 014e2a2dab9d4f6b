//! One update after the other.

mod act;
mod measure;

use std::collections::VecDeque;

use crate::discipline::clock::{CrossRead, SteerError, SteeredClock};
use crate::discipline::course::{Aim, Course};
use crate::discipline::filter::ClockFilter;
use crate::discipline::guard::Guard;
use crate::discipline::leap::LeapWatch;
use crate::discipline::settings::{Settings, SettingsError};
use crate::discipline::startup::StartUp;
use crate::discipline::status::{DisciplineStatus, Event, Reason, SteeringState};
use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::wire::ClockState;

/// The node's clock, which the steered one has to follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The virtual clock over the raw clock.
    pub line: VirtualLine,
    /// Guaranteed bound on it; [`Span::MAX`] if none is known.
    pub bound: Span,
    /// Its expected error, one sigma.
    pub estimated_error: Span,
    /// How far the node is.
    pub state: ClockState,
}

/// What an update needs to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    /// The raw clock now.
    pub now: RawTime,
    /// The steered clock, read just before.
    pub read: CrossRead,
    /// The node's clock; none before it has one.
    pub target: Option<Target>,
    /// How long the machine has slept since boot: `CLOCK_BOOTTIME` − `CLOCK_MONOTONIC`, the
    /// narrowest of a few bracketed reads.
    pub asleep: Span,
}

/// The clock's own rate must be known this well before it is steered.
const BASE_KNOWN: Rate = Rate::from_ppm(5.0);
/// Phase beyond so many updates of slewing at the limit is told apart from noise.
const LONG_SLEW: f64 = 2.0;
/// Events kept until somebody asks for them.
const MAX_EVENTS: usize = 32;

/// What to do with the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    /// Touch nothing, not even the status.
    Leave,
    /// Keep the last good rate, publish.
    Hold,
    /// Run with the virtual clock's lasting rate, take out no phase, publish.
    Follow(Course),
    /// Steer rate and phase, publish.
    Steer(Course),
    /// Jump first.
    Step(Course),
}

/// Makes one clock follow the virtual clock.
#[derive(Debug)]
pub struct Discipline {
    settings: Settings,
    guard: Guard,
    leap: LeapWatch,
    startup: StartUp,
    filter: Option<ClockFilter>,
    /// The rate in force.
    command: Rate,
    /// What was asked for when it was set, if we set it.
    wanted: Option<Rate>,
    /// Size of the last change of it, as a fraction.
    changed_by: f64,
    /// The last good rate without any slew.
    steady: Option<Rate>,
    /// We steer it: its rate has been set by us.
    taken_over: bool,
    /// Nobody else is known to steer it since it was last taken over.
    alone: bool,
    agreed_once: bool,
    denied: Option<SteerError>,
    /// What the clock refused during this update.
    fault: Option<SteerError>,
    asleep: Option<Span>,
    resume: Option<(RawTime, Span)>,
    line: Option<VirtualLine>,
    pace: Span,
    status: DisciplineStatus,
    events: VecDeque<Event>,
}

impl Discipline {
    /// A discipline that has seen nothing yet. `saved` is the last good rate of an earlier run
    /// ([`steady_rate`](Self::steady_rate)); it is set at the first update.
    ///
    /// # Errors
    /// [`SettingsError`] if the settings make no sense.
    pub fn new(settings: Settings, saved: Option<Rate>) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            guard: Guard::new(settings.hold_back),
            leap: LeapWatch::default(),
            startup: StartUp::new(settings.step),
            filter: None,
            command: Rate::ZERO,
            wanted: None,
            changed_by: 0.0,
            steady: saved.filter(|rate| rate.as_fraction().is_finite()),
            taken_over: false,
            alone: false,
            agreed_once: false,
            denied: None,
            fault: None,
            asleep: None,
            resume: None,
            line: None,
            pace: settings.interval,
            status: DisciplineStatus::default(),
            events: VecDeque::with_capacity(MAX_EVENTS),
            settings,
        })
    }

    /// The status after the last update.
    pub fn status(&self) -> &DisciplineStatus {
        &self.status
    }

    /// The next thing worth logging, oldest first; the oldest are dropped if nobody asks.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Time from one update to the next.
    pub fn interval(&self) -> Span {
        self.settings.interval
    }

    /// The last good rate of the clock without any slew: what to keep on disk. None before the
    /// first agreement, unless it came from disk.
    pub fn steady_rate(&self) -> Option<Rate> {
        self.steady
    }

    /// Takes in what is known now and steers `clock`.
    pub fn update<C: SteeredClock + ?Sized>(
        &mut self,
        clock: &mut C,
        tick: &Tick,
    ) -> &DisciplineStatus {
        self.status.updates += 1;
        self.fault = None;
        if !self.measure(clock, tick) {
            self.filter = None;
            self.hold(clock);
            self.enter(SteeringState::Unsynchronized, Reason::BadInput);
            return &self.status;
        }
        self.take_over(clock);
        let now = tick.now.max(tick.read.raw);
        if self.guard.may_resume(now) {
            self.note(Event::Resumed);
            self.taken_over = false;
            self.alone = false;
            self.take_over(clock);
        }
        self.notice_target(tick);
        let course = self.course(tick);
        let (state, reason, action) = self.judge(now, tick, course);
        self.act(clock, tick, state, action);
        match self.fault.take() {
            Some(error) if self.denied.is_some() => {
                self.enter(SteeringState::MeasureOnly, Reason::Refused(error));
            }
            Some(error) => self.enter(SteeringState::Failing, Reason::Refused(error)),
            None => self.enter(state, reason),
        }
        &self.status
    }

    /// Leaves the clock at its last good rate, without any slew.
    ///
    /// # Errors
    /// [`SteerError`] if the clock refuses; it then keeps the rate in force.
    pub fn stop<C: SteeredClock + ?Sized>(&mut self, clock: &mut C) -> Result<(), SteerError> {
        let ours = self.taken_over && self.denied.is_none() && self.guard.given_way_to().is_none();
        match self.steady {
            Some(steady) if ours && self.wanted != Some(steady) => {
                self.command = clock.set_rate(steady)?;
                self.status.rate_ppm = Some(self.command.as_ppm());
                self.status.slew_ppm = 0.0;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Begins with the rate from disk, or with the one in force.
    fn take_over<C: SteeredClock + ?Sized>(&mut self, clock: &mut C) {
        let free = self.guard.given_way_to().is_none() && self.denied.is_none();
        if self.taken_over || self.settings.measure_only || !free {
            return;
        }
        let rate = self.steady.unwrap_or(self.command);
        self.set_rate(clock, rate);
    }

    fn notice_target(&mut self, tick: &Tick) {
        let line = tick.target.map(|target| target.line);
        if let (Some(before), Some(after)) = (self.line, line) {
            let jump = after.at(tick.now) - before.at(tick.now);
            let settled = self.status.state == SteeringState::Synchronized;
            if settled && jump.abs() > self.settings.step.threshold {
                self.note(Event::TargetJumped(jump));
            }
        }
        self.line = line.or(self.line);
    }

    fn course(&self, tick: &Tick) -> Option<Course> {
        let aim = Aim {
            horizon: self.pace,
            gain: self.settings.gain,
            max_slew: self.settings.max_slew,
        };
        let line = tick.target?.line;
        Course::plot(
            self.filter.as_ref()?,
            &line,
            self.settings.shown_minus_virtual,
            &aim,
        )
    }

    fn judge(
        &mut self,
        now: RawTime,
        tick: &Tick,
        course: Option<Course>,
    ) -> (SteeringState, Reason, Action) {
        use SteeringState as S;
        if self.settings.measure_only {
            return (S::MeasureOnly, Reason::AsConfigured, Action::Leave);
        }
        if let Some(error) = &self.denied {
            return (
                S::MeasureOnly,
                Reason::Refused(error.clone()),
                Action::Leave,
            );
        }
        if let Some(sign) = self.guard.given_way_to() {
            return (S::HeldBack, Reason::AnotherDaemon(sign), Action::Leave);
        }
        if let Some((until, slept)) = self.resume {
            if now < until {
                return (S::Suspended, Reason::Slept(slept), Action::Hold);
            }
            self.resume = None;
        }
        let Some(target) = tick.target else {
            return (S::Unsynchronized, Reason::NoNeighbours, Action::Hold);
        };
        let Some(course) = course else {
            return (S::Unsynchronized, Reason::BadInput, Action::Hold);
        };
        let known = self
            .filter
            .is_some_and(|filter| filter.base_sigma() < BASE_KNOWN);
        match target.state {
            ClockState::Unsynchronized => (S::Unsynchronized, Reason::NoNeighbours, Action::Hold),
            ClockState::Joining => (S::Joining, Reason::NodeJoining, Action::Hold),
            _ if !known => (S::Joining, Reason::MeasuringRate, Action::Hold),
            ClockState::Holdover => (S::Holdover, Reason::NodeHoldover, Action::Follow(course)),
            ClockState::FreeRunning => (
                S::FreeRunning,
                Reason::NodeFreeRunning,
                Action::Follow(course),
            ),
            ClockState::Synchronized => self.judge_offset(now, course),
        }
    }

    fn judge_offset(&mut self, now: RawTime, course: Course) -> (SteeringState, Reason, Action) {
        use SteeringState as S;
        self.agreed_once = true;
        let offset = Span::from_nanos_f64(course.offset);
        let verdict = self.startup.judge(now, offset);
        if let Some(threshold) = verdict.panic {
            let reason = Reason::BeyondPanic { offset, threshold };
            return (S::Panic, reason, Action::Hold);
        }
        let slewable = self.settings.max_slew.over(self.pace) * LONG_SLEW;
        let (reason, action) = if verdict.step {
            (Reason::Following, Action::Step(course))
        } else if course.offset.abs() > slewable {
            (Reason::Slewing(offset), Action::Steer(course))
        } else {
            (Reason::Following, Action::Steer(course))
        };
        (S::Synchronized, reason, action)
    }

    fn enter(&mut self, state: SteeringState, reason: Reason) {
        if self.status.state != state {
            self.note(Event::State {
                from: self.status.state,
                to: state,
                reason: reason.clone(),
            });
        }
        self.status.state = state;
        self.status.reason = reason;
    }

    fn note(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

//! One update after the other.

use std::collections::VecDeque;

use super::clock::{CrossRead, KernelState, Publication, SteerError, SteeredClock};
use super::course::{Aim, Course};
use super::filter::ClockFilter;
use super::guard::Guard;
use super::settings::{Settings, SettingsError};
use super::startup::StartUp;
use super::status::{DisciplineStatus, Event, ForeignSign, Reason, SteeringState};
use super::tai::TAI_MINUS_UTC_SECONDS;
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

/// A sleep shorter than this is noise of reading two clocks.
const SHORTEST_SLEEP: Span = Span::from_millis(500);
/// A jump of the clock is somebody's step if it is larger than this plus six sigma.
const FOREIGN_STEP: f64 = 10_000.0;
/// A command may take effect this many seconds late when the process is scheduled out.
const LATE_COMMAND: f64 = 0.05;
/// The kernel's loop and `adjtime` slew at most this much.
const KERNEL_SLEW: f64 = 500e-6;
/// The clock's own rate must be known this well before it is steered.
const BASE_KNOWN: Rate = Rate::from_ppm(5.0);
/// Phase beyond so many updates of slewing at the limit is told apart from noise.
const LONG_SLEW: f64 = 2.0;
/// Events kept until somebody asks for them.
const MAX_EVENTS: usize = 32;
/// The kernel calls a clock unsynchronized when its error may exceed this.
const HOPELESS: Span = Span::from_secs(16);

/// What to do with the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    /// Touch nothing, not even the status.
    Leave,
    /// Keep the last good rate, publish.
    Hold,
    /// Panic: keep the rate in force, publish that the clock is wrong.
    Distrust,
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
    startup: StartUp,
    filter: Option<ClockFilter>,
    /// The rate in force.
    command: Rate,
    /// Size of the last change of it, as a fraction.
    changed_by: f64,
    /// The last good rate without any slew.
    steady: Option<Rate>,
    taken_over: bool,
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
            startup: StartUp::new(settings.step),
            filter: None,
            command: Rate::ZERO,
            changed_by: 0.0,
            steady: saved.filter(|rate| rate.as_fraction().is_finite()),
            taken_over: false,
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
            self.enter(SteeringState::Unsynchronized, Reason::BadInput);
            return &self.status;
        }
        self.take_over(clock);
        let now = tick.now.max(tick.read.raw);
        if self.guard.may_resume(now) {
            self.note(Event::Resumed);
            self.taken_over = false;
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
            Some(steady) if ours && steady != self.command => {
                self.command = clock.set_rate(steady)?;
                self.status.rate_ppm = Some(self.command.as_ppm());
                self.status.slew_ppm = 0.0;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Compares the clock with what it was told. False if the reading is of no use.
    fn measure<C: SteeredClock + ?Sized>(&mut self, clock: &mut C, tick: &Tick) -> bool {
        let now = tick.now.max(tick.read.raw);
        let slept = tick.asleep - self.asleep.replace(tick.asleep).unwrap_or(tick.asleep);
        if slept > SHORTEST_SLEEP {
            self.filter = None;
            self.resume = Some((now + self.settings.resume_wait, slept));
            self.startup.interrupted();
            self.status.sleeps += 1;
            self.note(Event::Slept(slept));
        }
        let state = clock.kernel_state().ok();
        let Some(mut filter) = self.filter else {
            if let Some(state) = state {
                self.guard.look(&state);
                self.found(&state);
            }
            self.filter = Some(ClockFilter::new(
                &tick.read,
                self.settings.wander,
                clock.limits(),
            ));
            self.show();
            return true;
        };
        if tick.read.raw < filter.raw() {
            return false;
        }
        let elapsed = tick.read.raw - filter.raw();
        self.pace = pace(self.pace, elapsed, self.settings.interval);
        filter.predict(tick.read.raw, self.command);
        let surprise = filter.compare(&tick.read);
        let sign = state.and_then(|state| self.guard.look(&state));
        let unexplained = surprise.nanos.abs()
            - tick.read.error.abs().as_nanos_f64()
            - self.changed_by * LATE_COMMAND * 1e9
            - self.foreign_slew(sign, elapsed);
        let stepped = unexplained > FOREIGN_STEP + 6.0 * surprise.sigma;
        if stepped {
            let by = ForeignSign::Stepped(Span::from_nanos_f64(surprise.nanos));
            self.startup.interrupted();
            self.foreign(now, by);
        }
        if let Some(sign) = sign {
            self.foreign(now, sign);
        }
        if stepped || sign.is_some() {
            filter.relocate(&tick.read);
        } else {
            filter.observe(&tick.read, elapsed);
        }
        self.changed_by = 0.0;
        if let Some(state) = state {
            self.found(&state);
        }
        filter.predict(now, self.command);
        self.filter = Some(filter);
        self.show();
        filter.is_sane()
    }

    fn found(&mut self, state: &KernelState) {
        if state.rate.as_fraction().is_finite() {
            self.command = state.rate;
        }
    }

    /// The phase in ns that somebody else's way of steering may have moved during `elapsed`.
    fn foreign_slew(&self, sign: Option<ForeignSign>, elapsed: Span) -> f64 {
        match sign {
            Some(ForeignSign::Rate { expected, found }) => (found - expected).abs().over(elapsed),
            Some(_) => KERNEL_SLEW * elapsed.as_nanos_f64(),
            None => 0.0,
        }
    }

    fn foreign(&mut self, now: RawTime, sign: ForeignSign) {
        if !self.taken_over || self.denied.is_some() {
            return;
        }
        self.status.foreign += 1;
        if self.guard.given_way_to().is_none() {
            self.note(Event::Foreign(sign));
        }
        self.guard.sighted(now, sign);
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
            if jump.abs() > self.settings.step.threshold {
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
            return (S::Panic, reason, Action::Distrust);
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

    fn act<C: SteeredClock + ?Sized>(
        &mut self,
        clock: &mut C,
        tick: &Tick,
        state: SteeringState,
        action: Action,
    ) {
        let mut course = self.course(tick);
        match action {
            Action::Leave => {
                self.assess(tick, state, course);
                return;
            }
            Action::Hold => {
                if let Some(steady) = self.steady {
                    self.run_at(clock, steady, Rate::ZERO);
                }
            }
            Action::Distrust => {}
            Action::Follow(course) => {
                self.steady = Some(course.steady);
                self.run_at(clock, course.steady, Rate::ZERO);
            }
            Action::Steer(plan) => {
                self.steady = Some(plan.steady);
                self.run_at(clock, plan.steady, plan.slew);
            }
            Action::Step(plan) => {
                if self.step(clock, Span::from_nanos_f64(-plan.offset)) {
                    course = self.course(tick);
                    self.publish(clock, tick, state, course);
                    if let Some(plan) = course {
                        self.steady = Some(plan.steady);
                        self.run_at(clock, plan.steady, plan.slew);
                    }
                }
            }
        }
        if self.agreed_once {
            self.publish(clock, tick, state, course);
        } else {
            self.assess(tick, state, course);
        }
    }

    fn run_at<C: SteeredClock + ?Sized>(&mut self, clock: &mut C, steady: Rate, slew: Rate) {
        let rate = steady + slew;
        if rate == self.command || self.set_rate(clock, rate) {
            self.status.slew_ppm = slew.as_ppm();
        }
    }

    fn set_rate<C: SteeredClock + ?Sized>(&mut self, clock: &mut C, rate: Rate) -> bool {
        let rate = rate.clamp_abs(clock.limits().max_rate);
        match clock.set_rate(rate) {
            Ok(applied) => {
                self.taken_over = true;
                self.guard.set(applied);
                self.changed_by = (applied - self.command).abs().as_fraction();
                if let Some(filter) = &mut self.filter {
                    filter.commanded(self.command, applied);
                }
                self.command = applied;
                self.status.rate_ppm = Some(applied.as_ppm());
                true
            }
            Err(error) => {
                self.refused(error);
                false
            }
        }
    }

    fn step<C: SteeredClock + ?Sized>(&mut self, clock: &mut C, by: Span) -> bool {
        match clock.step(by) {
            Ok(()) => {
                if let Some(filter) = &mut self.filter {
                    filter.stepped(by);
                }
                self.startup.stepped();
                self.status.steps += 1;
                self.note(Event::Stepped(by));
                true
            }
            Err(error) => {
                self.refused(error);
                false
            }
        }
    }

    fn publish<C: SteeredClock + ?Sized>(
        &mut self,
        clock: &mut C,
        tick: &Tick,
        state: SteeringState,
        course: Option<Course>,
    ) {
        let publication = self.assess(tick, state, course);
        if let Err(error) = clock.publish(&publication) {
            self.refused(error);
        }
    }

    /// How good the clock is; kept in the status too.
    fn assess(&mut self, tick: &Tick, state: SteeringState, course: Option<Course>) -> Publication {
        use SteeringState as S;
        self.status.offset_ns = course.map(|course| course.offset);
        let sigma = self.filter.map_or(0.0, |filter| filter.phase_sigma());
        let errors = tick.target.zip(course).map(|(target, course)| {
            let own = course.offset.abs() + 3.0 * sigma;
            let max = target.bound.abs() + Span::from_nanos_f64(own) + tick.read.error.abs();
            let expected = target.estimated_error.as_nanos_f64();
            (
                if target.bound == Span::MAX {
                    Span::MAX
                } else {
                    max
                },
                Span::from_nanos_f64(expected.hypot(course.offset).hypot(sigma)),
            )
        });
        let (max_error, estimated_error) = errors.unwrap_or((Span::MAX, Span::MAX));
        let some = |span: Span| (span != Span::MAX).then_some(span.as_nanos());
        self.status.max_error_ns = some(max_error);
        self.status.estimated_error_ns = some(estimated_error);
        let good = matches!(state, S::Synchronized | S::Holdover);
        Publication {
            synchronized: good && max_error < HOPELESS,
            estimated_error: estimated_error.min(HOPELESS),
            max_error: max_error.min(HOPELESS),
            tai_minus_utc: TAI_MINUS_UTC_SECONDS,
        }
    }

    fn show(&mut self) {
        if let Some(filter) = &self.filter {
            self.status.sigma_ns = Some(filter.phase_sigma());
            self.status.base_ppm = Some(filter.base().as_ppm());
        }
        self.status.rate_ppm = Some(self.command.as_ppm());
    }

    fn refused(&mut self, error: SteerError) {
        self.status.refused += 1;
        if self.status.state != SteeringState::Failing {
            self.note(Event::Refused(error.clone()));
        }
        if matches!(error, SteerError::NotPermitted(_)) {
            self.denied = Some(error.clone());
        }
        self.fault = Some(error);
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

/// The time to the next update, from how long the last ones took.
fn pace(before: Span, elapsed: Span, interval: Span) -> Span {
    let smoothed = before + (elapsed - before) / 4;
    smoothed.max(interval).min(Span::from_secs(60))
}

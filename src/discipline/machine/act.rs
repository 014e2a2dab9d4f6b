//! Commands to the clock.

use super::{Action, Discipline, Tick};
use crate::discipline::clock::{Publication, SteerError, SteeredClock};
use crate::discipline::course::Course;
use crate::discipline::status::{Event, SteeringState};
use crate::discipline::tai::TAI_MINUS_UTC_SECONDS;
use crate::time::{Rate, Span};

/// The kernel calls a clock unsynchronized when its error may exceed this.
const HOPELESS: Span = Span::from_secs(16);

impl Discipline {
    pub(super) fn act<C: SteeredClock + ?Sized>(
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
            Action::Hold => self.hold(clock),
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

    /// Back to the last good rate, if steering is ours; a slew must not run on unwatched.
    pub(super) fn hold<C: SteeredClock + ?Sized>(&mut self, clock: &mut C) {
        let ours = self.taken_over && self.denied.is_none() && self.guard.given_way_to().is_none();
        if let Some(steady) = self.steady.filter(|_| ours) {
            self.run_at(clock, steady, Rate::ZERO);
        }
    }

    fn run_at<C: SteeredClock + ?Sized>(&mut self, clock: &mut C, steady: Rate, slew: Rate) {
        let rate = steady + slew;
        if self.wanted == Some(rate) || self.set_rate(clock, rate) {
            self.status.slew_ppm = slew.as_ppm();
        }
    }

    pub(super) fn set_rate<C: SteeredClock + ?Sized>(&mut self, clock: &mut C, rate: Rate) -> bool {
        let rate = rate.clamp_abs(clock.limits().max_rate);
        let taken_over = if self.alone {
            Ok(())
        } else {
            clock.take_over()
        };
        match taken_over.and_then(|()| clock.set_rate(rate)) {
            Ok(applied) => {
                self.taken_over = true;
                self.alone = true;
                self.guard.set(applied);
                self.changed_by = (applied - self.command).abs().as_fraction();
                if let Some(filter) = &mut self.filter {
                    filter.commanded(self.command, applied);
                }
                self.command = applied;
                self.wanted = Some(rate);
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
            tai_minus_utc: self.tai_minus_utc(),
            leap: self.leap.pending(),
        }
    }

    /// TAI − UTC in seconds, for a clock that shows UTC; the table's value for others.
    pub(super) fn tai_minus_utc(&self) -> i32 {
        match -self.settings.shown_minus_virtual {
            Span::ZERO => TAI_MINUS_UTC_SECONDS,
            behind => (behind.as_nanos() / 1_000_000_000) as i32,
        }
    }

    fn refused(&mut self, error: SteerError) {
        self.status.refused += 1;
        if matches!(error, SteerError::NotPermitted(_)) {
            self.denied = Some(error.clone());
        }
        self.fault = Some(error);
    }
}

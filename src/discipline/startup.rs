//! Whether an offset may be stepped, must be slewed, or is not to be believed.

use super::settings::StepPolicy;
use crate::time::{RawTime, Span};

/// What the policy says about an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Step it.
    pub step: bool,
    /// Leave the clock alone: the offset is beyond this threshold.
    pub panic: Option<Span>,
}

/// The step policy, and how far start-up has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartUp {
    policy: StepPolicy,
    began: Option<RawTime>,
    steps: u32,
}

impl StartUp {
    pub(super) fn new(policy: StepPolicy) -> Self {
        Self {
            policy,
            began: None,
            steps: 0,
        }
    }

    /// The clock has jumped without us.
    pub(super) fn interrupted(&mut self) {
        if self.policy.after_interruption {
            self.began = None;
            self.steps = 0;
        }
    }

    /// We have stepped.
    pub(super) fn stepped(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }

    /// What to do about `offset`; the first call begins start-up.
    pub(super) fn judge(&mut self, now: RawTime, offset: Span) -> Verdict {
        let began = *self.began.get_or_insert(now);
        let policy = &self.policy;
        let starting = now - began < policy.startup && self.steps < policy.startup_steps;
        let panic = if starting {
            policy.startup_panic
        } else {
            policy.panic
        };
        let large = offset.abs() > policy.threshold;
        let beyond = offset.abs() > panic;
        Verdict {
            step: large && !beyond && (starting || policy.while_running),
            panic: beyond.then_some(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> RawTime {
        RawTime::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn steps_end_with_startup_and_begin_anew_after_an_interruption() {
        let mut startup = StartUp::new(StepPolicy::default());
        let day = Span::from_secs(86_400);
        assert!(startup.judge(at(0), day).step);
        assert!(!startup.judge(at(1), Span::from_millis(9)).step);
        assert!(startup.judge(at(59), -day).step);
        let late = startup.judge(at(60), day);
        assert_eq!(late.panic, Some(Span::from_secs(10)));
        assert!(!late.step);
        assert!(!startup.judge(at(60), Span::from_secs(5)).step);
        startup.interrupted();
        assert!(startup.judge(at(900), day).step);
        for _ in 0..3 {
            startup.stepped();
        }
        assert!(!startup.judge(at(901), Span::from_secs(1)).step);
    }
}

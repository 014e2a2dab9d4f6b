//! Whether somebody else steers the clock.

use std::collections::VecDeque;

use super::clock::{KernelState, Leap};
use super::settings::HoldBack;
use super::status::ForeignSign;
use crate::time::{Rate, RawTime, Span};

/// Rates closer than this are the same: a few units of the kernel's 2⁻¹⁶ ppm.
const SAME_RATE: f64 = 1e-10;
/// Signs so close together come from one act.
const ONE_ACT: Span = Span::from_secs(5);
/// The wait before another try doubles no more than this many times.
const MAX_DOUBLINGS: u32 = 5;

/// Compares the clock's control state with what it was left in, and decides when to give way.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    policy: HoldBack,
    expected: Option<KernelState>,
    acts: VecDeque<RawTime>,
    last_sign: Option<(RawTime, ForeignSign)>,
    given_way: bool,
    times_given_way: u32,
}

impl Guard {
    pub(super) fn new(policy: HoldBack) -> Self {
        Self {
            policy,
            expected: None,
            acts: VecDeque::new(),
            last_sign: None,
            given_way: false,
            times_given_way: 0,
        }
    }

    /// We have just set `rate`, loop off, nothing pending.
    pub(super) fn set(&mut self, rate: Rate) {
        self.expected = Some(KernelState {
            rate,
            kernel_loop: false,
            pending: Span::ZERO,
            leap: Leap::None,
        });
    }

    /// What differs from how the clock was left. The state found is what is expected next time.
    pub(super) fn look(&mut self, found: &KernelState) -> Option<ForeignSign> {
        let expected = self.expected.replace(*found)?;
        if (found.rate - expected.rate).abs().as_fraction() > SAME_RATE {
            Some(ForeignSign::Rate {
                expected: expected.rate,
                found: found.rate,
            })
        } else if found.kernel_loop && !expected.kernel_loop {
            Some(ForeignSign::KernelLoop)
        } else if found.pending != expected.pending && found.pending != Span::ZERO {
            Some(ForeignSign::Pending(found.pending))
        } else {
            None
        }
    }

    /// Counts a sign; true if it is time to give way.
    pub(super) fn sighted(&mut self, now: RawTime, sign: ForeignSign) -> bool {
        let same_act = self.last_sign.is_some_and(|(at, _)| now - at < ONE_ACT);
        self.last_sign = Some((now, sign));
        if same_act || self.given_way {
            return false;
        }
        while self
            .acts
            .front()
            .is_some_and(|&at| now - at > self.policy.window)
        {
            self.acts.pop_front();
        }
        self.acts.push_back(now);
        if self.acts.len() < self.policy.sightings as usize {
            return false;
        }
        self.acts.clear();
        self.given_way = true;
        self.times_given_way += 1;
        true
    }

    /// The sign that made us give way, while we do.
    pub(super) fn given_way_to(&self) -> Option<ForeignSign> {
        self.last_sign
            .filter(|_| self.given_way)
            .map(|(_, sign)| sign)
    }

    /// True once when the clock was left alone for long enough to try again.
    pub(super) fn may_resume(&mut self, now: RawTime) -> bool {
        let doublings = self.times_given_way.saturating_sub(1).min(MAX_DOUBLINGS);
        let wait = self.policy.retry_after * (1 << doublings);
        let quiet = self.last_sign.is_none_or(|(at, _)| now - at >= wait);
        let resumes = self.given_way && quiet;
        if resumes {
            self.given_way = false;
            self.expected = None;
        }
        resumes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> RawTime {
        RawTime::from_nanos(seconds * 1_000_000_000)
    }

    fn state(ppm: f64) -> KernelState {
        KernelState {
            rate: Rate::from_ppm(ppm),
            kernel_loop: false,
            pending: Span::ZERO,
            leap: Leap::None,
        }
    }

    #[test]
    fn names_what_was_changed() {
        let mut guard = Guard::new(HoldBack::default());
        assert_eq!(guard.look(&state(3.0)), None);
        guard.set(Rate::from_ppm(5.0));
        assert_eq!(guard.look(&state(5.0 + 1e-5)), None);
        assert!(matches!(
            guard.look(&state(7.0)),
            Some(ForeignSign::Rate { .. })
        ));
        assert_eq!(guard.look(&state(7.0)), None);
        let pll = KernelState {
            kernel_loop: true,
            ..state(7.0)
        };
        assert_eq!(guard.look(&pll), Some(ForeignSign::KernelLoop));
        let pending = KernelState {
            pending: Span::from_micros(9),
            ..state(7.0)
        };
        assert_eq!(
            guard.look(&pending),
            Some(ForeignSign::Pending(Span::from_micros(9)))
        );
    }

    #[test]
    fn gives_way_after_repeated_acts_and_waits_longer_each_time() {
        let mut guard = Guard::new(HoldBack::default());
        let sign = ForeignSign::KernelLoop;
        assert!(!guard.sighted(at(0), sign));
        assert!(!guard.sighted(at(1), sign), "one act");
        assert!(!guard.sighted(at(100), sign));
        assert!(guard.sighted(at(200), sign));
        assert!(!guard.may_resume(at(1_000)));
        assert!(guard.may_resume(at(1_100)));
        assert!(!guard.may_resume(at(1_101)), "only once");
        for k in 0..3 {
            guard.sighted(at(2_000 + 100 * k), sign);
        }
        assert_eq!(guard.given_way_to(), Some(sign));
        assert!(!guard.may_resume(at(2_200 + 1_799)));
        assert!(guard.may_resume(at(2_200 + 1_800)));
    }

    #[test]
    fn rare_acts_are_forgiven() {
        let mut guard = Guard::new(HoldBack::default());
        for k in 0..100 {
            assert!(!guard.sighted(at(k * 2_000), ForeignSign::KernelLoop));
        }
    }
}

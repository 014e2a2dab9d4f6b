//! When to announce.

use std::time::{Duration, Instant};

use crate::engine::random;

/// Pauses between the first announcements, which ask for answers.
const FIRST: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1000)];
/// Answers to newcomers come within this, spread so that a full network does not burst.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// No two announcements are closer than this, whoever asks.
const CLOSEST: Duration = Duration::from_millis(400);

/// Quick at the start, then now and then; sooner when a newcomer wants to know.
pub(super) struct Schedule {
    interval: Duration,
    due: Instant,
    last: Option<Instant>,
    sent: usize,
}

impl Schedule {
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self {
            interval,
            due: now + random::up_to(Duration::from_millis(50)),
            last: None,
            sent: 0,
        }
    }

    /// When to announce next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether the next announcement is one of the first, which ask for answers.
    pub(super) fn is_start(&self) -> bool {
        self.sent <= FIRST.len()
    }

    /// One was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        let pause = FIRST.get(self.sent).copied().unwrap_or(self.interval);
        self.sent = self.sent.saturating_add(1);
        self.last = Some(now);
        self.due = now + random::spread(pause.min(self.interval));
    }

    /// Somebody should hear from us soon.
    pub(super) fn hasten(&mut self, now: Instant) {
        let soon = now + random::up_to(ANSWER_WITHIN);
        let soon = self.last.map_or(soon, |last| soon.max(last + CLOSEST));
        self.due = self.due.min(soon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_quickly_and_settles() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, Duration::from_secs(30));
        let mut starts = 0;
        for _ in 0..3 {
            starts += usize::from(schedule.is_start());
            schedule.sent(schedule.due());
        }
        assert_eq!(starts, 3);
        assert!(!schedule.is_start());
        let settled = schedule.due() - start;
        assert!(settled > Duration::from_secs(22) && settled < Duration::from_secs(40));
    }

    #[test]
    fn answers_are_soon_but_never_a_burst() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, Duration::from_secs(30));
        (0..3).for_each(|_| schedule.sent(now));
        let later = now + Duration::from_secs(5);
        schedule.hasten(later);
        assert!(schedule.due() <= later + ANSWER_WITHIN);
        schedule.sent(later);
        schedule.hasten(later);
        assert!(schedule.due() >= later + CLOSEST);
    }
}

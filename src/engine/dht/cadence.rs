//! When to look up keys: at once after joining, quickly while that brings new peers, then rarely.

use std::time::{Duration, Instant};

use crate::engine::random;

/// Pause between lookups while they bring new peers.
const QUICK: Duration = Duration::from_millis(400);
/// Pause before a lookup because a newcomer has come, so that several make one lookup.
const GATHER: Duration = Duration::from_millis(120);
/// Lookups that newcomers can cause in a burst, and the time after which one more is allowed;
/// otherwise strangers could keep us busy.
const BURST: u32 = 16;
const ALLOWANCE: Duration = Duration::from_secs(15);
/// Lookups in a row that may stay quick without bringing news, because peers are about that none
/// has brought up yet.
const PATIENCE: u32 = 12;
/// How much longer each pause is than the one before once there is no news.
const SLOWING: u32 = 3;
/// Every so manyth lookup is for our own key: it keeps our neighbourhood known and known to it.
const OWN: u32 = 8;

/// The next lookup's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Our own key.
    Own,
    /// A key drawn uniformly.
    Random,
}

/// Decides when the next lookup is due and what for.
pub(super) struct Cadence {
    slowest: Duration,
    pause: Duration,
    due: Instant,
    count: u32,
    fruitless: u32,
    /// `due` was brought forward since the last start.
    hastened: bool,
    allowed: u32,
    refilled: Instant,
}

impl Cadence {
    pub(super) fn new(now: Instant, slowest: Duration) -> Self {
        Self {
            slowest,
            pause: QUICK,
            due: now,
            count: 0,
            fruitless: 0,
            hastened: false,
            allowed: BURST,
            refilled: now,
        }
    }

    /// When the next lookup is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// We are in the network for the first time, or again.
    pub(super) fn joined(&mut self, now: Instant) {
        self.count = 0;
        self.fruitless = 0;
        self.pause = QUICK;
        self.hasten(now);
    }

    /// Somebody came of whom no lookup of ours has told yet, while few peers are known.
    pub(super) fn newcomer(&mut self, now: Instant) {
        let allowance =
            now.saturating_duration_since(self.refilled).as_secs() / ALLOWANCE.as_secs();
        if allowance > 0 {
            self.allowed = BURST.min(self.allowed.saturating_add(allowance as u32));
            self.refilled = now;
        }
        if self.due > now + GATHER && self.allowed > 0 {
            self.allowed -= 1;
            self.hasten(now + random::spread(GATHER));
        }
    }

    /// Peers are wanted at once.
    pub(super) fn wanted(&mut self, now: Instant) {
        self.hasten(now);
    }

    /// A lookup starts; for which key?
    pub(super) fn start(&mut self, now: Instant) -> Target {
        let target = if self.count.is_multiple_of(OWN) {
            Target::Own
        } else {
            Target::Random
        };
        self.count = self.count.wrapping_add(1);
        self.due = now + random::spread(self.pause);
        self.hastened = false;
        target
    }

    /// A lookup has ended; whether it told us of peers that were new, and whether there are more
    /// that it could have told.
    pub(super) fn finished(&mut self, now: Instant, news: bool, more: bool) {
        self.fruitless = if news {
            0
        } else {
            self.fruitless.saturating_add(1)
        };
        let quick = news || more && self.fruitless < PATIENCE;
        self.pause = if quick {
            QUICK
        } else {
            (SLOWING * self.pause).min(self.slowest)
        };
        if !self.hastened {
            self.due = now + random::spread(self.pause);
        }
    }

    fn hasten(&mut self, due: Instant) {
        self.due = self.due.min(due);
        self.hastened = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOWEST: Duration = Duration::from_secs(300);

    #[test]
    fn lookups_are_quick_while_they_help_and_then_rare() {
        let mut now = Instant::now();
        let mut cadence = Cadence::new(now, SLOWEST);
        assert_eq!(cadence.start(now), Target::Own);
        cadence.finished(now, true, false);
        assert!(cadence.due() <= now + 2 * QUICK);
        let mut lookups = 0;
        let start = now;
        while now < start + Duration::from_secs(3600) {
            now = cadence.due();
            cadence.start(now);
            cadence.finished(now, false, true);
            lookups += 1;
        }
        assert!((20..40).contains(&lookups), "{lookups} lookups in an hour");
        cadence.joined(now);
        assert_eq!((cadence.due(), cadence.start(now)), (now, Target::Own));
    }

    #[test]
    fn newcomers_hasten_it_but_not_without_end() {
        let now = Instant::now();
        let mut cadence = Cadence::new(now, SLOWEST);
        let mut hastened = 0;
        for _ in 0..100 {
            cadence.pause = SLOWEST;
            cadence.start(now);
            cadence.newcomer(now);
            hastened += u32::from(cadence.due() < now + QUICK);
        }
        assert_eq!(hastened, BURST);
        let later = now + 2 * ALLOWANCE;
        cadence.start(later);
        cadence.newcomer(later);
        assert!(cadence.due() < later + QUICK);
    }

    #[test]
    fn random_keys_are_most_of_them() {
        let now = Instant::now();
        let mut cadence = Cadence::new(now, SLOWEST);
        let own = (0..80)
            .filter(|_| cadence.start(now) == Target::Own)
            .count();
        assert_eq!(own, 10);
    }
}

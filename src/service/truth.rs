//! The true frequency as the system clock shows it, on a host where something else steers that.

use hwts::clock::{Clock as _, CrossRead, RawClock, SystemClock};
use nix::time::{ClockId, clock_gettime};

use crate::time::{Rate, RawTime, Span};

/// Between looks.
const PAUSE: Span = Span::from_secs(1);

/// Looks that the frequency is averaged over: steering does not change it at once for good.
const AVERAGED: u32 = 60;

/// Looks before it is told.
const FIRST: u32 = 8;

/// A look that took longer than this between two readings of a clock says too little, ns.
const NARROW: i64 = 5_000;

/// How fast the system clock runs against the raw clock.
///
/// `CLOCK_MONOTONIC` runs as fast as `CLOCK_REALTIME` and is never stepped.
#[derive(Debug)]
pub struct SystemRate {
    raw: RawClock,
    next: RawTime,
    last: Option<CrossRead>,
    rate: f64,
    looks: u32,
    told: bool,
}

impl SystemRate {
    /// That of this host's system clock against `raw`.
    pub const fn new(raw: RawClock) -> Self {
        Self {
            raw,
            next: RawTime::from_nanos(i64::MIN),
            last: None,
            rate: 0.0,
            looks: 0,
            told: false,
        }
    }

    /// Look, if it is time to. What is news: the frequency, or that it is no longer known, as nobody
    /// steers the clock.
    pub fn look(&mut self, now: RawTime) -> Option<Option<Rate>> {
        if now < self.next {
            return None;
        }
        self.next = now + PAUSE;
        let state = SystemClock::new().read_state();
        let steered = state.is_ok_and(|state| state.status.synchronized);
        let read = CrossRead::take_with(|| self.raw.now(), monotonic, 5);
        let rate = self.take(steered, read);
        let news = rate.is_some() || self.told;
        if rate.is_some() != self.told {
            self.told = rate.is_some();
            if self.told {
                tracing::info!("this host is a reference: its system clock is steered");
            } else {
                tracing::warn!(
                    "this host is no reference any more: nothing steers its system clock"
                );
            }
        }
        news.then_some(rate)
    }

    fn take(&mut self, steered: bool, read: CrossRead) -> Option<Rate> {
        if !steered {
            (self.last, self.looks) = (None, 0);
            return None;
        }
        if read.error > NARROW {
            return self.known();
        }
        let last = self.last.replace(read)?;
        let (raw, system) = (read.a - last.a, read.b - last.b);
        if raw <= 0 {
            return self.known();
        }
        self.looks = (self.looks + 1).min(AVERAGED);
        let seen = (system - raw) as f64 / raw as f64;
        self.rate += (seen - self.rate) / f64::from(self.looks);
        self.known()
    }

    fn known(&self) -> Option<Rate> {
        (self.looks >= FIRST).then(|| Rate::from_fraction(self.rate))
    }
}

fn monotonic() -> i64 {
    // It cannot fail where there is a kernel.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(second: i64, ppm: i64, noise: i64) -> CrossRead {
        CrossRead {
            a: 7 + second * 1_000_000_000 + noise,
            b: second * (1_000_000_000 + 1_000 * ppm),
            error: 40,
        }
    }

    #[test]
    fn the_frequency_is_told_once_known_and_no_longer_than_the_clock_is_steered() {
        let mut rate = SystemRate::new(RawClock::Monotonic);
        for second in 0..=600 {
            let told = rate.take(true, read(second, 12, 30 * (second % 2)));
            assert_eq!(told.is_some(), second >= i64::from(FIRST));
            if second > 60 {
                let off = told.unwrap().as_ppm() - 12.0;
                assert!(off.abs() < 1e-3, "{off}");
            }
        }
        // A look that was interrupted is not used.
        let late = CrossRead {
            error: 2 * NARROW,
            ..read(600, 5_000, 0)
        };
        let told = rate.take(true, late).unwrap().as_ppm();
        assert!((told - 12.0).abs() < 1e-3);
        assert_eq!(rate.take(false, read(602, 12, 0)), None);
        assert_eq!(rate.take(true, read(603, 12, 0)), None);
    }

    #[test]
    fn this_hosts_clock_is_looked_at_once_a_second() {
        let mut rate = SystemRate::new(RawClock::Monotonic);
        let now = RawTime::from_nanos(0);
        // Whether anybody steers it is for others to know.
        let _ = rate.look(now);
        assert_eq!(rate.look(now + PAUSE / 2), None);
        assert_eq!(rate.next, now + PAUSE);
    }
}

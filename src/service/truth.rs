//! The true frequency as the system clock shows it, on a host where something else steers that.

use std::collections::VecDeque;

use hwts::clock::{Clock as _, CrossRead, RawClock, SystemClock};
use nix::time::{ClockId, clock_gettime};

use crate::time::{Rate, RawTime, Span};

/// Between looks.
const PAUSE: Span = Span::from_secs(1);

/// Looks that the frequency is the median of.
const LOOKS: usize = 64;

/// The frequency of the first half of these and of the second are no farther apart than this: a clock
/// that is slewed shows no frequency.
const STEADY: f64 = 1e-6;

/// A look that took longer than this between two readings of a clock says too little, ns.
const NARROW: i64 = 5_000;

/// A clock that may be off by more than this is not steered any more, ns: the kernel's bound of it
/// grows by 500 ppm while nobody tells it another.
const NEGLECTED: i64 = 1_000_000_000;

/// How fast the system clock runs against the raw clock.
///
/// `CLOCK_MONOTONIC` runs as fast as `CLOCK_REALTIME` and is never stepped.
#[derive(Debug)]
pub struct SystemRate {
    raw: RawClock,
    most: Rate,
    next: RawTime,
    last: Option<CrossRead>,
    rates: VecDeque<f64>,
    /// Whether this host is a reference, as far as was said.
    known: Option<bool>,
}

impl SystemRate {
    /// That of this host's system clock against `raw`, whose oscillator is off by `most` at most: what
    /// is faster is a slew.
    pub const fn new(raw: RawClock, most: Rate) -> Self {
        Self {
            raw,
            most,
            next: RawTime::from_nanos(i64::MIN),
            last: None,
            rates: VecDeque::new(),
            known: None,
        }
    }

    /// Look, if it is time to: the frequency; `None` within while it is not known.
    pub fn look(&mut self, now: RawTime) -> Option<Option<Rate>> {
        if now < self.next {
            return None;
        }
        self.next = now + PAUSE;
        let state = SystemClock::new().read_state();
        let steered = state
            .is_ok_and(|state| state.status.synchronized && state.status.max_error < NEGLECTED);
        let read = CrossRead::take_with(|| self.raw.now(), monotonic, 5);
        let rate = self.take(steered, read);
        let known = rate.is_some();
        if self.known != Some(known) && (known || !steered) {
            self.known = Some(known);
            if known {
                tracing::info!("this host is a reference: its system clock is steered");
            } else {
                tracing::warn!(
                    "this host is no reference: nothing steers its system clock, as far as the \
                     kernel was told (adjtimex); start what is to, chronyd with `rtcsync`"
                );
            }
        }
        Some(rate)
    }

    fn take(&mut self, steered: bool, read: CrossRead) -> Option<Rate> {
        if !steered {
            self.last = None;
            self.rates.clear();
            return None;
        }
        if read.error > NARROW {
            return self.steady();
        }
        let last = self.last.replace(read)?;
        let (raw, system) = (read.a - last.a, read.b - last.b);
        if raw <= 0 {
            return self.steady();
        }
        let rate = (system - raw) as f64 / raw as f64;
        if rate.abs() > self.most.as_fraction() {
            self.rates.clear();
        }
        self.rates.truncate(LOOKS - 1);
        self.rates.push_front(rate);
        self.steady()
    }

    fn steady(&self) -> Option<Rate> {
        if self.rates.len() < LOOKS {
            return None;
        }
        let of = |from: usize, to: usize| median(self.rates.range(from..to).copied().collect());
        let apart = of(0, LOOKS / 2) - of(LOOKS / 2, LOOKS);
        (apart.abs() <= STEADY).then(|| Rate::from_fraction(of(0, LOOKS)))
    }
}

/// Of an even number.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    let middle = rates.len() / 2;
    0.5 * (rates[middle - 1] + rates[middle])
}

fn monotonic() -> i64 {
    // It cannot fail where there is a kernel.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock `ahead` ns ahead of the raw one at this second, to ± 30 ns.
    fn read(second: i64, ahead: i64) -> CrossRead {
        CrossRead {
            a: 7 + second * 1_000_000_000 + 30 * (second % 2),
            b: second * 1_000_000_000 + ahead,
            error: 40,
        }
    }

    #[test]
    fn the_frequency_is_told_once_known_and_no_longer_than_the_clock_is_steered() {
        let mut rate = SystemRate::new(RawClock::Monotonic, Rate::from_ppm(100.0));
        for second in 0..=100 {
            let told = rate.take(true, read(second, 12_000 * second));
            assert_eq!(told.is_some(), second >= LOOKS as i64);
        }
        // A look that was interrupted is not used.
        let late = CrossRead {
            error: 2 * NARROW,
            ..read(101, 5_000_000)
        };
        let told = rate.take(true, late).unwrap().as_ppm();
        assert!((told - 12.0).abs() < 0.05, "{told}");
        assert_eq!(rate.take(false, read(102, 12_000 * 102)), None);
        assert_eq!(rate.take(true, read(103, 12_000 * 103)), None);
    }

    #[test]
    fn a_clock_that_is_slewed_tells_no_frequency() {
        let mut rate = SystemRate::new(RawClock::Monotonic, Rate::from_ppm(100.0));
        let mut ahead = 0;
        for second in 0..300 {
            // A tenth of a second within a minute.
            ahead += if (100..160).contains(&second) {
                1_678_000
            } else {
                12_000
            };
            if let Some(told) = rate.take(true, read(second, ahead)) {
                let told = told.as_ppm();
                assert!((told - 12.0).abs() < 0.1, "{second} {told}");
            }
        }
        assert!(rate.steady().is_some());
    }

    #[test]
    fn this_hosts_clock_is_looked_at_once_a_second() {
        let mut rate = SystemRate::new(RawClock::Monotonic, Rate::from_ppm(100.0));
        let now = RawTime::from_nanos(0);
        assert_eq!(rate.look(now), Some(None));
        assert_eq!(rate.look(now + PAUSE / 2), None);
        assert_eq!(rate.next, now + PAUSE);
    }
}

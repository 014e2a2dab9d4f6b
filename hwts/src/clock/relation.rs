//! How a clock that may be steered runs against the raw clock, from a few cross-reads of both.

use super::CrossRead;
use super::convert::{ConvertError, Converted};
use super::rise::Rise;

/// Cross-reads kept at most.
pub(super) const ROOM: usize = 32;

/// Cross-reads of both clocks, and what follows for the time between them: neither slewing nor an
/// unknown offset matters, and a step between two reads is noticed.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// `a` is raw, `b` the other clock; oldest first.
    reads: [CrossRead; ROOM],
    len: usize,
    /// Reads kept, at most [`ROOM`].
    most: usize,
    /// Reads closer to each other than this replace each other, ns of raw time.
    spacing: i64,
    steps: u64,
}

impl Relation {
    /// Without any read.
    pub(super) const fn new(most: usize, spacing: i64) -> Self {
        let none = CrossRead {
            a: 0,
            b: 0,
            error: 0,
        };
        Self {
            reads: [none; ROOM],
            len: 0,
            most,
            spacing,
            steps: 0,
        }
    }

    /// Steps of the clock seen so far.
    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// The newest cross-read.
    pub(super) fn latest(&self) -> Option<CrossRead> {
        self.reads().last().copied()
    }

    pub(super) fn reads(&self) -> &[CrossRead] {
        &self.reads[..self.len]
    }

    pub(super) fn push(&mut self, read: CrossRead) {
        let jumped = self.latest().is_some_and(|last| {
            let rise = Rise::between(last, read);
            rise.jumped(self.rise_before(self.len - 1, rise.raw))
        });
        if jumped {
            // What was read before the step would say nothing about stamps from after it.
            self.steps += 1;
            self.len = 0;
        } else if let [.., before, last] = *self.reads()
            && last.a - before.a < self.spacing
        {
            self.len -= 1;
        } else if self.len == self.most {
            self.reads.copy_within(1.., 0);
            self.len -= 1;
        }
        self.reads[self.len] = read;
        self.len += 1;
    }

    /// The rate before read number `at`, over about as long as `raw` ns: the longer, the less the
    /// readings' noise matters; the shorter, the less the rate may have changed meanwhile.
    fn rise_before(&self, at: usize, raw: f64) -> Option<Rise> {
        let (earlier, to) = (&self.reads[..at], self.reads[at]);
        earlier
            .iter()
            .rfind(|from| to.a.saturating_sub(from.a) as f64 >= raw / 2.0)
            .or(earlier.first())
            .map(|from| Rise::between(*from, to))
    }

    /// The same after read number `at`.
    fn rise_after(&self, at: usize, raw: f64) -> Option<Rise> {
        let (from, later) = (self.reads[at], &self.reads()[at + 1..]);
        later
            .iter()
            .find(|to| to.a.saturating_sub(from.a) as f64 >= raw / 2.0)
            .or(later.last())
            .map(|to| Rise::between(from, *to))
    }

    pub(super) fn interpolate(&self, nanos: i64) -> Result<Converted, ConvertError> {
        let reads = self.reads();
        let Some(last) = reads.last() else {
            return Err(ConvertError::TooOld);
        };
        if nanos > last.b {
            // The newest read was taken after the stamp, so the clock must have gone back.
            return Err(ConvertError::Stepped);
        }
        let at = reads
            .windows(2)
            .rposition(|pair| pair[0].b <= nanos && nanos <= pair[1].b)
            .ok_or(if self.steps > 0 && self.len == 1 {
                ConvertError::Stepped
            } else {
                ConvertError::TooOld
            })?;
        let (from, to) = (reads[at], reads[at + 1]);
        let rise = Rise::between(from, to);
        let into = (nanos - from.b) as f64 * rise.raw / rise.clock;
        let raw = from.a + into.round() as i64;

        // Had the clock changed its rate once or jumped once in all this time, the straight line
        // between the reads would be off by at most the mean rate's difference from that before
        // (or after), times the time from the farther end.
        let usual = self
            .rise_before(at, rise.raw)
            .or_else(|| self.rise_after(at + 1, rise.raw))
            .unwrap_or(Rise::NOMINAL);
        let change = rise.change_since(usual);
        let bend = change.at_most * into.max(rise.raw - into) / usual.slope();
        let error = from.error.max(to.error) as f64 + bend + 1.0;
        Ok(Converted {
            raw,
            error: error.ceil() as i64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A clock that jumps and changes its rate once.
    #[derive(Debug, Clone, Copy)]
    struct World {
        rate: f64,
        change_at: i64,
        rate_after: f64,
        jump: i64,
    }

    const EPOCH: i64 = 1_700_000_000_000_000_000;

    impl World {
        fn clock(&self, raw: i64) -> i64 {
            let before = raw.min(self.change_at);
            let after = raw - before;
            let jump = if raw >= self.change_at { self.jump } else { 0 };
            EPOCH
                + raw
                + jump
                + (before as f64 * self.rate + after as f64 * self.rate_after).round() as i64
        }

        fn read(&self, raw: i64, error: i64, off: f64) -> CrossRead {
            CrossRead {
                a: raw + (off * error as f64) as i64,
                b: self.clock(raw),
                error,
            }
        }
    }

    const STEADY: World = World {
        rate: 30e-6,
        change_at: 0,
        rate_after: 30e-6,
        jump: 0,
    };

    fn filled(world: World, upto: i64, every: i64) -> Relation {
        let mut c = Relation::new(16, 10_000_000);
        for k in 0..=upto / every {
            c.push(world.read(k * every, 20, 0.0));
        }
        c
    }

    #[test]
    fn a_steadily_slewed_clock_converts_within_the_reads_error() {
        let c = filled(STEADY, 2_000_000_000, 250_000_000);
        for raw in [500_000_001, 1_234_567_890, 1_999_990_000] {
            let got = c.interpolate(STEADY.clock(raw)).unwrap();
            assert!((got.raw - raw).abs() <= 1, "{got:?} for {raw}");
            assert!((20..200).contains(&got.error), "{got:?}");
        }
    }

    #[test]
    fn steps_are_noticed_and_stamps_around_them_refused() {
        for jump in [1_000_000_000, -1_000_000_000, 5_000_000, -5_000_000] {
            let world = World {
                change_at: 1_100_000_000,
                jump,
                ..STEADY
            };
            let mut c = filled(world, 1_000_000_000, 250_000_000);
            c.push(world.read(1_250_000_000, 20, 0.0));
            assert_eq!(c.steps(), 1, "{jump}");
            let before = c.interpolate(world.clock(1_050_000_000));
            assert_eq!(before, Err(ConvertError::Stepped), "{jump}");
            c.push(world.read(1_500_000_000, 20, 0.0));
            let got = c.interpolate(world.clock(1_400_000_000)).unwrap();
            assert!((got.raw - 1_400_000_000).abs() <= got.error);
        }
    }

    #[test]
    fn frequent_refreshing_keeps_history() {
        let c = filled(STEADY, 400_000_000, 1_000_000);
        assert_eq!(c.len, 16);
        assert!(c.interpolate(STEADY.clock(300_000_000)).is_ok());
        assert_eq!(
            c.interpolate(STEADY.clock(1_000_000)),
            Err(ConvertError::TooOld)
        );
    }

    proptest! {
        // Whatever happens once, a stamp is refused or its bound holds.
        #[test]
        fn a_conversion_never_claims_too_much(
            rate in -5e-4_f64..5e-4,
            rate_after in -0.1_f64..0.1,
            slewed: bool,
            jump in prop_oneof![
                Just(0_i64), -300_i64..300, -100_000_i64..100_000, -10_000_000_000_i64..10_000_000_000
            ],
            // With the reads' spacing as the unit: between the fourth and the eighteenth.
            change in 4.0_f64..18.0,
            distance in prop_oneof![-1.0_f64..1.0, -1e-3_f64..1e-3, -8.0_f64..8.0],
            reads in proptest::collection::vec((1_i64..200, -1.0_f64..1.0), 20),
            gap in 20_000_000_i64..120_000_000,
        ) {
            let rate_after = if slewed { rate_after } else { rate };
            let jump = if slewed { 0 } else { jump };
            let change_at = (change * gap as f64) as i64;
            let world = World { rate, change_at, rate_after, jump };
            let mut c = Relation::new(16, 10_000_000);
            let last = gap * (reads.len() as i64 - 1);
            for (k, (error, off)) in reads.iter().enumerate() {
                c.push(world.read(k as i64 * gap, *error, *off));
            }
            let raw = (change_at + (distance * gap as f64) as i64).clamp(0, last);
            let clock = world.clock(raw);
            // A clock set back shows the same time twice; only the reader's order can tell then.
            let twice = jump < 0 && (raw - change_at).abs() <= -jump + 1_000_000;
            if let Ok(got) = c.interpolate(clock) && !twice {
                // One for the rounding of the world itself.
                prop_assert!((got.raw - raw).abs() <= got.error + 1, "{got:?} for {raw}");
            }
        }
    }
}

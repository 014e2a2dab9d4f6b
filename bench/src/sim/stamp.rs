//! Where and how well packets are stamped.

use parisync::node::RawStamp;
use parisync::time::{RawTime, Span};
use parisync::wire::StampSource;
use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::units::Nanos;

/// What the stamps of all hosts are like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StampModel {
    /// Where they say they were taken.
    pub source: StampSource,
    /// By how much they say they may be off, either way.
    pub error: Nanos,
    /// Gaussian noise, one sigma; cut off at `error`, so that the claim is true.
    pub noise: Nanos,
    /// Mean by which a packet is stamped away from the wire, before it leaves and after it came:
    /// exponential, as the time from the card to a program is. It counts as delay.
    pub late: Nanos,
    /// Resolution.
    pub tick: Nanos,
}

impl Default for StampModel {
    /// A kernel's stamps, exact but for the whole nanosecond.
    fn default() -> Self {
        Self {
            source: StampSource::Kernel,
            error: Nanos(30.0),
            noise: Nanos(0.0),
            late: Nanos(0.0),
            tick: Nanos(1.0),
        }
    }
}

impl StampModel {
    /// The stamp of a packet that left when the raw clock read `raw`.
    pub fn departure(&self, raw: f64, random: &mut Random) -> RawStamp {
        let late = random_late(self.late, random);
        self.stamp(raw - late, random)
    }

    /// The stamp of a packet that arrived when the raw clock read `raw`.
    pub fn arrival(&self, raw: f64, random: &mut Random) -> RawStamp {
        let late = random_late(self.late, random);
        self.stamp(raw + late, random)
    }

    fn stamp(&self, raw: f64, random: &mut Random) -> RawStamp {
        let mut at = raw;
        if self.noise.0 > 0.0 {
            let room = (self.error.0 - self.tick.0).max(0.0);
            at += (self.noise.0 * random.gaussian()).clamp(-room, room);
        }
        let tick = self.tick.0.max(1.0);
        RawStamp {
            at: RawTime::from_nanos(((at / tick).round() * tick).round() as i64),
            error: Span::from_nanos_f64(self.error.0),
            source: self.source,
        }
    }

    /// One standard deviation of the noise of a stamp that is not delay, ns.
    pub fn sigma(&self) -> f64 {
        self.noise.0.hypot(self.tick.0.max(1.0) / 12f64.sqrt())
    }
}

fn random_late(mean: Nanos, random: &mut Random) -> f64 {
    if mean.0 > 0.0 {
        random.exponential(mean.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rounds_and_no_more() {
        let mut random = Random::new(1, 0);
        let stamp = StampModel::default().arrival(1_234.6, &mut random);
        assert_eq!(stamp.at.as_nanos(), 1_235);
        assert_eq!(stamp.error, Span::from_nanos(30));
    }

    #[test]
    fn claims_are_true_and_lateness_is_on_the_right_side() {
        let model = StampModel {
            error: Nanos(40.0),
            noise: Nanos(10.0),
            tick: Nanos(8.0),
            ..StampModel::default()
        };
        let late = StampModel {
            late: Nanos(5_000.0),
            ..StampModel::default()
        };
        let mut random = Random::new(1, 0);
        let (mut squares, mut sum) = (0.0, 0.0);
        for k in 0..50_000 {
            let raw = 1e9 + f64::from(k) * 1.37;
            let off = model.arrival(raw, &mut random).at.as_nanos() as f64 - raw;
            assert!(off.abs() <= 40.0, "{off}");
            squares += off * off;
            let sent = late.departure(raw, &mut random).at.as_nanos() as f64 - raw;
            let came = late.arrival(raw, &mut random).at.as_nanos() as f64 - raw;
            assert!(sent <= 0.5 && came >= -0.5);
            sum += came - sent;
        }
        let rms = (squares / 50_000.0).sqrt();
        assert!((rms / model.sigma() - 1.0).abs() < 0.03, "{rms}");
        assert!((sum / 50_000.0 / 10_000.0 - 1.0).abs() < 0.03);
    }
}

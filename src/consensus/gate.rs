//! Which neighbours to believe: those within reach of the median, in time and in frequency.

use super::stats::Sample;
use super::{Reading, Verdict};

/// Distance from the median, in robust standard deviations, that is still believed.
const GATE: f64 = 4.0;

/// Clocks closer than this, ns, are never called false: a handful may agree by chance.
const FLOOR: f64 = 50.0;

/// Frequencies closer than this are never called wrong: honest estimates of a young link differ
/// by as much.
const RATE_FLOOR: f64 = 50e-9;

/// Judge every reading against the median of all, our own clock included.
///
/// The median and the median absolute deviation stay put while fewer than half of the values lie.
/// With fewer than four clocks nobody can be outvoted (Dolev: n > 3f), so nobody is.
///
/// `verdicts` gets one entry for each of `readings`.
pub fn judge(readings: &[Reading], verdicts: &mut [Verdict]) {
    let ready = || readings.iter().filter(|r| r.ready);
    let mut offsets: Sample = std::iter::once(0.0)
        .chain(ready().map(|r| r.offset))
        .collect();
    let mut rates: Sample = std::iter::once(0.0)
        .chain(ready().map(|r| r.rate))
        .collect();
    let outvote = offsets.len() >= 4;
    let centre = offsets.lower_median().unwrap_or(0.0);
    let spread = offsets.spread(centre);
    let rate_centre = rates.lower_median().unwrap_or(0.0);
    let rate_spread = rates.spread(rate_centre);
    for (reading, verdict) in readings.iter().zip(verdicts) {
        let reach = (GATE * spread).max(GATE * reading.sigma).max(FLOOR);
        let rate_reach = (GATE * rate_spread)
            .max(GATE * reading.rate_sigma)
            .max(RATE_FLOOR);
        *verdict = if !reading.ready {
            Verdict::NotReady
        } else if outvote && (reading.offset - centre).abs() > reach {
            Verdict::Falseticker
        } else if outvote && (reading.rate - rate_centre).abs() > rate_reach {
            Verdict::WrongRate
        } else {
            Verdict::Used
        };
    }
}

/// Believe every reading of a clock that says it is synchronized, for strategies with a rule of
/// their own against liars.
///
/// `verdicts` gets one entry for each of `readings`.
pub fn admit(readings: &[Reading], verdicts: &mut [Verdict]) {
    for (reading, verdict) in readings.iter().zip(verdicts) {
        *verdict = if reading.ready {
            Verdict::Used
        } else {
            Verdict::NotReady
        };
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::Tier;

    /// A ready reading with a sigma of 20 ns and a half width of 1 µs.
    pub(in crate::consensus) fn reading(offset: f64) -> Reading {
        Reading {
            offset,
            sigma: 20.0,
            lower: offset - 1_000.0,
            upper: offset + 1_000.0,
            rate: 0.0,
            rate_sigma: 1e-9,
            raw_rate: 0.0,
            ready: true,
            key: 0,
            tier: Tier::NONE,
        }
    }

    fn verdicts(readings: &[Reading]) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::NotReady; readings.len()];
        judge(readings, &mut verdicts);
        verdicts
    }

    #[test]
    fn liars_in_time_and_frequency_are_named() {
        let mut readings = [10.0, -20.0, 5.0, 1e7, 0.0, 30.0].map(reading);
        readings[4].rate = 200e-6;
        readings[5].ready = false;
        assert_eq!(
            verdicts(&readings),
            [
                Verdict::Used,
                Verdict::Used,
                Verdict::Used,
                Verdict::Falseticker,
                Verdict::WrongRate,
                Verdict::NotReady
            ]
        );
    }

    #[test]
    fn three_clocks_outvote_nobody() {
        assert_eq!(
            verdicts(&[0.0, 1e9].map(reading)),
            [Verdict::Used, Verdict::Used]
        );
    }

    #[test]
    fn a_wide_start_rejects_no_honest_clock() {
        let readings = [-4e8, -3e8, -1e8, 0.5e8, 2e8, 3e8, 4.5e8].map(reading);
        assert!(verdicts(&readings).iter().all(|v| *v == Verdict::Used));
    }
}

//! What every estimator has to do, each run over the same links.

use proptest::prelude::*;

use super::testing::{Noise, Path, Random, Score, exchange};
use super::{AnyEstimator, EstimatorKind};
use crate::link::{Direction, Interval, LinkEstimator, OscillatorSpec};

/// An hour with one exchange a second, or two in a burst every other second.
fn path(noise: Noise, burst: u32, wander: f64, seed: u64) -> Path {
    Path {
        noise,
        wander: 2f64.sqrt() * wander,
        burst,
        period: f64::from(burst),
        seconds: 3_600,
        seed,
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for kind in EstimatorKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let error = "ntp".parse::<EstimatorKind>().unwrap_err().to_string();
    assert!(error.contains("arvind, packet-interval"), "{error}");
}

#[test]
fn sigmas_are_honest() {
    // Oscillators that wander as the specification lets expect (TYPICAL_WANDER of 1e-8).
    for kind in EstimatorKind::ALL {
        for noise in [Noise::Exponential, Noise::Gaussian] {
            for burst in [1, 2] {
                let mut mean = Score::default();
                for seed in 1..=2 {
                    let score = path(noise, burst, 3e-9, seed).score::<AnyEstimator>(kind);
                    mean.covered += 0.5 * score.covered;
                    mean.rate_covered += 0.5 * score.rate_covered;
                    assert_eq!(score.violated, 0.0, "{kind} {noise:?}");
                }
                for covered in [mean.covered, mean.rate_covered] {
                    let honest = (0.85..=0.999).contains(&covered);
                    assert!(honest, "{kind} {noise:?} {burst}: {mean:?}");
                }
            }
        }
    }
}

/// Limits of the root mean square error, ns, in the order of [`EstimatorKind::ALL`] and of
/// [`Noise::ALL`]; with `--nocapture` the test prints what is measured, which `docs/algorithms.md`
/// quotes.
const LIMITS: [[f64; 6]; 8] = [
    [180.0, 390.0, 90.0, 2_400.0, 1_300.0, 1_350.0],
    [145.0, 250.0, 85.0, 2_100.0, 1_250.0, 1_850.0],
    [100.0, 720.0, 40.0, 2_100.0, 1_200.0, 280.0],
    [250.0, 250.0, 350.0, 2_100.0, 1_350.0, 5_300.0],
    [280.0, 370.0, 120.0, 2_100.0, 1_300.0, 3_200.0],
    [125.0, 340.0, 50.0, 2_100.0, 1_250.0, 600.0],
    [125.0, 280.0, 55.0, 1_950.0, 1_250.0, 390.0],
    [95.0, 245.0, 40.0, 2_050.0, 1_300.0, 110.0],
];

#[test]
fn errors_stay_below_what_was_measured() {
    println!("rms error in ns: {:?}", Noise::ALL);
    for (kind, limits) in EstimatorKind::ALL.into_iter().zip(LIMITS) {
        let rms = Noise::ALL.map(|noise| {
            let scores = (1..=3).map(|seed| {
                let path = path(noise, 1, 1e-9, seed);
                path.score::<AnyEstimator>(kind).rms.powi(2)
            });
            (scores.sum::<f64>() / 3.0).sqrt()
        });
        println!("{kind:<16} {rms:6.0?}");
        for (rms, limit) in rms.iter().zip(limits) {
            assert!(*rms < limit, "{kind}: {rms} of {limit}");
        }
    }
}

/// What goes into an estimator: the pause before an exchange, its two delays.
type Step = (f64, f64, f64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Exchanges may complete slightly out of order.
    prop::collection::vec((-0.01..3.0f64, 0.0..1e5f64, 0.0..1e5f64), 1..150)
}

/// Feeds exchanges over a line of 20 ppm, from `at` on, all offsets `shift` larger.
fn feed(kind: EstimatorKind, steps: &[Step], mut at: f64, shift: f64) -> (AnyEstimator, f64) {
    let mut estimator = AnyEstimator::new(kind, &OscillatorSpec::default());
    let start = at;
    for (gap, out, back) in steps {
        at += gap;
        let later = at + 1e-4;
        let offset = |at: f64| shift + 2e4 * (at - start);
        let (above, below) = (offset(at) + out, offset(later) - back);
        for (forward, at, offset) in [(true, at, above), (false, later, below)] {
            estimator.direction(&Direction {
                forward,
                at,
                offset,
                error: 20.0,
            });
        }
        let (middle, half_delay) = (0.5 * (above + below), 0.5 * (above - below));
        estimator.update(&exchange(0.5 * (at + later), middle, half_delay));
    }
    (estimator, at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_leaves_the_finite(
        samples in prop::collection::vec(
            (-1.0..10.0f64, -1e12..1e12f64, -1e9..1e12f64, 0.0..1e9f64), 1..120),
    ) {
        for kind in EstimatorKind::ALL {
            let mut estimator = AnyEstimator::new(kind, &OscillatorSpec::default());
            prop_assert!(estimator.at(0.0).is_none());
            let mut at = 0.0;
            for (gap, offset, half_delay, error) in &samples {
                at += gap;
                for (forward, sign) in [(true, 1.0), (false, -1.0)] {
                    let offset = offset + sign * half_delay;
                    estimator.direction(&Direction { forward, at, offset, error: *error });
                }
                estimator.update(&exchange(at, *offset, *half_delay));
                let belief = estimator.at(at + 1.0).unwrap();
                let finite = [belief.offset, belief.rate, belief.offset_sigma, belief.rate_sigma];
                prop_assert!(finite.iter().all(|x| x.is_finite()), "{kind}: {belief:?}");
                prop_assert!(belief.offset_sigma >= 0.0 && belief.rate_sigma >= 0.0);
            }
        }
    }

    #[test]
    fn only_differences_of_offsets_and_times_matter(
        steps in steps(),
        later in -1e4..1e4f64,
        shift in -1e6..1e6f64,
    ) {
        for kind in EstimatorKind::ALL {
            let (plain, end) = feed(kind, &steps, 0.0, 0.0);
            let (moved, moved_end) = feed(kind, &steps, later, shift);
            let (a, b) = (plain.at(end + 1.0).unwrap(), moved.at(moved_end + 1.0).unwrap());
            let off = (a.offset + shift - b.offset).abs();
            // Times are rounded differently; what is a vertex or a support may be another.
            prop_assert!(off <= 1.0 + 0.02 * a.offset_sigma, "{kind}: {a:?} {b:?}");
        }
    }

    #[test]
    fn what_is_known_confines_what_is_believed(
        steps in steps(),
        centre in -1e7..1e7f64,
        width in 1.0..1e6f64,
    ) {
        for kind in EstimatorKind::ALL {
            let (mut estimator, at) = feed(kind, &steps, 0.0, 0.0);
            let interval = Interval {
                lower: centre - width,
                upper: centre + width,
                rate_lower: -1e-6,
                rate_upper: 1e-6,
            };
            estimator.confine(at, &interval);
            let belief = estimator.at(at).unwrap();
            prop_assert!(belief.offset >= interval.lower - 1e-3, "{kind}: {belief:?}");
            prop_assert!(belief.offset <= interval.upper + 1e-3, "{kind}: {belief:?}");
            prop_assert!(belief.rate.abs() <= 1e-6 + 1e-12, "{kind}: {belief:?}");
        }
    }
}

#[test]
fn late_packets_are_no_worse_than_lost_ones() {
    // Every tenth exchange comes after the one that follows it.
    for kind in EstimatorKind::ALL {
        let mut random = Random::new(3);
        let mut estimator = AnyEstimator::new(kind, &OscillatorSpec::default());
        let mut order: Vec<u32> = (0..600).collect();
        order
            .chunks_exact_mut(10)
            .for_each(|chunk| chunk.swap(8, 9));
        for k in order {
            let at = f64::from(k) * 0.2;
            let (out, back) = (random.exponential(1e3), random.exponential(1e3));
            for (forward, offset) in [(true, 5_000.0 + out), (false, -5_000.0 - back)] {
                estimator.direction(&Direction {
                    forward,
                    at,
                    offset,
                    error: 20.0,
                });
            }
            estimator.update(&exchange(
                at,
                0.5 * (out - back),
                5_000.0 + 0.5 * (out + back),
            ));
        }
        let belief = estimator.at(120.0).unwrap();
        assert!(
            belief.offset.abs() < 4.0 * belief.offset_sigma,
            "{kind}: {belief:?}"
        );
        assert!(belief.offset.abs() < 500.0, "{kind}: {belief:?}");
    }
}

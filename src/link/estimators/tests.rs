//! What every estimator has to do, each run over the same links.

use proptest::prelude::*;

use super::testing::{Noise, Path, Score, exchange};
use super::{AnyEstimator, EstimatorKind};
use crate::link::{Direction, Interval, LinkEstimator, OscillatorSpec};

fn path(noise: Noise, burst: u32, seed: u64) -> Path {
    Path {
        noise,
        wander: 2f64.sqrt() * 1e-9,
        burst,
        period: f64::from(burst),
        seconds: 4_000,
        seed,
    }
}

fn score(kind: EstimatorKind, noise: Noise, burst: u32) -> Score {
    path(noise, burst, 1).score::<AnyEstimator>(kind)
}

#[test]
fn names_are_read_as_they_are_written() {
    for kind in EstimatorKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let error = "ntp".parse::<EstimatorKind>().unwrap_err().to_string();
    assert!(
        error.contains("«ntp»") && error.contains("packet-interval"),
        "{error}"
    );
}

#[test]
fn sigmas_are_honest() {
    // Oscillators that wander as the specification lets expect.
    for kind in EstimatorKind::ALL {
        for noise in [Noise::Exponential, Noise::Gaussian] {
            for burst in [1, 2] {
                let path = Path {
                    wander: 2f64.sqrt() * 3e-9,
                    ..path(noise, burst, 2)
                };
                let s = path.score::<AnyEstimator>(kind);
                println!(
                    "cov {kind:<16} {noise:?} {burst} {:.0} {:.3} {:.1e} {:.3}",
                    s.rms, s.covered, s.rate_rms, s.rate_covered
                );
            }
        }
    }
}

#[test]
fn every_estimator_on_every_kind_of_noise() {
    for burst in [1, 2] {
        println!(
            "{burst} exchange(s) every {burst} s; rms error, ns (share within 2 sigma of offset, rate)"
        );
        for kind in EstimatorKind::ALL {
            print!("{kind:<16}");
            for noise in Noise::ALL {
                let s = score(kind, noise, burst);
                print!(
                    " | {:6.0} ({:5.1} % {:5.1} %)",
                    s.rms,
                    100.0 * s.covered,
                    100.0 * s.rate_covered
                );
            }
            println!();
        }
    }
}

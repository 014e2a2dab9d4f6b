//! How stable a clock is over averaging times: Allan and time deviation, maximum time interval error.
//!
//! W. J. Riley, *Handbook of Frequency Stability Analysis*, NIST Special Publication 1065, 2008, for
//! ADEV, MDEV and TDEV; ITU-T G.810 for MTIE. With `x` the time error at even spacing τ₀, N values of
//! it, and τ = mτ₀:
//!
//! - overlapping ADEV² = Σ (xᵢ₊₂ₘ − 2xᵢ₊ₘ + xᵢ)² / (2τ²(N − 2m))
//! - MDEV² = Σⱼ [Σᵢ₌ⱼ..ⱼ₊ₘ₋₁ (xᵢ₊₂ₘ − 2xᵢ₊ₘ + xᵢ)]² / (2m²τ²(N − 3m + 1))
//! - TDEV = τ MDEV / √3
//! - MTIE = the greatest difference between two values not more than τ apart
//!
//! Each is found in one pass over the values. The crates there are (`allan` 0.4, `allan-tools` 0.1,
//! `flickers` 0.1) have no MTIE, `allan`'s MDEV takes m steps for each value, and the other two are
//! not kept.

use std::collections::VecDeque;

/// Gaps that differ from the spacing by more than this share of it are uneven.
const UNEVEN: f64 = 0.01;

/// A gap of this many spacings interrupts a series: what is between is not known.
const INTERRUPTED: f64 = 3.0;

/// Averages over fewer independent stretches than this say little: τ ends at N / 4.
const STRETCHES: usize = 4;

/// Why a series has no stability.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StabilityError {
    /// There are too few values in a row.
    #[error("only {found} samples without a gap; stability needs {STRETCHES} or more")]
    TooFew {
        /// How many there are.
        found: usize,
    },
    /// Most samples are of the same instant as the one before.
    #[error("most samples have the time of the one before")]
    NoSpacing,
}

/// Time errors at even spacing.
#[derive(Debug, Clone, PartialEq)]
pub struct Even {
    /// τ₀, s.
    pub spacing_s: f64,
    /// The time error at each step, ns.
    pub values_ns: Vec<f64>,
    /// The samples were not evenly spaced: values are interpolated between them, which hides some
    /// of the noise at the shortest τ.
    pub interpolated: bool,
    /// Samples before and after the longest stretch without a gap; they are not among the values.
    pub left_out: usize,
}

impl Even {
    /// From samples of time, s, and time error, ns, in the order of time.
    ///
    /// The spacing is the median gap. A gap of more than three spacings is not bridged: the
    /// longest stretch without one is taken. If the gaps in it differ by more than a percent, its
    /// samples are interpolated linearly.
    ///
    /// # Errors
    /// Too few samples, or no time between them.
    pub fn new(samples: &[(f64, f64)]) -> Result<Self, StabilityError> {
        let mut gaps: Vec<f64> = samples.windows(2).map(|w| w[1].0 - w[0].0).collect();
        super::sort(&mut gaps);
        let spacing_s = super::quantile(&gaps, 0.5).unwrap_or(0.0);
        let stretch = samples
            .chunk_by(|a, b| b.0 - a.0 <= INTERRUPTED * spacing_s)
            .max_by_key(|stretch| stretch.len())
            .unwrap_or_default();
        if stretch.len() < STRETCHES {
            return Err(StabilityError::TooFew {
                found: stretch.len(),
            });
        }
        if spacing_s <= 0.0 {
            return Err(StabilityError::NoSpacing);
        }
        let uneven = |w: &[(f64, f64)]| (w[1].0 - w[0].0 - spacing_s).abs() > UNEVEN * spacing_s;
        let interpolated = stretch.windows(2).any(uneven);
        let values_ns = if interpolated {
            interpolate(stretch, spacing_s)
        } else {
            stretch.iter().map(|sample| sample.1).collect()
        };
        Ok(Self {
            spacing_s,
            values_ns,
            interpolated,
            left_out: samples.len() - stretch.len(),
        })
    }
}

/// The values at every `spacing` from the first sample to the last.
fn interpolate(samples: &[(f64, f64)], spacing: f64) -> Vec<f64> {
    let (start, end) = (samples[0].0, samples[samples.len() - 1].0);
    let steps = ((end - start) / spacing * (1.0 + 1e-12)) as usize;
    let mut at = 0;
    (0..=steps)
        .map(|step| {
            let time = start + step as f64 * spacing;
            while at + 2 < samples.len() && samples[at + 1].0 < time {
                at += 1;
            }
            let ((t0, x0), (t1, x1)) = (samples[at], samples[at + 1]);
            let share = if t1 > t0 {
                (time - t0) / (t1 - t0)
            } else {
                1.0
            };
            x0 + share.clamp(0.0, 1.0) * (x1 - x0)
        })
        .collect()
}

/// The stability at one averaging time.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Stability {
    /// The averaging time τ, s.
    pub tau_s: f64,
    /// Overlapping Allan deviation of the frequency, a plain number.
    pub adev: Option<f64>,
    /// Time deviation, ns.
    pub tdev_ns: Option<f64>,
    /// Maximum time interval error, ns.
    pub mtie_ns: Option<f64>,
}

/// The stability at τ₀, 2τ₀, 4τ₀, …; the deviations up to a quarter of the whole, beyond which
/// their uncertainty exceeds them.
pub fn stability(even: &Even) -> Vec<Stability> {
    let (x, n) = (&even.values_ns[..], even.values_ns.len());
    std::iter::successors(Some(1), |m| Some(2 * m))
        .take_while(|&m| m < n)
        .map(|m| {
            let tau_s = m as f64 * even.spacing_s;
            let enough = STRETCHES * m <= n;
            Stability {
                tau_s,
                adev: adev(x, m, even.spacing_s)
                    .filter(|_| enough)
                    .map(|ns| ns * 1e-9),
                tdev_ns: tdev(x, m).filter(|_| enough),
                mtie_ns: mtie(x, m),
            }
        })
        .collect()
}

/// Overlapping Allan deviation at τ = mτ₀ of the time errors `x` at spacing `tau0`, in the unit of
/// `x` over that of `tau0`. None if there are not more than 2m values.
pub fn adev(x: &[f64], m: usize, tau0: f64) -> Option<f64> {
    let terms = x.len().checked_sub(2 * m).filter(|&n| n > 0 && m > 0)?;
    let sum: f64 = second_differences(x, m).map(|d| d * d).sum();
    Some((sum / (2.0 * terms as f64)).sqrt() / (m as f64 * tau0))
}

/// Modified Allan deviation, as [`adev`]. None if there are fewer than 3m values.
pub fn mdev(x: &[f64], m: usize, tau0: f64) -> Option<f64> {
    let terms = (x.len() + 1)
        .checked_sub(3 * m)
        .filter(|&n| n > 0 && m > 0)?;
    // The inner sum slides along: one difference enters, one leaves.
    let mut inner: f64 = second_differences(x, m).take(m).sum();
    let mut sum = inner * inner;
    let entering = second_differences(x, m).skip(m);
    for (enters, leaves) in entering.zip(second_differences(x, m)) {
        inner += enters - leaves;
        sum += inner * inner;
    }
    let m = m as f64;
    Some((sum / (2.0 * terms as f64)).sqrt() / (m * m * tau0))
}

/// Time deviation at τ = mτ₀ in the unit of `x`. None if there are fewer than 3m values.
pub fn tdev(x: &[f64], m: usize) -> Option<f64> {
    Some(mdev(x, m, 1.0)? * m as f64 / 3_f64.sqrt())
}

/// Maximum time interval error at τ = mτ₀ in the unit of `x`. None if there are not more than m
/// values.
pub fn mtie(x: &[f64], m: usize) -> Option<f64> {
    if m == 0 || x.len() <= m {
        return None;
    }
    // Places in the window whose values fall, or rise, from front to back: the fronts are the
    // extremes, and every place enters and leaves once.
    let (mut falling, mut rising) = (VecDeque::new(), VecDeque::new());
    let mut most = 0.0_f64;
    for (place, &value) in x.iter().enumerate() {
        while falling.back().is_some_and(|&p: &usize| x[p] <= value) {
            falling.pop_back();
        }
        while rising.back().is_some_and(|&p: &usize| x[p] >= value) {
            rising.pop_back();
        }
        falling.push_back(place);
        rising.push_back(place);
        for places in [&mut falling, &mut rising] {
            while places.front().is_some_and(|&p| p + m < place) {
                places.pop_front();
            }
        }
        most = most.max(x[falling[0]] - x[rising[0]]);
    }
    Some(most)
}

fn second_differences(x: &[f64], m: usize) -> impl Iterator<Item = f64> {
    let ends = x.iter().skip(2 * m);
    let pairs = ends.zip(x.iter().skip(m)).zip(x);
    pairs.map(|((end, middle), start)| end - 2.0 * middle + start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Phase of fractional frequencies at τ₀ = 1.
    fn phase(frequencies: &[f64]) -> Vec<f64> {
        let mut sum = 0.0;
        let steps = frequencies.iter().map(|y| {
            sum += y;
            sum
        });
        std::iter::once(0.0).chain(steps).collect()
    }

    /// The 1000-point set of NIST SP 1065, 12.4: a multiplicative congruential generator.
    fn nist() -> Vec<f64> {
        let mut n = 1_234_567_890_u64;
        let frequencies: Vec<f64> = (0..1000)
            .map(|_| {
                let y = n as f64 / 2_147_483_647.0;
                n = 16_807 * n % 2_147_483_647;
                y
            })
            .collect();
        phase(&frequencies)
    }

    /// To all digits of the published figure.
    fn published(found: Option<f64>, figure: &str) {
        let digits = figure.split('e').next().unwrap().len() - 2;
        let found = found.unwrap();
        assert_eq!(format!("{found:.digits$e}"), figure);
    }

    #[test]
    fn nist_sp_1065_with_1000_points() {
        let x = nist();
        for (m, figures) in [
            (1, ["2.922319e-1", "2.922319e-1", "1.687202e-1"]),
            (10, ["9.159953e-2", "6.172376e-2", "3.563623e-1"]),
            (100, ["3.241343e-2", "2.170921e-2", "1.253382e0"]),
        ] {
            published(adev(&x, m, 1.0), figures[0]);
            published(mdev(&x, m, 1.0), figures[1]);
            published(tdev(&x, m), figures[2]);
        }
    }

    #[test]
    fn nbs_monograph_140_with_9_frequencies() {
        // The small set of NIST SP 1065, 12.4.
        let x = phase(&[
            892.0, 809.0, 823.0, 798.0, 671.0, 644.0, 883.0, 903.0, 677.0,
        ]);
        for (m, figures) in [
            (1, ["9.122945e1", "9.122945e1", "5.267135e1"]),
            (2, ["8.595287e1", "7.478849e1", "8.635831e1"]),
        ] {
            published(adev(&x, m, 1.0), figures[0]);
            published(mdev(&x, m, 1.0), figures[1]);
            published(tdev(&x, m), figures[2]);
        }
    }

    #[test]
    fn neither_offset_nor_rate_of_a_clock_is_instability() {
        let noisy = nist();
        let moved: Vec<f64> = (0..)
            .zip(&noisy)
            .map(|(i, x)| x + 1e9 - 40.0 * f64::from(i))
            .collect();
        for m in [1, 8, 64] {
            let (a, b) = (mdev(&noisy, m, 1.0).unwrap(), mdev(&moved, m, 1.0).unwrap());
            assert!((a / b - 1.0).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn mtie_by_hand_and_by_looking_at_every_window() {
        let x = [0.0, 3.0, 1.0, 2.0, 7.0, 6.0];
        let found: Vec<_> = (1..7).map(|m| mtie(&x, m)).collect();
        // 2 to 7; 1 to 7; then 3 and 1 to 7; 0 to 7 needs four steps.
        assert_eq!(
            found,
            [5.0, 6.0, 6.0, 7.0, 7.0]
                .map(Some)
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
        );
        let x = nist();
        let wander: Vec<f64> = (0..)
            .zip(&x)
            .map(|(i, x)| x - 0.49 * f64::from(i))
            .collect();
        for m in [1, 2, 7, 100, 999] {
            let windows = wander.windows(m + 1).map(|w| {
                let high = w.iter().copied().fold(f64::MIN, f64::max);
                high - w.iter().copied().fold(f64::MAX, f64::min)
            });
            assert_eq!(mtie(&wander, m), windows.max_by(f64::total_cmp));
        }
    }

    #[test]
    fn too_few_values_have_no_deviation() {
        let x = [0.0; 6];
        assert_eq!((adev(&x, 2, 1.0), adev(&x, 3, 1.0)), (Some(0.0), None));
        assert_eq!((mdev(&x, 2, 1.0), mdev(&x, 3, 1.0)), (Some(0.0), None));
        assert_eq!(
            (adev(&x, 0, 1.0), mdev(&x, 0, 1.0), mtie(&x, 0)),
            (None, None, None)
        );
        assert_eq!(
            (adev(&[], 1, 1.0), tdev(&[], 1), mtie(&[], 1)),
            (None, None, None)
        );
    }

    #[test]
    fn even_samples_are_taken_as_they_are() {
        let samples: Vec<_> = (0..100)
            .map(|i| (f64::from(i) * 0.25 + 1e-4, f64::from(i % 7)))
            .collect();
        let even = Even::new(&samples).unwrap();
        assert_eq!((even.interpolated, even.left_out), (false, 0));
        assert!((even.spacing_s - 0.25).abs() < 1e-9);
        assert_eq!(even.values_ns.len(), 100);
        let rows = stability(&even);
        let taus: Vec<f64> = rows.iter().map(|row| (row.tau_s / 0.25).round()).collect();
        assert_eq!(taus, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        assert!(rows[4].adev.is_some() && rows[5].adev.is_none() && rows[6].mtie_ns.is_some());
        // A nanosecond over a second is 1e-9.
        let expected = adev(&even.values_ns, 1, 0.25).unwrap() * 1e-9;
        assert_eq!(rows[0].adev, Some(expected));
    }

    #[test]
    fn uneven_samples_are_interpolated_and_that_is_said() {
        // A straight line sampled unevenly is a straight line.
        let times = [0.0, 1.0, 2.1, 3.0, 4.0, 6.0, 7.0, 8.0];
        let samples = times.map(|t| (t, 10.0 * t + 5.0));
        let even = Even::new(&samples).unwrap();
        assert!(even.interpolated);
        assert_eq!(even.spacing_s, 1.0);
        let expected: Vec<f64> = (0..=8).map(|t| 10.0 * f64::from(t) + 5.0).collect();
        assert_eq!(even.values_ns.len(), expected.len());
        for (found, expected) in even.values_ns.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn a_gap_is_not_bridged() {
        let first = (0..10).map(|i| (f64::from(i), 0.0));
        let second = (0..20).map(|i| (f64::from(i) + 50.0, 1.0));
        let samples: Vec<_> = first.chain(second).collect();
        let even = Even::new(&samples).unwrap();
        assert_eq!((even.values_ns.len(), even.left_out), (20, 10));
        assert!(even.values_ns.iter().all(|&x| x == 1.0));
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let few = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)];
        assert_eq!(Even::new(&few), Err(StabilityError::TooFew { found: 3 }));
        assert_eq!(Even::new(&[]), Err(StabilityError::TooFew { found: 0 }));
        let still = [(1.0, 1.0); 5];
        assert_eq!(Even::new(&still), Err(StabilityError::NoSpacing));
    }
}

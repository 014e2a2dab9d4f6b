//! A Gaussian that is cut off at a limit: what a packet that waited makes of a belief.

use super::elementary::exp;

/// 1/√(2π).
const NORM: f64 = 0.398_942_280_401_432_7;

/// Limits further below than this many sigma leave what an asymptotic series tells; those as far
/// above cut nothing off.
const FLANK: f64 = 20.0;

/// Standard Gaussians, each cut off above a limit of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut<const N: usize> {
    /// How far the mean is below zero: φ(limit)/Φ(limit).
    pub(super) shift: [f64; N],
    /// What it loses of its variance of one.
    pub(super) loss: [f64; N],
    /// The part below the limit, Φ(limit); if the limit is below zero, divided by
    /// `exp(−limit²/2)`, which tends to 0 far sooner.
    pub(super) mass: [f64; N],
}

/// Standard Gaussians cut off above `limits`.
#[inline]
pub(super) fn below<const N: usize>(limits: &[f64; N]) -> Cut<N> {
    let near = limits.map(|limit| limit.clamp(-FLANK, FLANK));
    let densities = exp(near.map(|limit| -0.5 * limit * limit));
    let mut cut = Cut {
        shift: [0.0; N],
        loss: [0.0; N],
        mass: [0.0; N],
    };
    for k in 0..N {
        let limit = near[k];
        let (above, under) = mills(limit.abs());
        let density = NORM * densities[k];
        let left = under - density * above;
        let is_low = limit < 0.0;
        let shift = if is_low {
            (under, above)
        } else {
            (density * under, left)
        };
        let mass = if is_low { NORM * above } else { left };
        cut.shift[k] = shift.0 / shift.1;
        cut.mass[k] = mass / under;
        cut.loss[k] = cut.shift[k] * (limit + cut.shift[k]);
    }
    for (k, limit) in limits.iter().enumerate() {
        if *limit < -FLANK {
            (cut.shift[k], cut.loss[k], cut.mass[k]) = far_below(-limit);
        }
    }
    cut
}

/// Cut off at `−x` for an `x` of many sigma. The shift is
/// `x + 1/x − 2/x³ + 10/x⁵ − 74/x⁷ …`, and what is left of the variance one minus its derivative.
fn far_below(x: f64) -> (f64, f64, f64) {
    let square = 1.0 / (x * x);
    let shift = x + (1.0 - square * (2.0 - square * (10.0 - 74.0 * square))) / x;
    let left = square * (1.0 - square * (6.0 - square * (50.0 - 518.0 * square)));
    (shift, 1.0 - left, NORM / shift)
}

/// The Mills ratio `(1 − Φ(x))/φ(x)` for x from 0 to [`FLANK`], as a fraction, to 4e-12 of itself: a
/// rational function that agrees with it at the Chebyshev nodes of `(x − 3.5)/(x + 3.5)`.
#[inline]
fn mills(x: f64) -> (f64, f64) {
    const ABOVE: [f64; 8] = [
        1.253_314_137_317_659_8,
        1.458_950_991_543_321,
        0.831_864_276_491_265_9,
        0.285_650_485_718_635_45,
        0.061_722_522_725_207_04,
        0.007_984_775_553_960_714,
        0.000_492_759_184_735_055_2,
        0.0,
    ];
    const UNDER: [f64; 8] = [
        1.0,
        1.961_959_032_146_691_5,
        1.729_148_479_002_608_2,
        0.892_559_027_152_080_2,
        0.293_637_735_783_563_9,
        0.062_215_184_776_390_65,
        0.007_984_777_821_600_26,
        0.000_492_759_161_138_439_2,
    ];
    (polynomial(&ABOVE, x), polynomial(&UNDER, x))
}

/// By halves (G. Estrin 1960), which processors do at the same time.
#[inline]
fn polynomial(c: &[f64; 8], x: f64) -> f64 {
    let square = x * x;
    let low = c[0] + c[1] * x + (c[2] + c[3] * x) * square;
    let high = c[4] + c[5] * x + (c[6] + c[7] * x) * square;
    low + high * (square * square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{SQRT_2, TAU};

    /// Mean and variance of a standard Gaussian below `limit`, by Simpson's rule.
    fn summed(limit: f64) -> (f64, f64) {
        // Below a limit far down, all that counts is near it.
        let reach = if limit < -3.0 {
            40.0 / -limit
        } else {
            12.0 + limit
        };
        let steps = 20_000;
        let step = reach / f64::from(steps);
        let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
        for k in 0..=steps {
            let down = f64::from(k) * step;
            let simpson = match k {
                0 => 1.0,
                k if k == steps => 1.0,
                k if k % 2 == 1 => 4.0,
                _ => 2.0,
            };
            // Relative to the density at the limit.
            let weight = simpson * (down * (limit - 0.5 * down)).exp();
            mass += weight;
            first += weight * down;
            second += weight * down * down;
        }
        let mean = first / mass;
        (limit - mean, second / mass - mean * mean)
    }

    #[test]
    fn a_cut_gaussian_has_the_moments_of_its_integral() {
        for limit in [
            -1e3, -100.0, -30.0, -20.1, -19.9, -12.0, -6.5, -5.5, -1.0, -1e-9, 0.0, 1.0, 3.0, 8.4,
            8.6,
        ] {
            let (cut, (mean, variance)) = (below(&[limit]), summed(limit));
            let ([shift], [loss]) = (cut.shift, cut.loss);
            assert!(
                (shift + mean).abs() < 1e-9 * mean.abs().max(1.0),
                "{limit}: {cut:?} {mean}"
            );
            let left = 1.0 - loss;
            assert!(
                (left / variance - 1.0).abs() < 2e-6,
                "{limit}: {left} {variance}"
            );
        }
    }

    #[test]
    fn the_mills_ratio_is_that_of_the_error_function() {
        for k in 0..=2_000 {
            let x = f64::from(k) * 0.01;
            let share = 0.5 * libm::erfc(x / SQRT_2);
            let ratio = share * (0.5 * x * x).exp() * TAU.sqrt();
            let (above, under) = mills(x);
            assert!((above / under / ratio - 1.0).abs() < 1e-11, "{x}: {ratio}");
        }
    }

    #[test]
    fn masses_agree_with_tables() {
        for (x, share) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457),
            (3.0, 1.349_898_031_630_09e-3),
            (5.0, 2.866_515_718_791_94e-7),
        ] {
            let [low, high] = below(&[-x, x]).mass;
            let low = low * (-0.5 * x * x).exp();
            assert!((low / share - 1.0).abs() < 1e-10, "{x}: {low}");
            assert!((high - (1.0 - share)).abs() < 1e-11, "{x}: {high}");
        }
    }

    #[test]
    fn nothing_jumps_where_the_formulas_meet() {
        for limit in [-FLANK, 0.0, FLANK] {
            let cut = below(&[limit - 1e-9, limit + 1e-9]);
            for [a, b] in [cut.shift, cut.loss, cut.mass] {
                assert!((a - b).abs() < 1e-8, "{limit}: {cut:?}");
            }
        }
    }
}

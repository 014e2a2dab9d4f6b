//! Moments of truncated Gaussians.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::erfc;

/// Beyond as many sigma the distribution function is close to the smallest number there is.
const FAR: f64 = 30.0;

/// Mean and variance of a Gaussian with this mean and variance, cut off above `limit`.
///
/// With β = (limit − mean)/σ and r = φ(β)/Φ(β) they are mean − σr and σ²(1 − βr − r²) (Johnson,
/// Kotz, Balakrishnan, *Continuous Univariate Distributions* 1, 13.10).
pub fn below(limit: f64, mean: f64, variance: f64) -> (f64, f64) {
    let sigma = variance.sqrt();
    let beta = (limit - mean) / sigma;
    let (ratio, share) = if beta < -FAR {
        // Nearly an exponential distribution with the mean 1/|β|: the asymptotic series.
        let far = -beta;
        let square = far * far;
        (
            far + (1.0 - 2.0 / square) / far,
            (1.0 - 6.0 / square) / square,
        )
    } else {
        let density = (-0.5 * beta * beta).exp() / (2.0 * PI).sqrt();
        let ratio = density / (0.5 * erfc(-beta / SQRT_2));
        (ratio, 1.0 - ratio * (beta + ratio))
    };
    (mean - sigma * ratio, variance * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_gaussian() {
        // −√(2/π) and 1 − 2/π.
        let (mean, variance) = below(3.0, 3.0, 4.0);
        assert!((mean - (3.0 - 2.0 * (2.0 / PI).sqrt())).abs() < 1e-12);
        assert!((variance - 4.0 * (1.0 - 2.0 / PI)).abs() < 1e-12);
    }

    #[test]
    fn as_integrated_by_hand() {
        for beta in [-40.0, -29.0, -8.0, -2.0, 0.5, 4.0] {
            let (width, steps) = ((6.0 + 60.0 / (1.0 + f64::abs(beta))), 400_000);
            let step = width / f64::from(steps);
            let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
            for k in 0..steps {
                let below = step * (f64::from(k) + 0.5);
                let z = beta - below;
                // Relative to the density at the limit, which is too small a number.
                let density = (-0.5 * (z * z - beta * beta)).exp();
                sum += density;
                first += density * below;
                second += density * below * below;
            }
            let (first, second) = (first / sum, second / sum);
            let (mean, variance) = below(beta, 0.0, 1.0);
            let expected = second - first * first;
            assert!((mean - (beta - first)).abs() < 1e-5, "{beta}");
            assert!((variance / expected - 1.0).abs() < 1e-3, "{beta}");
        }
    }

    #[test]
    fn a_limit_far_above_says_nothing() {
        assert_eq!(below(50.0, 1.0, 1.0), (1.0, 1.0));
    }
}

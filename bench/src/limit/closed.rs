//! Gaussian limits in closed form.
//!
//! If exchanges are much more frequent than the filter's memory, measurement is continuous: the
//! information about the differences of the clocks comes in as L/r a second, where L is the
//! Laplacian of the graph weighted with exchanges a second and r the variance of one exchange's
//! offset. All clocks are alike, so the covariance has the same eigenvectors as L, and each is a
//! two-state filter of its own with the noise density R = r/λ. Of the Riccati equation
//!
//! ```text
//! 0 = 2 p₁₂ + a − p₁₁²/R,   0 = p₂₂ − p₁₁ p₁₂/R,   0 = w² − p₁₂²/R
//! ```
//!
//! with wander w and white frequency noise of density a the solution is p₁₂ = w√R and
//! p₁₁ = √(R (a + 2w√R)). Without white noise that is √2 · w^(1/2) · R^(3/4).

use super::problem::Problem;

/// Variance of the phase in one eigenvector whose noise has the density `noise`, ns²/Hz.
fn mode(problem: &Problem, noise: f64) -> f64 {
    let white = problem.white_ns().powi(2);
    (noise * (white + 2.0 * problem.wander_ns() * noise.sqrt())).sqrt()
}

/// The root mean square that is possible where every pair exchanges equally often, ns, if only the
/// variance of the noise is used.
///
/// The Laplacian of such a network has the eigenvalue n·c (n − 1 times), where c is the exchanges a
/// second of each pair, and zero for the mean of all clocks, which does not count.
pub fn mesh(problem: &Problem) -> f64 {
    let n = problem.hosts as f64;
    let each = problem.exchanges() / problem.pairs.len() as f64;
    let variance = (problem.noise.sigma().powi(2) + problem.stamp_variance()) / 2.0;
    (mode(problem, variance / (n * each)) * (n - 1.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::filter::{Update, run};
    use super::super::problem::{Noise, Pair};
    use super::*;
    use crate::units::{Fraction, Nanos};

    #[test]
    fn eight_hosts_by_hand() {
        // 0.25 exchanges a second each with 1 µs: R = 5e5/2 ns²/Hz, p = √2·R^¾ = 15 811 ns²,
        // √(7/8·p) = 117.6 ns.
        let noise = Noise::Gaussian(Nanos(1000.0));
        let problem = Problem::mesh(8, 7.0, noise, Fraction(1e-9));
        assert!((mesh(&problem) - 117.6).abs() < 0.1, "{}", mesh(&problem));
    }

    #[test]
    fn a_star_has_its_own_modes() {
        // The Laplacian of a star with four arms of c = 5/s: c three times, 5c once.
        let noise = Noise::Gaussian(Nanos(1000.0));
        let star = Problem {
            pairs: (1..5)
                .map(|leaf| Pair {
                    hosts: (0, leaf),
                    exchanges: 5.0,
                })
                .collect(),
            ..Problem::mesh(5, 1.0, noise, Fraction(1e-9))
        };
        let density = 5e5 / 5.0;
        let sum = 3.0 * mode(&star, density) + mode(&star, density / 5.0);
        let reached = run(&star, Update::Variance, 1);
        let share = reached.claimed_ns / (sum / 5.0).sqrt();
        assert!((share - 1.0).abs() < 0.01, "{share}");
    }
}

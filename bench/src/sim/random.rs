//! Random numbers of the simulator: the same for a seed, on every machine.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, StandardNormal};
use rand_pcg::Pcg64Mcg;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random(Pcg64Mcg);

impl Random {
    /// The stream `purpose` of `seed`. Different purposes are independent, so that a network whose
    /// nodes behave differently still has the same oscillators and paths.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(Pcg64Mcg::new(
            u128::from(mixed(seed)) << 64 | u128::from(mixed(purpose ^ 0x5851_f42d_4c95_7f2d)),
        ))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Uniform within ± `reach`.
    pub fn symmetric(&mut self, reach: f64) -> f64 {
        reach * (2.0 * self.unit() - 1.0)
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        let one: f64 = Exp1.sample(&mut self.0);
        mean * one
    }

    /// Gaussian with mean zero and variance one.
    pub fn gaussian(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }
}

/// Spreads nearby seeds far apart, as `seed_from_u64` does.
fn mixed(seed: u64) -> u64 {
    Pcg64Mcg::seed_from_u64(seed).random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(1, 2);
        let n = 100_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        // Four standard errors each: σ/√n times four.
        assert!((mean(&mut || random.unit()) - 0.5).abs() < 0.004);
        assert!((mean(&mut || random.exponential(3.0)) - 3.0).abs() < 0.04);
        assert!(mean(&mut || random.gaussian()).abs() < 0.013);
        assert!((mean(&mut || random.gaussian().powi(2)) - 1.0).abs() < 0.018);
    }

    #[test]
    fn purposes_and_seeds_differ() {
        let first = |seed, purpose| Random::new(seed, purpose).bits();
        assert_eq!(first(1, 0), first(1, 0));
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_ne!(first(1, 2), first(2, 1));
    }
}

//! A running quantile in one number.

/// How fast the first observations move the quantile, as a factor's logarithm.
const FIRST_STEP: f64 = 0.5;

/// How fast later ones do: about the last hundred count.
const LAST_STEP: f64 = 0.04;

/// The value below which a given share of the positive observations lies, by stochastic
/// approximation of its logarithm (H. Robbins and S. Monro, *A stochastic approximation method*,
/// Ann. Math. Stat. 22(3), 1951): up by `step·share` if the observation is above, down by
/// `step·(1 − share)` if it is below. It follows changes by factors in a few dozen observations,
/// and no outlier moves it further than any other observation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantile {
    share: f32,
    step: f32,
    value: f64,
}

impl Quantile {
    pub(super) fn new(share: f32) -> Self {
        Self {
            share,
            step: FIRST_STEP as f32,
            value: 0.0,
        }
    }

    /// Takes in one observation of at least `least`, which is also the least quantile.
    pub(super) fn push(&mut self, observation: f64, least: f64) {
        if self.value == 0.0 {
            self.value = observation.max(least);
            return;
        }
        let step = f64::from(self.step);
        let share = f64::from(self.share);
        let up = if observation > self.value {
            share
        } else {
            share - 1.0
        };
        self.value = (self.value * (step * up).exp()).max(least);
        self.step = (0.97 * step).max(LAST_STEP) as f32;
    }

    /// The quantile, 0 before the first observation.
    pub(super) fn get(self) -> f64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn finds_the_lower_decile_of_exponential_noise() {
        // −ln 0.9 = 0.105 of the mean.
        let mut random = Random::new(1);
        let mut quantile = Quantile::new(0.1);
        let mut sum = 0.0;
        for k in 0..20_000 {
            quantile.push(random.exponential(1_000.0), 1e-3);
            if k >= 10_000 {
                sum += quantile.get();
            }
        }
        let mean = sum / 10_000.0;
        assert!((mean - 105.4).abs() < 12.0, "{mean}");
    }

    #[test]
    fn an_outlier_moves_it_no_further_than_its_neighbours_do() {
        let mut quantile = Quantile::new(0.5);
        (0..500).for_each(|k| quantile.push(f64::from(100 + k % 3), 1.0));
        let before = quantile.get();
        quantile.push(1e12, 1.0);
        assert!(quantile.get() < 1.03 * before);
    }
}

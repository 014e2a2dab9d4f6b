//! The least delay of late, and how far the others are above it.

/// Exchanges after which the least delay is looked for afresh.
const WINDOW: u16 = 64;

/// The least half delay of late (the minimum over the last one to two windows), and how far the
/// others are above it.
#[derive(Debug, Clone)]
pub(super) struct DelayFloor {
    current: f32,
    previous: f32,
    /// Running mean of the excess over the floor.
    mean_excess: f32,
    seen: u16,
    counted: u16,
}

impl DelayFloor {
    pub(super) const fn new() -> Self {
        Self {
            current: f32::INFINITY,
            previous: f32::INFINITY,
            mean_excess: 0.0,
            seen: 0,
            counted: 0,
        }
    }

    /// Takes in a half delay; by how much it may exceed that of an empty path, ns.
    ///
    /// The least of n delays is itself above the path's: if both directions queue exponentially,
    /// by about the mean excess over √n.
    pub(super) fn excess(&mut self, half_delay: f64) -> f64 {
        self.current = self.current.min(half_delay as f32);
        let floor = self.current.min(self.previous);
        self.seen += 1;
        self.counted = (self.counted + 1).min(WINDOW);
        if self.seen == WINDOW {
            (self.previous, self.current, self.seen) = (self.current, f32::INFINITY, 0);
        }
        let above = (half_delay as f32 - floor).max(0.0);
        self.mean_excess += (above - self.mean_excess) / f32::from(self.counted);
        f64::from(above + self.mean_excess / f32::from(self.counted).sqrt())
    }

    /// What an exchange's offset is typically off by, ns: if both directions queue exponentially,
    /// the mean excess over √2. Of the first exchanges nothing but their delay is known.
    pub(super) fn typical_error(&self, half_delay: f64) -> f64 {
        let unknown = half_delay.abs() / f64::from(self.counted).powi(2);
        std::f64::consts::FRAC_1_SQRT_2 * f64::from(self.mean_excess) + unknown
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn learns_the_noise_of_exponential_queues() {
        let mut random = Random::new(4);
        let mut floor = DelayFloor::new();
        assert_eq!(floor.excess(10_000.0), 0.0);
        assert_eq!(floor.typical_error(10_000.0), 10_000.0);
        let mut sum = 0.0;
        for k in 0..2_000 {
            let delays = [0; 2].map(|_| 10_000.0 + random.exponential(1_000.0));
            let half_delay = 0.5 * (delays[0] + delays[1]);
            floor.excess(half_delay);
            sum += if k < 1_000 {
                0.0
            } else {
                floor.typical_error(half_delay)
            };
        }
        // The offset is off by half of the difference of the two: μ/√2.
        let mean = sum / 1_000.0;
        assert!((mean - 707.0).abs() < 140.0, "{mean}");
    }
}

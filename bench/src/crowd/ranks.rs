//! Order statistics of a few numbers by counting, which processors do for several at once.

/// Most numbers.
const MOST: usize = parisync::consensus::MAX_READINGS;

/// Numbers are compared with so many others at once.
const LANES: usize = 8;

/// Bits that tell numbers apart which are the same otherwise.
const PLACES: i32 = MOST as i32 - 1;

/// Numbers of which ranks are asked for. They are told apart to a 2⁻¹⁷th, which decides about ranks
/// and nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranks {
    values: [f32; MOST],
    /// In the same order; those of no number are larger than all.
    keys: [i32; MOST],
    pub(super) len: usize,
}

impl Default for Ranks {
    fn default() -> Self {
        Self {
            values: [0.0; MOST],
            keys: [i32::MAX; MOST],
            len: 0,
        }
    }
}

impl Ranks {
    /// One more; what does not fit is left out.
    pub(super) fn push(&mut self, value: f32) {
        if self.len < MOST {
            let bits = value.to_bits() as i32;
            // Negative numbers count down.
            let ordered = bits ^ ((bits >> 31) as u32 >> 1) as i32;
            self.keys[self.len] = ordered & !PLACES | self.len as i32;
            self.values[self.len] = value;
            self.len += 1;
        }
    }

    /// The median; of two middle values the lower one. 0 of nothing.
    pub(super) fn lower_median(&self) -> f64 {
        let middle = self.len.saturating_sub(1) / 2;
        self.between(middle, middle + 1)
    }

    /// The mean without the outermost thirds. 0 of nothing.
    pub(super) fn middle_third(&self) -> f64 {
        let outer = self.len / 3;
        self.between(outer, self.len - outer)
    }

    /// Whether at least half of them are within `reach` of `centre`.
    pub(super) fn majority_within(&self, centre: f64, reach: f64) -> bool {
        let values = self.values[..self.len].iter();
        let near = values.filter(|value| (f64::from(**value) - centre).abs() <= reach);
        2 * near.count() >= self.len
    }

    /// The mean of the numbers of these ranks.
    fn between(&self, from: usize, until: usize) -> f64 {
        let (chunks, _) = self.keys.as_chunks::<LANES>();
        let (values, _) = self.values.as_chunks::<LANES>();
        let used = self.len.div_ceil(LANES);
        let (mut sum, mut count) = (0.0, 0);
        for (keys, values) in chunks[..used].iter().zip(values) {
            let mut smaller = [0_i32; LANES];
            for other in &self.keys[..self.len] {
                for (smaller, key) in smaller.iter_mut().zip(keys) {
                    *smaller += i32::from(other < key);
                }
            }
            for (smaller, value) in smaller.into_iter().zip(values) {
                // Keys of no number are larger than all numbers.
                if (from..until).contains(&(smaller as usize)) {
                    sum += f64::from(*value);
                    count += 1;
                }
            }
        }
        sum / f64::from(count.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_sorting() {
        let mut random = crate::sim::Random::new(1, 1);
        for len in 1..=MOST {
            let values: Vec<f32> = (0..len).map(|_| random.symmetric(1e9) as f32).collect();
            let mut ranks = Ranks::default();
            values.iter().for_each(|value| ranks.push(*value));
            let mut sorted = values;
            sorted.sort_unstable_by(f32::total_cmp);
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * a.abs().max(1e5);
            assert!(near(ranks.lower_median(), sorted[(len - 1) / 2].into()));
            let inner = &sorted[len / 3..len - len / 3];
            let mean = inner.iter().copied().map(f64::from).sum::<f64>() / inner.len() as f64;
            assert!(near(ranks.middle_third(), mean), "{len}");
        }
    }

    #[test]
    fn the_same_number_many_times_is_itself() {
        let mut ranks = Ranks::default();
        (0..7).for_each(|_| ranks.push(-5.0));
        assert_eq!((ranks.lower_median(), ranks.middle_third()), (-5.0, -5.0));
    }
}

//! Sums of squares and magnitudes.

/// Values as they come; nothing is forgotten.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Values {
    squares: f64,
    magnitudes: Vec<f32>,
}

impl Values {
    pub(super) fn push(&mut self, value: f64) {
        self.squares += value * value;
        // Seven digits are plenty for a percentile.
        self.magnitudes.push(value.abs() as f32);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.squares += other.squares;
        self.magnitudes.extend(other.magnitudes);
    }

    pub(super) const fn count(&self) -> u64 {
        self.magnitudes.len() as u64
    }

    /// Root mean square; none of no values.
    pub(super) fn rms(&self) -> Option<f64> {
        let n = self.magnitudes.len() as f64;
        (n > 0.0).then(|| (self.squares / n).sqrt())
    }

    /// The least magnitude that so many per mille do not exceed (nearest rank).
    pub(super) fn magnitude(&mut self, per_mille: usize) -> Option<f64> {
        self.magnitudes.sort_unstable_by(f32::total_cmp);
        let rank = (self.magnitudes.len() * per_mille).div_ceil(1_000).max(1);
        self.magnitudes.get(rank - 1).map(|value| f64::from(*value))
    }
}

/// The middle of values, the mean of the two middle ones of an even number.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[half]),
        _ => Some(0.5 * (values[half - 1] + values[half])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut values = Values::default();
        assert_eq!((values.rms(), values.magnitude(500)), (None, None));
        for value in [3.0, -4.0, 0.0, 12.0] {
            values.push(value);
        }
        assert_eq!(values.rms(), Some(6.5));
        assert_eq!(values.magnitude(500), Some(3.0));
        assert_eq!(values.magnitude(1_000), Some(12.0));
        values.merge(values.clone());
        assert_eq!((values.count(), values.rms()), (8, Some(6.5)));
        assert_eq!(median(&mut [3.0, -1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [3.0, -1.0]), Some(1.0));
        assert_eq!(median(&mut []), None);
    }
}

//! The k-th smallest of a few numbers, without guesses of the processor's that fail.

/// Most numbers.
const MOST: usize = super::MAX_READINGS + 1;

/// So few are sorted.
const FEW: usize = 8;

/// The value of rank `k` among at most [`MOST`] `values`, the smallest being rank 0, in the order of
/// [`f64::total_cmp`]; `None` if there are not as many.
///
/// C. Hoare's *FIND* (1961). Which side of the pivot a value is on is a matter of chance, so it is
/// written to both sides and counted on one.
pub(super) fn select(values: &[f64], k: usize) -> Option<f64> {
    let len = values.len().min(MOST);
    if k >= len {
        return None;
    }
    let (mut keys, mut larger) = ([0; MOST], [0; MOST]);
    for (key, value) in keys.iter_mut().zip(values) {
        *key = ordered(value.to_bits());
    }
    let (mut len, mut k) = (len, k);
    while len > FEW {
        let pivot = middle(keys[0], keys[len / 2], keys[len - 1]);
        let (mut below, mut above) = (0, 0);
        for n in 0..len {
            let key = keys[n];
            keys[below] = key;
            larger[above] = key;
            below += usize::from(key < pivot);
            above += usize::from(key > pivot);
        }
        if k < below {
            len = below;
        } else if k < len - above {
            return Some(value(pivot));
        } else {
            k -= len - above;
            len = above;
            keys[..len].copy_from_slice(&larger[..len]);
        }
    }
    keys[..len].sort_unstable();
    Some(value(keys[k]))
}

/// Integers in the order of the numbers whose bits these are: negative ones count down.
const fn ordered(bits: u64) -> i64 {
    let bits = bits as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The number with this key.
const fn value(key: i64) -> f64 {
    f64::from_bits(ordered(key as u64) as u64)
}

fn middle(a: i64, b: i64, c: i64) -> i64 {
    a.max(b).min(a.min(b).max(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_that_are_the_same() {
        let same = [7.5; MOST];
        assert_eq!(select(&same, 0), Some(7.5));
        assert_eq!(select(&same, MOST - 1), Some(7.5));
        assert_eq!(select(&same, MOST), None);
        assert_eq!(select(&[], 0), None);
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_sorting(
            mut values in prop::collection::vec(
                prop_oneof![any::<f64>(), (-3..3i32).prop_map(f64::from), Just(-0.0)], 1..=MOST),
        ) {
            let selected: Vec<_> = (0..values.len()).map(|k| select(&values, k)).collect();
            values.sort_unstable_by(f64::total_cmp);
            for (selected, value) in selected.into_iter().zip(values) {
                prop_assert_eq!(selected.map(f64::to_bits), Some(value.to_bits()));
            }
        }
    }
}

//! Exponential and logarithm of several numbers at once.
//!
//! A call of the system's takes the registers of everything around it and one number at a time.
//! These are straight lines of additions and multiplications, which processors do for neighbouring
//! numbers together, and give the same on every machine. Right to 1e-15 of the result.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

/// Added to a number of less than 2³¹, its whole part is in the lowest bits.
const WHOLE: f64 = 1.5 * (1_u64 << 52) as f64;

/// Bits of the fraction of a number.
const FRACTION: u32 = f64::MANTISSA_DIGITS - 1;

/// What the exponent of one is kept as.
const BIAS: u64 = 1_023;

/// `ln 2` as what a number of eleven bits multiplies without loss, and the rest.
const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & !0xffff_ffff);
const LN_2_LOW: f64 = 4.749_325_039_031_672_6e-7;

/// The reciprocals of the factorials.
const FACTORIALS: [f64; 14] = {
    let mut all = [1.0; 14];
    let mut n = 1;
    while n < all.len() {
        all[n] = all[n - 1] / n as f64;
        n += 1;
    }
    all
};

/// Below this, e to that power is none that processors like to deal with.
const NOTHING: f64 = -708.0;

/// e to the power of each; none may be above 700.
#[inline]
pub(super) fn exp<const N: usize>(x: [f64; N]) -> [f64; N] {
    let mut powers = x;
    for power in &mut powers {
        let x = if *power < NOTHING { NOTHING } else { *power };
        let shifted = x * LOG2_E + WHOLE;
        let whole = shifted - WHOLE;
        let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
        let scale = f64::from_bits(shifted.to_bits().wrapping_add(BIAS) << FRACTION);
        let found = series(&FACTORIALS, rest) * scale;
        *power = if *power < NOTHING { 0.0 } else { found };
    }
    powers
}

/// The natural logarithm of each; they must be positive, finite, and not below 1e-307.
#[inline]
pub(super) fn ln<const N: usize>(x: [f64; N]) -> [f64; N] {
    let mut logarithms = x;
    for logarithm in &mut logarithms {
        let bits = logarithm.to_bits();
        let exponent = (bits + (BIAS << FRACTION) - FRAC_1_SQRT_2.to_bits()) >> FRACTION;
        let near = f64::from_bits(bits + (BIAS << FRACTION) - (exponent << FRACTION));
        let exponent = f64::from_bits(WHOLE.to_bits() | exponent) - WHOLE - BIAS as f64;
        // ln((1 + s)/(1 − s)) = 2(s + s³/3 + s⁵/5 …), |s| ≤ 0.172.
        let s = (near - 1.0) / (near + 1.0);
        let square = s * s;
        let odd = odd_reciprocals(square);
        *logarithm = exponent * LN_2_HIGH + (2.0 * s * odd + exponent * LN_2_LOW);
    }
    logarithms
}

/// `1 + x/3 + x²/5 + x³/7 …` as far as it counts up to 0.03.
#[inline]
fn odd_reciprocals(x: f64) -> f64 {
    const ODD: [f64; 14] = {
        let mut all = [0.0; 14];
        let mut n = 0;
        while n < 11 {
            all[n] = 1.0 / (2 * n + 1) as f64;
            n += 1;
        }
        all
    };
    series(&ODD, x)
}

/// By halves (G. Estrin 1960), which processors do at the same time.
#[inline]
fn series(c: &[f64; 14], x: f64) -> f64 {
    let square = x * x;
    let fourth = square * square;
    let quarter = |n: usize| c[n] + c[n + 1] * x + (c[n + 2] + c[n + 3] * x) * square;
    let low = quarter(0) + quarter(4) * fourth;
    let high = quarter(8) + (c[12] + c[13] * x) * fourth;
    low + high * (fourth * fourth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_of_the_range() {
        assert_eq!(
            exp([0.0, f64::NEG_INFINITY, -1e9, -709.0]),
            [1.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(ln([1.0]), [0.0]);
        assert_eq!(LN_2_HIGH + LN_2_LOW, LN_2);
    }

    proptest! {
        #[test]
        fn powers_are_those_of_the_library(x in -707.0..700.0f64, near in -1.0..1.0f64) {
            for (found, x) in exp([x, near]).into_iter().zip([x, near]) {
                prop_assert!((found / x.exp() - 1.0).abs() < 1e-15, "{x}: {found}");
            }
        }

        #[test]
        fn logarithms_are_those_of_the_library(
            bits in 1e-307f64.to_bits()..f64::MAX.to_bits(), near in 0.5..2.0f64,
        ) {
            let all = [f64::from_bits(bits), near];
            for (found, x) in ln(all).into_iter().zip(all) {
                let limit = 1e-15 * x.ln().abs();
                prop_assert!((found - x.ln()).abs() <= limit, "{x}: {found}");
            }
        }
    }
}

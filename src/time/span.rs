//! A difference between two instants of the same scale.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A signed difference between instants, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest span; used as "no bound is known".
    pub const MAX: Self = Self(i64::MAX);

    /// A span of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A span of `micros` microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A span of `secs` seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The nearest span to `nanos`; saturates, and NaN becomes zero.
    pub fn from_nanos_f64(nanos: f64) -> Self {
        // Not `round`, which is a call where processors need not have an instruction for it.
        let whole = nanos as i64;
        let rest = nanos - whole as f64;
        Self(whole.saturating_add(i64::from(rest >= 0.5) - i64::from(rest <= -0.5)))
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Nanoseconds, as a float.
    pub const fn as_nanos_f64(self) -> f64 {
        self.0 as f64
    }

    /// Seconds, as a float.
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The magnitude.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// As an unsigned duration; a negative span becomes zero.
    pub const fn to_duration(self) -> Duration {
        if self.0 > 0 {
            Duration::from_nanos(self.0 as u64)
        } else {
            Duration::ZERO
        }
    }
}

impl From<Duration> for Span {
    fn from(d: Duration) -> Self {
        Self(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self(self.0.saturating_add(o.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self(self.0.saturating_sub(o.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl SubAssign for Span {
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}

impl Neg for Span {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Mul<i64> for Span {
    type Output = Self;
    fn mul(self, k: i64) -> Self {
        Self(self.0.saturating_mul(k))
    }
}

impl Div<i64> for Span {
    type Output = Self;
    fn div(self, k: i64) -> Self {
        Self(self.0 / k)
    }
}

impl Sum for Span {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Three significant digits with the unit that fits, as people read it: `-1.25µs`, `3.40ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAX {
            return f.pad("unknown");
        }
        let ns = self.0 as f64;
        let (value, unit) = match ns.abs() {
            a if a < 1e3 => return f.pad(&format!("{}ns", self.0)),
            a if a < 1e6 => (ns / 1e3, "µs"),
            a if a < 1e9 => (ns / 1e6, "ms"),
            _ => (ns / 1e9, "s"),
        };
        let digits = match value.abs() {
            a if a < 10.0 => 2,
            a if a < 100.0 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.digits$}{unit}"))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ns", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_three_digits_with_a_fitting_unit() {
        assert_eq!(Span::from_nanos(-42).to_string(), "-42ns");
        assert_eq!(Span::from_nanos(1_250).to_string(), "1.25µs");
        assert_eq!(Span::from_micros(34_000).to_string(), "34.0ms");
        assert_eq!(Span::from_secs(-200).to_string(), "-200s");
        assert_eq!(Span::MAX.to_string(), "unknown");
    }

    #[test]
    fn floats_become_the_nearest_span_as_by_rounding() {
        let odd = (1_i64 << 52) as f64 + 1.0;
        for nanos in [
            0.0,
            0.5,
            0.499_999_999_999_999_94,
            0.6,
            1.4,
            1.5,
            2.5,
            odd,
            9e18,
        ] {
            for nanos in [nanos, -nanos] {
                let nearest = Span::from_nanos(nanos.round() as i64);
                assert_eq!(Span::from_nanos_f64(nanos), nearest, "{nanos}");
            }
        }
    }

    #[test]
    fn floats_saturate_and_nan_is_zero() {
        assert_eq!(Span::from_nanos_f64(f64::INFINITY), Span::MAX);
        assert_eq!(Span::from_nanos_f64(f64::NAN), Span::ZERO);
    }
}

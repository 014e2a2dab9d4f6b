//! A frequency error, dimensionless.

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use serde::{Deserialize, Serialize};

use super::Span;

/// How much faster than nominal a clock runs: `+1e-6` gains one microsecond each second.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(f64);

impl Rate {
    /// Nominal frequency.
    pub const ZERO: Self = Self(0.0);

    /// From a fraction (`1e-6` is one part per million).
    pub const fn from_fraction(fraction: f64) -> Self {
        Self(fraction)
    }

    /// From parts per million.
    pub const fn from_ppm(ppm: f64) -> Self {
        Self(ppm * 1e-6)
    }

    /// As a fraction.
    pub const fn as_fraction(self) -> f64 {
        self.0
    }

    /// In parts per million.
    pub const fn as_ppm(self) -> f64 {
        self.0 * 1e6
    }

    /// The magnitude.
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// The greater of the two.
    pub const fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// This rate, limited to `±limit`.
    pub fn clamp_abs(self, limit: Self) -> Self {
        Self(self.0.clamp(-limit.0, limit.0))
    }

    /// The phase gained over `span`, in nanoseconds.
    pub fn over(self, span: Span) -> f64 {
        self.0 * span.as_nanos_f64()
    }
}

impl Add for Rate {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self(self.0 + o.0)
    }
}

impl Sub for Rate {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self(self.0 - o.0)
    }
}

impl AddAssign for Rate {
    fn add_assign(&mut self, o: Self) {
        self.0 += o.0;
    }
}

impl SubAssign for Rate {
    fn sub_assign(&mut self, o: Self) {
        self.0 -= o.0;
    }
}

impl Neg for Rate {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Mul<f64> for Rate {
    type Output = Self;
    fn mul(self, k: f64) -> Self {
        Self(self.0 * k)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:+.3}ppm", self.as_ppm()))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+e}", self.0)
    }
}

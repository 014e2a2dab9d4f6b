//! Figures of measured values: moments, quantiles, stability over averaging times.

mod moments;
mod stability;

pub use moments::Moments;
pub use parisync::present::histogram::quantile;
pub use stability::{Even, Stability, StabilityError, adev, mdev, mtie, stability, tdev};

/// Sorts values in ascending order, as [`quantile`] wants them.
pub fn sort(values: &mut [f64]) {
    values.sort_unstable_by(f64::total_cmp);
}

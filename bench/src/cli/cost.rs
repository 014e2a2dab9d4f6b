//! `parisync-bench cost`.

use super::BenchError;
use crate::cost::{self, Options};
use crate::output::{Format, show};

/// Measures and prints what one node costs.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let reports = cost::run(options)?;
    Ok(show(format, &reports, cost::table)?)
}

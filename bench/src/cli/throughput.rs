//! `parisync-bench throughput`.

use super::BenchError;
use crate::interrupt::interruptible;
use crate::output::{Format, show};
use crate::throughput::{self, Options};

/// Measures and prints how much one processor answers.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let reports = interruptible(|stop| throughput::run(options, stop))??;
    Ok(show(format, &reports, throughput::table)?)
}

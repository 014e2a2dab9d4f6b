//! `parisync metrics`: what the daemon knows, for Prometheus.

use super::output::{CliError, Context, Exit};
use crate::export::metrics;

/// Asks the daemon and prints.
pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let status = context.client()?.status()?.content;
    context.show(&status, metrics::text)?;
    Ok(Exit::Done)
}

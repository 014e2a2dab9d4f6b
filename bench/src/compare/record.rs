//! A comparison in a run folder: true errors over time, worst pairs, figures.

use hdrhistogram::Histogram;

use super::plan::{Outcome, Spending};
use super::table::Row;
use crate::run::{Run, RunError, Sample};

/// Three significant digits, as the figures have.
const DIGITS: u8 = 3;

/// Writes everything that is known of the outcomes; those of a run that is `over` also as its
/// summary.
///
/// # Errors
/// The folder cannot be written.
pub fn record(
    run: &mut Run,
    outcomes: &[Outcome],
    rows: &[Row],
    over: bool,
) -> Result<(), RunError> {
    for outcome in outcomes {
        let program = &outcome.entry.program;
        let spending = match outcome.entry.spending {
            Spending::Budget => "",
            Spending::Default => "-default",
        };
        let name = format!("{}{spending}", program.system.name());
        run.note_version(program.system.name(), &program.version)?;
        let mut worst = Histogram::new(DIGITS).map_err(|error| RunError::Unwritable {
            path: run.dir().to_owned(),
            what: error.to_string(),
        })?;
        for (seed, _, offsets) in &outcome.runs {
            let mut series = run.series(&format!("{name}-seed{seed}"))?;
            for (time_s, errors) in offsets.errors() {
                for (host, error) in errors.enumerate() {
                    series.push(&Sample {
                        time_s,
                        subject: format!("host {}", host + 1),
                        error_ns: 1e9 * error,
                        guaranteed_ns: None,
                        statistical_ns: None,
                    })?;
                }
            }
            series.finish()?;
            for pair in offsets.worst_pairs() {
                worst.saturating_record((1e9 * pair).round() as u64);
            }
        }
        if !outcome.runs.is_empty() {
            run.histogram(&format!("{name}-worst-pair"), &worst)?;
        }
    }
    run.table("figures", rows)?;
    if over {
        run.summary(&rows)?;
    }
    Ok(())
}

//! `parisync-bench sweep`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::BenchError;
use crate::crowd::{self, Cell, Grid, Results, SweepError, named};
use crate::interrupt::interruptible;
use crate::output::{Format, csv, show};
use crate::progress::Progress;

/// Which grid, and where the results go.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The grid: TOML with [base] and [grid], whose keys are the options of `sim`
    file: PathBuf,
    /// Folder for the results; a sweep that was ended goes on where it was
    #[arg(long, value_name = "DIR")]
    report: PathBuf,
}

/// Simulates every cell that is not done yet; prints all.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let cells = Grid::read(&options.file)?.cells(&options.file)?;
    let mut results = Results::open(&options.report)?;
    let todo: Vec<&Cell> = cells.iter().filter(|cell| !results.has(cell)).collect();
    interruptible(|stop| {
        // Its thread must not be there before: it would take the signal.
        let progress = Progress::new("cells", cells.len() as u64);
        progress.set((cells.len() - todo.len()) as u64);
        for cell in todo {
            progress.say(&named(&cell.values));
            if !simulate(cell, stop, &mut results)? {
                break;
            }
            progress.advance(1);
        }
        progress.finish();
        Ok::<(), BenchError>(())
    })??;
    let write = |name: &str, text: String| {
        let path = options.report.join(name);
        std::fs::write(&path, text).map_err(|source| SweepError::File { path, source })
    };
    let reports: Vec<&serde_json::Map<String, Value>> =
        results.done.iter().map(|done| &done.report).collect();
    let table = csv(&reports).map_err(|source| SweepError::File {
        path: options.report.clone(),
        source,
    })?;
    write("sweep.csv", table)?;
    write("sweep.html", crowd::atlas(&results.done))?;
    Ok(show(format, &reports, |_| {
        results.done.iter().map(line).collect()
    })?)
}

/// Whether it came to an end.
fn simulate(cell: &Cell, stop: &AtomicBool, results: &mut Results) -> Result<bool, BenchError> {
    let (report, _) = crowd::run(&cell.plan, stop, &Progress::hidden());
    let whole = !stop.load(Ordering::Relaxed);
    if whole {
        results.add(cell, &report)?;
    }
    Ok(whole)
}

fn line(done: &crowd::Done) -> String {
    let known = |name: &str| done.report.get(name).and_then(Value::as_f64);
    let figure = |name: &str| known(name).unwrap_or(0.0);
    let drag = known("drag_ppm").map_or("-".to_owned(), |ppm| format!("{ppm:+.3} ppm"));
    format!(
        "{}: {:.1} % synchronized, sigma {:.3} us, captured {:.3} %, dragged {drag}\n",
        named(&done.cell),
        100.0 * figure("synchronized"),
        1e-3 * figure("sigma_ns"),
        100.0 * figure("captured"),
    )
}

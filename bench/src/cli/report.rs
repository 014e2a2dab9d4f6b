//! `parisync-bench report`.

use std::fs;
use std::path::{Path, PathBuf};

use parisync::cli::print;
use parisync::config::DurationText;

use super::BenchError;
use crate::output::{Format, show};
use crate::report::{Options, Report, ReportError, html, table};

/// Which runs to show, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run folders, shown side by side
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where to write the page; by default report.html in the folder of a single run, or in the
    /// working directory for several
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// What comes before does not count; by default the first third
    #[arg(long, value_name = "TIME", value_parser = DurationText::parse_or_seconds)]
    settle: Option<DurationText>,
    /// Clocks count as settled while their errors are below this
    #[arg(long, value_name = "TIME", default_value = "10us", value_parser = DurationText::parse_or_seconds)]
    limit: DurationText,
}

/// Prints the figures and writes the page; with JSON or CSV the page only if it was named.
pub(super) fn run(args: &Args, format: Format) -> Result<(), BenchError> {
    let options = Options {
        settle_s: args.settle.map(|settle| settle.span().as_secs_f64()),
        limit_ns: args.limit.span().as_nanos_f64(),
    };
    let page = match (&args.out, format, &args.runs[..]) {
        (Some(path), _, _) => Some(page_path(path)?),
        (None, Format::Text, [run]) => Some(run.join("report.html")),
        (None, Format::Text, _) => Some(PathBuf::from("report.html")),
        (None, Format::Json | Format::Csv, _) => None,
    };
    let report = Report::read(&args.runs, options)?;
    if let Some(path) = &page {
        fs::write(path, html(&report)).map_err(|source| ReportError::Write {
            path: path.clone(),
            source,
        })?;
    }
    show(format, report.figures(), table)?;
    if let (Format::Text, Some(path)) = (format, &page) {
        print(&format!("\npage: {}\n", path.display()))?;
    }
    Ok(())
}

/// The page's path, if it is named like one: a slip must not cost a file of measurements.
fn page_path(path: &Path) -> Result<PathBuf, ReportError> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending {
        Some("html" | "htm") => Ok(path.to_owned()),
        _ => Err(ReportError::NoPage {
            path: path.to_owned(),
        }),
    }
}

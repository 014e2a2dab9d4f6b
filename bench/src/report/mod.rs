//! Runs as one self-contained page, side by side.

mod facts;
mod figures;
mod lines;
mod page;
mod plots;
mod tables;
#[cfg(test)]
mod tests;
mod text;

pub use figures::{Bound, Figures, Quantiles, Subject};
pub use page::html;
pub use text::table;

use std::path::PathBuf;

use crate::run::{Recorded, RunError};

/// What runs are judged by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What comes before does not count, s; by default the first third.
    pub settle_s: Option<f64>,
    /// Errors that stay below this are those of settled clocks, ns.
    pub limit_ns: f64,
}

/// Why there is no report; each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A run folder cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run folder holds nothing to show.
    #[error("{} holds no measurements: its run ended before there were any", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// All of a run is before it counts.
    #[error(
        "nothing is left of {run} after {settle_s} s, it ends after {seconds} s; say a shorter --settle"
    )]
    AllSettling {
        /// The run.
        run: String,
        /// What was to be left out.
        settle_s: f64,
        /// When it ends.
        seconds: f64,
    },
    /// The page's name is not one of a page.
    #[error("{} is not named like a page; say --out FILE.html", path.display())]
    NoPage {
        /// The file.
        path: PathBuf,
    },
    /// The page cannot be written.
    #[error("cannot write {}: {source}; choose another file with --out", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Runs and what they come to.
#[derive(Debug)]
pub struct Report {
    runs: Vec<Recorded>,
    /// What to call each run.
    names: Vec<String>,
    options: Options,
    /// For each series of each run, in order.
    figures: Vec<Figures>,
}

impl Report {
    /// Reads the runs and works out their figures.
    ///
    /// # Errors
    /// A folder cannot be read, or there is nothing in it.
    pub fn read(folders: &[PathBuf], options: Options) -> Result<Self, ReportError> {
        let mut runs = Vec::with_capacity(folders.len());
        for folder in folders {
            let run = Recorded::open(folder)?;
            let samples = run.series.iter().flat_map(|series| &series.tracks).count();
            let others = run.histograms.len() + run.tables.len() + run.peers.len();
            if samples + others == 0 && run.summary.is_none() {
                return Err(ReportError::Nothing {
                    path: folder.clone(),
                });
            }
            runs.push(run);
        }
        let names = names(&runs);
        let figures = runs.iter().zip(&names).flat_map(|(run, name)| {
            let series = run.series.iter();
            series.map(move |s| Figures::of(name, s, options.settle_s, options.limit_ns))
        });
        let figures: Vec<Figures> = figures.collect();
        let emptied = figures.iter().find(|f| f.clocks > 0 && f.samples == 0);
        if let (Some(emptied), Some(settle_s)) = (emptied, options.settle_s) {
            return Err(ReportError::AllSettling {
                run: emptied.run.clone(),
                settle_s,
                seconds: emptied.seconds,
            });
        }
        Ok(Self {
            runs,
            names,
            options,
            figures,
        })
    }

    /// What each series of each run comes to.
    pub fn figures(&self) -> &[Figures] {
        &self.figures
    }
}

/// The names of the folders; with a number where two have the same.
fn names(runs: &[Recorded]) -> Vec<String> {
    let plain: Vec<String> = runs.iter().map(Recorded::name).collect();
    let numbered = plain.iter().enumerate().map(|(i, name)| {
        let same = |names: &[String]| names.iter().filter(|n| *n == name).count();
        match same(&plain) {
            1 => name.clone(),
            _ => format!("{name} ({})", same(&plain[..=i])),
        }
    });
    numbered.collect()
}

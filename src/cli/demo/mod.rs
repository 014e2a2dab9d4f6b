//! `parisync demo`: a swarm of real nodes with bad clocks agrees before your eyes.
//!
//! The swarm itself is behind [`Swarm`]; here are its options, the live view, the statistics
//! against the truth, and the report.

mod ink;
mod options;
mod summary;
mod swarm;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod view;

pub use options::{ClockPlan, DemoOptions, Lie};
pub use summary::{BoundStats, Record, SkewStats, Summary, Truth};
pub use swarm::{NodeInfo, NodeSample, Sample, Stamps, Swarm, Totals};

use std::io;
use std::path::PathBuf;

/// Why the demo could not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An option is out of its range.
    #[error("{option} is {found}; it can be {range}")]
    Option {
        /// The option as it is written on the command line.
        option: &'static str,
        /// The value given.
        found: String,
        /// What it can be.
        range: String,
    },
    /// A file of the report cannot be written.
    #[error("cannot write {}: {source}; choose another directory with --report", path.display())]
    Report {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The terminal or pipe the demo prints to is gone.
    #[error("cannot print: {0}")]
    Print(io::Error),
}

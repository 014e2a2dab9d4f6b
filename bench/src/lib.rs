//! `parisync-bench`: measurements of PariSync that are no tests.
//!
//! The rooms:
//!
//! - [`cli`]: one file per subcommand; prints; no logic
//! - [`output`]: results as text, JSON or CSV
//! - [`progress`]: how far a long measurement is
//! - [`run`]: the folder that holds all of one run, written and read back
//! - [`stats`]: moments, quantiles, stability over averaging times
//! - [`report`]: runs as one page, side by side
//! - [`cost`]: what a node costs its host

#![forbid(unsafe_code)]

pub mod cli;
pub mod cost;
pub mod output;
pub mod progress;
pub mod report;
pub mod run;
pub mod stats;
#[cfg(test)]
mod testing;

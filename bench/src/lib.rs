//! `parisync-bench`: measurements of PariSync that are no tests.
//!
//! The rooms:
//!
//! - [`cli`]: one file per subcommand; prints; no logic
//! - [`netns`]: network namespaces
//! - [`output`]: results as text, JSON or CSV
//! - [`progress`]: how far a long measurement is
//! - [`run`]: the folder that holds all of one run, written and read back
//! - [`compare`]: PariSync beside chrony, ptp4l and other daemons, with true error
//! - [`stats`]: moments, quantiles, stability over averaging times
//! - [`report`]: runs as one page, side by side
//! - [`cost`]: what a node costs its host

#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod cost;
pub mod netns;
pub mod output;
pub mod progress;
pub mod report;
pub mod run;
mod scratch;
pub mod stats;
#[cfg(test)]
mod testing;

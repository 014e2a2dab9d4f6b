//! `parisync-bench`: measurements of PariSync that are no tests.
//!
//! The rooms:
//!
//! - [`cli`]: one file per subcommand; prints; no logic
//! - [`output`]: results as text, JSON or CSV
//! - [`progress`]: how far a long measurement is
//! - [`run`]: the folder that holds all of one run, written and read back
//! - [`address`]: hosts as people name them
//! - [`interrupt`]: ending early with what there is
//! - [`netns`]: network namespaces that cannot be left behind
//! - [`observe`]: the time sources of a live host beside each other
//! - [`precision`]: how good the timestamp paths of this host are
//! - [`stats`]: moments, quantiles, stability over averaging times
//! - [`report`]: runs as one page, side by side
//! - [`cost`]: what a node costs its host

#![forbid(unsafe_code)]

pub mod address;
pub mod cli;
pub mod cost;
pub mod interrupt;
pub mod netns;
pub mod observe;
pub mod output;
pub mod precision;
pub mod progress;
pub mod report;
pub mod run;
pub mod stats;
#[cfg(test)]
mod testing;

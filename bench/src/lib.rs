//! `parisync-bench`: measurements of PariSync that are no tests.
//!
//! The rooms:
//!
//! - [`cli`]: one file per subcommand; prints; no logic
//! - [`output`]: results as text, JSON or CSV
//! - [`progress`]: how far a long measurement is
//! - [`run`]: the folder that holds all of one run, written and read back
//! - [`cost`]: what a node costs its host
//! - [`sim`]: networks of real nodes in simulated time, with exact truth
//! - [`units`]: spans of time and frequencies as people write them

#![forbid(unsafe_code)]

pub mod cli;
pub mod cost;
pub mod output;
pub mod progress;
pub mod run;
pub mod sim;
#[cfg(test)]
mod testing;
pub mod units;

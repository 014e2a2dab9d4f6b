//! `parisync-bench`: measurements of PariSync that are no tests.
//!
//! The rooms:
//!
//! - [`cli`]: one file per subcommand; prints; no logic
//! - [`output`]: results as text, JSON or CSV
//! - [`progress`]: how far a long measurement is
//! - [`run`]: the folder that holds all of one run, written and read back
//! - [`compare`]: PariSync beside chrony, ptp4l and other daemons, with true error
//! - [`address`]: hosts as people name them
//! - [`interrupt`]: ending early with what there is
//! - [`netns`]: network namespaces that cannot be left behind
//! - [`observe`]: the time sources of a live host beside each other
//! - [`precision`]: how good the timestamp paths of this host are
//! - [`stats`]: moments, quantiles, stability over averaging times
//! - [`report`]: runs as one page, side by side
//! - [`replay`]: what real daemons recorded, lived through again
//! - [`cost`]: what a node costs its host
//! - [`estimators`]: strategies compared over the scenarios, and held to their limits
//! - [`limit`]: how small the error can be in a scenario, whoever estimates
//! - [`scenario`]: networks and what happens to them, in files that people can read and add to
//! - [`sim`]: networks of real nodes in simulated time, with exact truth
//! - [`throughput`]: how many exchanges one processor answers
//! - [`topology`]: link structures at message level: hops, churn, repair, draws, eclipse
//! - [`crowd`]: the same for up to millions of nodes, under churn and attack
//! - [`units`]: spans of time and frequencies as people write them

#![forbid(unsafe_code)]

pub mod address;
pub mod cli;
pub mod compare;
pub mod cost;
pub mod crowd;
pub mod estimators;
pub mod interrupt;
pub mod limit;
pub mod netns;
pub mod observe;
pub mod output;
pub mod precision;
pub mod progress;
pub mod replay;
pub mod report;
pub mod run;
pub mod scenario;
mod scratch;
pub mod sim;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod throughput;
pub mod topology;
pub mod units;

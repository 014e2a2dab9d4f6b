//! The ablation: every link estimator with every combination, over the scenarios.
//!
//! Each run is the whole network in simulated time ([`crate::sim`]) with one strategy and one seed;
//! the same seed has the same oscillators and paths for all strategies. [`table`] compares
//! strategies, [`links`] the estimators on a link of their own, [`check`] holds the default ones to
//! the limits in the scenarios.

mod check;
mod link;
mod page;
mod strategy;
mod table;
mod work;

pub use check::{Check, check};
pub use link::{LinkRow, links};
pub use page::page;
pub use strategy::run;
pub use table::{Estimate, Row, table};

//! Link structures at message level: how they do against what was published of them.
//!
//! - [`Network`]: nodes, messages with delays and losses, churn, liars
//! - [`measure`]: hops, upkeep, lookups under churn, repair, draws, eclipse

pub mod measure;
mod network;
mod row;

pub use network::{Host, Machine, Network, usual};
pub use row::{Churned, Eclipse, Evenness, Hops, Repaired, Row};

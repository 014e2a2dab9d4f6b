//! Link structures at message level: how they do against what was published of them.

mod network;

pub use network::{Host, Machine, Network, usual};

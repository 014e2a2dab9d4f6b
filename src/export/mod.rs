//! What others may see of a running node.

pub mod client;
mod connection;
pub mod control;
pub mod metrics;
pub mod protocol;
pub mod status;

#[cfg(test)]
mod tests;

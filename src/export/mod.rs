//! What others may see of a running node.

pub mod client;
pub mod control;
pub mod protocol;
pub mod status;

#[cfg(test)]
mod tests;

//! What others may see of a running node.

pub mod status;

//! Strategies for many links, each in a file of its own.

mod ensemble;
mod robust_mean;

pub use ensemble::Ensemble;
pub use robust_mean::RobustMean;

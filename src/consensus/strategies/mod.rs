//! Strategies for many links, each in a file of its own.

mod robust_mean;

pub use robust_mean::RobustMean;

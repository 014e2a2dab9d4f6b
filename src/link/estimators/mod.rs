//! Strategies for one link, each in a file of its own.

mod kalman;

pub use kalman::Kalman;

//! Strategies for one link, each in a file of its own.

mod kalman;
mod one_sided;

pub use kalman::Kalman;
pub use one_sided::OneSided;

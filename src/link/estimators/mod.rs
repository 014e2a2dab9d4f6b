//! Strategies for one link, each in a file of its own.

mod any;
pub mod arvind;
mod coded_pairs;
mod convex;
mod fit;
mod floor;
mod kalman;
mod min_rtt;
mod one_sided;
mod packet_interval;
mod quantile;
mod regression;
mod ring;
mod spacing;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod window;

pub use any::{AnyEstimator, EstimatorKind, UnknownEstimator};
pub use arvind::Arvind;
pub use coded_pairs::CodedPairs;
pub use convex::Convex;
pub use kalman::Kalman;
pub use min_rtt::MinRtt;
pub use one_sided::OneSided;
pub use packet_interval::PacketInterval;
pub use regression::Regression;

//! PariSync beside other clock daemons: the same oscillators, links and packets, true errors.
//!
//! - [`daemons`]: the systems, how each is configured
//! - [`links`]: oscillators and links, and what a seed makes of them
//! - [`lab`]: what a laboratory is; [`sim`]: that of simulated clocks, [`netns`]: of real packets,
//!   [`uml`]: of real kernels
//! - [`measure`]: from true offsets to figures
//! - [`plan`]: which runs there are, and all of them run
//! - [`table`]: what they came to; [`record`]: the same in a run folder

mod compile;
pub mod daemons;
mod elf;
mod error;
pub mod lab;
pub mod links;
pub mod measure;
pub mod netns;
pub mod plan;
mod process;
pub mod record;
mod sandbox;
pub mod sim;
pub mod table;
pub mod uml;

pub use error::CompareError;

//! The discipline on simulated clocks.

mod behaviour;
mod figures;
mod properties;
mod sim;

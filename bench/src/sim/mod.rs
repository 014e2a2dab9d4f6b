//! Networks in simulated time, with exact truth.
//!
//! The nodes are the real ones ([`parisync::node::Node`]), with whatever strategies one likes;
//! oscillators, paths and stamps are models. Sessions and encryption are left out: whoever
//! connects is authenticated. Each packet and each timeout is an event in one queue, so a run
//! depends on nothing but its seed, and takes no longer than the computation.
//!
//! ```text
//! world                                                what all of it is made of
//! random ─► oscillator, delay ─► path, stamp, liar      what the world does to packets and clocks
//!           queue ─► network                             who sends what to whom, and when
//!                    observer                            what the clocks show, against the truth
//! ```

mod delay;
mod heard;
mod liar;
mod network;
mod observer;
mod oscillator;
mod path;
pub(crate) mod queue;
mod random;
mod stamp;
mod world;

pub use delay::Delay;
pub use liar::Deceit;
pub use network::{Passing, Shown, Sim, Tamper, id};
pub use observer::{Count, Figures, Observer, quantile};
pub use oscillator::{Oscillator, OscillatorModel};
pub use path::{Congestion, PathModel, Paths, Routes};
pub use random::Random;
pub use stamp::StampModel;
pub use world::World;

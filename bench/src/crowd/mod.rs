//! Networks of up to millions of nodes in simulated time.
//!
//! The nodes are the real ones ([`parisync::node::Node`]), in the smaller of their two sizes
//! ([`parisync::node::Crowd`]). What [`crate::sim`] does exactly for tens of hosts, one packet and
//! one stamp after the other in one queue, is done here for as many hosts as memory holds:
//!
//! - Time passes in ticks. Within a tick each host lives alone: it takes in the exchanges that have
//!   come to an end, does what is due, plans new exchanges, and tells others its line. Of others it
//!   sees what they told in the tick before. So hosts are gone through in the order of memory, by
//!   any number of threads, and what comes out depends on the seed alone.
//! - Randomness is drawn for each exchange from a stream of its own: nothing depends on the order.
//! - Delays, sites, asymmetries and routes of a pair follow from its two numbers; nothing is kept.
//!
//! ```text
//! plan ─► world: sites and paths, clock, attack, draw     what hosts live in
//!               host ─► engine                             who does what, tick by tick
//!                       measure ─► result                  what the clocks show, against the truth
//! ```

mod atlas;
mod attack;
mod body;
mod checkpoint;
mod clock;
mod draw;
mod engine;
mod event;
mod exchanges;
mod host;
mod identity;
mod measure;
mod messages;
mod page;
mod paths;
mod plan;
mod ranks;
mod result;
mod rounds;
mod sweep;

pub use atlas::{Fit, atlas, log_fit};
pub use attack::Attack;
pub use checkpoint::{CheckpointError, checkpoint_name};
pub use draw::{Dht, Draw, Structured, Uniform};
pub use engine::{Simulation, run};
pub use event::Happening;
pub use page::page;
pub use paths::{Links, Paths};
pub use plan::{Fidelity, Plan, PlanError, Sessions};
pub use result::{Bound, Quantiles, Reached, Report, Round, Skew};
pub use sweep::{Cell, Done, Grid, Results, SweepError, named};

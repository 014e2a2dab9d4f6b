//! Scenarios: networks and what happens to them, in files that people can read and add to.
//!
//! `bench/scenarios/*.toml` come with the program. A scenario says what the hosts, oscillators,
//! paths, stamps and liars are like, what happens when, and what the default strategies have to
//! reach there; see [`Scenario`] for every key. Spans of time and frequencies are text with a
//! unit (`"10us"`, `"1ppm"`).

mod file;
mod read;
mod run;

pub use file::{AccessChange, Event, Exchange, Limits, RouteChange, Scenario, Temperature};
pub use read::{ScenarioError, find, load, parse, shipped};
pub use run::Outcome;

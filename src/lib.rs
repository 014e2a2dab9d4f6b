//! PariSync keeps the clocks of many hosts together without a master.
//!
//! The rooms, lowest first; a room knows only those above it in this list:
//!
//! - [`time`]: instants and spans, typed by timescale
//! - [`wire`]: datagrams to bytes and back
//! - [`topology`]: which peers become neighbours
//! - [`security`]: identities, sessions, replay, cookies
//! - [`link`]: one neighbour: samples to offset, rate and guaranteed interval
//! - [`consensus`]: many neighbours to one correction
//! - [`node`]: the sans-io protocol machine that owns links, consensus and neighbour choice
//! - [`record`]: a log of all that a node is told, and its replay
//! - [`engine`]: where peers come from (DHT, LAN, static list)
//! - [`discipline`]: the virtual clock to the steering of a real one
//! - [`export`]: status for others to read
//! - [`config`]: TOML to a checked configuration
//! - [`service`]: the daemon: threads, sockets, queues, signals, privileges
//! - [`present`]: numbers, dates and machine facts as people read them
//! - [`cli`]: one file per subcommand

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod consensus;
pub mod discipline;
pub mod engine;
pub mod export;
pub mod link;
pub mod node;
pub mod present;
pub mod record;
mod rng;
pub mod security;
pub mod service;
#[cfg(test)]
mod testing;
pub mod time;
pub mod topology;
pub mod wire;

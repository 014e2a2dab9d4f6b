//! The daemon: wires the rooms together with threads, sockets and queues.
//!
//! [`run`] is the whole life of a daemon: set-up, privileges, threads ([`daemon`]) or one loop
//! ([`single`]), signals, and an end that leaves the clock at its last good rate and what was
//! learnt on disk.

pub mod assemble;
pub mod board;
pub mod cards;
pub mod chosen;
pub mod clockface;
pub mod core;
mod core_side;
pub mod daemon;
pub mod latency;
pub mod local;
pub mod port;
pub mod privileges;
pub mod rivals;
mod run;
mod setup;
pub mod signals;
pub mod single;
mod socket_side;
pub mod state;
pub mod steer;
pub mod swarm;
#[cfg(test)]
mod testing;
mod transport;
mod truth;

pub use run::run;

use std::io;

/// Why the daemon could not run. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The identity cannot be read or made.
    #[error(transparent)]
    Identity(#[from] crate::security::IdentityError),
    /// The time socket cannot be opened.
    #[error(transparent)]
    Transport(#[from] hwts::transport::TransportError),
    /// AF_XDP was asked for and cannot be had.
    #[error("no AF_XDP: {0}; or use path = \"auto\"")]
    NoXdp(hwts::xdp::XdpError),
    /// Hardware stamps were asked for and none can be had.
    #[error("no hardware stamps: {0}; or use stamps = \"auto\"")]
    NoHardware(String),
    /// The card whose clock is to be disciplined cannot be used.
    #[error("cannot discipline the clock of {card}: {why}")]
    Card {
        /// The card as it was named.
        card: String,
        /// Why.
        why: String,
    },
    /// The clock of a card cannot be the raw clock.
    #[error("cannot estimate against the clock of {card} (`oscillator.clock`): {why}")]
    RawCard {
        /// The card as it was named.
        card: String,
        /// Why.
        why: String,
    },
    /// Sessions cannot be had.
    #[error("cannot make keys: {0}")]
    Sessions(crate::security::FailReason),
    /// The record cannot be made.
    #[error(transparent)]
    Record(#[from] crate::record::RecordError),
    /// The settings of the discipline make no sense.
    #[error(transparent)]
    Discipline(#[from] crate::discipline::SettingsError),
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] crate::export::control::ControlError),
    /// An engine cannot be started.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// The configured user cannot be become.
    #[error(transparent)]
    Privileges(#[from] privileges::PrivilegeError),
    /// Another program steers the clock that we were to steer.
    #[error(
        "{rival}, and two programs must not steer one clock: {}; or use --discipline none, or set `beside_others = true` under [discipline]", rival.advice
    )]
    Rival {
        /// The program.
        rival: rivals::Rival,
    },
    /// This build has no such engine.
    #[error(
        "`bootstrap` is set, but this build has no libp2p; build it with the `dht` feature, choose another `topology`, or list `peers`"
    )]
    NoDht,
    /// Threads, descriptors, signals.
    #[error("the system gives no {what}: {source}; raise its limits")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A thread of the daemon died.
    #[error("a thread of the daemon ended in a panic; the log says more. This is a bug: report it")]
    Died,
}

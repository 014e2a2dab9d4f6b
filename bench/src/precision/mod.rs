//! How good the timestamp paths of this host are.
//!
//! Two ends exchange packets; each combination of transport, stamps and way to wait is a
//! [lane](lane::Lane). The lanes take turns in small slices in random order, so that what else the
//! host does strikes all of them alike and their ratio holds. Between two network namespaces of one
//! host both ends read the same clock: the true offset is 0, and the error of every exchange is
//! known exactly. Between two hosts there is no truth, see [`judge`].
//!
//! Stamps are brought to `CLOCK_MONOTONIC_RAW` by [`hwts::clock::Timebase`], as the daemon
//! does: that is part of the path.

pub mod ground;
pub mod judge;
pub mod lane;
mod measure;
pub mod message;
mod port;
pub mod prober;
pub mod ratio;
mod report;
pub mod responder;
pub mod score;

pub(crate) use measure::schedule;
pub use measure::{
    Measured, Path, Settings, measure, no_hardware_between_namespaces, no_hardware_on,
    no_xdp_between_namespaces,
};
pub use report::table;

use std::io;
use std::net::SocketAddr;

use hwts::sched::SchedError;
use hwts::transport::TransportError;
use nix::time::{ClockId, clock_gettime};

use crate::netns::NetnsError;
use lane::Lane;

/// The port that `precision --serve` listens on unless told otherwise.
pub const PORT: u16 = 4_123;

/// Why nothing was measured, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum PrecisionError {
    /// No namespaces to measure between.
    #[error(
        "{0}; run as root, or add --loopback to measure within this namespace (a shorter way than any network's)"
    )]
    Namespaces(#[from] NetnsError),
    /// An address cannot be used.
    #[error("cannot use {local}: {error}; choose another --iface or --port")]
    Listen {
        /// The address.
        local: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// A control socket fails.
    #[error("cannot talk to the other end: {0}")]
    Socket(io::Error),
    /// A lane's socket fails.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A lane by hardware stamps cannot be opened.
    #[error("no hardware stamps: {0}")]
    NoCard(String),
    /// A lane by `AF_XDP` cannot be opened.
    #[error("no AF_XDP: {0}")]
    Xdp(#[from] hwts::xdp::XdpError),
    /// The threads cannot be scheduled as asked.
    #[error(transparent)]
    Sched(#[from] SchedError),
    /// Nobody there.
    #[error(
        "nobody answers at {0}: run `parisync-bench precision --serve` of the same version there, and let UDP through"
    )]
    Silent(SocketAddr),
    /// Somebody else is measuring.
    #[error("{0} is measuring with somebody else; try again later")]
    Busy(SocketAddr),
    /// The other end has no such lane.
    #[error("{peer} cannot open {lane}; leave it out with --transport, --stamps or --mode")]
    CannotOpen {
        /// The other end.
        peer: SocketAddr,
        /// What it was asked for.
        lane: Lane,
    },
}

/// Processor time of this thread, ns.
pub(crate) fn cpu_time() -> u64 {
    // The clock exists wherever threads do.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |t| {
        (t.tv_sec() * 1_000_000_000 + t.tv_nsec()).cast_unsigned()
    })
}

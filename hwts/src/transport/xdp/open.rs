//! Attaching the program, and opening a socket for each queue.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use super::XdpTransport;
use super::choose::choose;
use super::door::{Door, TxStamps};
use super::follow::Absence;
use super::tai::Tai;
use super::ways::Ways;
use crate::transport::inflight::{CAPACITY, Inflight};
use crate::transport::tx::Losses;
use crate::transport::{Counters, StampRequest, UdpConfig, UdpTransport};
use crate::xdp::{Copying, Program, XdpError};

/// A program or a socket that was just left is gone after some milliseconds: the kernel closes in
/// the background. Nothing waits longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// How to open an [`XdpTransport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XdpConfig {
    /// The ordinary socket; where to listen, which stamps to use and how to wait hold for both.
    pub udp: UdpConfig,
    /// The interface; none for that of the default route.
    pub interface: Option<String>,
    /// Whether packets may be copied.
    pub copying: Copying,
    /// Only where nothing is better: see [`suitable`](super::suitable).
    pub only_if_best: bool,
    /// Packets of each queue that may wait to be received, and packets on their way out: a power of
    /// two. Each takes a page of locked memory.
    pub frames: u32,
}

impl XdpConfig {
    /// The interface of the default route, zero-copy if its driver can, 256 packets.
    pub const fn new(udp: UdpConfig) -> Self {
        Self {
            udp,
            interface: None,
            copying: Copying::IfNeeded,
            only_if_best: false,
            frames: 256,
        }
    }
}

impl XdpTransport {
    /// Attaches the program and opens the sockets. Needs `CAP_BPF`, `CAP_NET_ADMIN` and
    /// `CAP_NET_RAW` now. To attach it again when the interface was gone, `CAP_NET_RAW` and leave
    /// to lock [`most_memory`](Self::most_memory) are enough.
    ///
    /// # Errors
    /// See [`XdpError`]; nothing is left attached then.
    pub fn open(config: &XdpConfig) -> Result<Self, XdpError> {
        let udp = UdpTransport::open(&config.udp).map_err(XdpError::Udp)?;
        let chosen = choose(config.interface.as_deref(), config.only_if_best)?;
        let mut program = Program::load(udp.local_addr().port())?;
        let os = |what| move |error| XdpError::os(what, error);
        // Listening comes first, so that nothing that happens to the interface is missed.
        let ways = Ways::open(udp.local_addr()).map_err(os("watch routes and neighbours"))?;
        let addresses = ways
            .own_addresses()
            .map_err(os("list the addresses of this host"))?;
        program
            .set_addresses(&addresses)
            .map_err(os("tell the program our addresses"))?;
        let door = Door::open(&program, &chosen, config, PATIENCE)?;
        let mut transport = Self {
            door: None,
            absence: Absence::default(),
            notes: VecDeque::new(),
            program,
            config: config.clone(),
            capabilities: udp.capabilities().clone(),
            udp,
            interface: chosen.name,
            ways,
            inflight: Inflight::new(),
            by_udp: Box::new([None; CAPACITY as usize]),
            tx_stamps: TxStamps::User,
            user_stamps: config.udp.stamps == StampRequest::User,
            tai: Tai::new(),
            tx_timeout: i64::from(config.udp.tx_timeout_ms) * 1_000_000,
            losses: Losses::default(),
            max_datagram: config.udp.max_datagram.max(1),
            number: 0,
            counters: Counters::default(),
            udp_ready: Cell::new(false),
            changed: Cell::new(false),
        };
        transport.enter(door);
        Ok(transport)
    }
}

//! Attaching the program, and opening a socket for each queue.

use std::cell::Cell;
use std::os::fd::AsFd;

use super::choose::choose;
use super::tai::Tai;
use super::ways::Ways;
use super::{MAX_QUEUES, TxStamps, XdpTransport};
use crate::nic;
use crate::stamp::Source;
use crate::transport::inflight::{CAPACITY, Inflight};
use crate::transport::tx::Losses;
use crate::transport::{Capabilities, Counters, StampRequest, UdpConfig, UdpTransport};
use crate::xdp::{AttachConfig, Attached, Copying, Socket, SocketConfig, XdpError};

/// How to open an [`XdpTransport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XdpConfig {
    /// The ordinary socket; where to listen, which stamps to use and how to wait hold for both.
    pub udp: UdpConfig,
    /// The interface; none for that of the default route.
    pub interface: Option<String>,
    /// Whether packets may be copied.
    pub copying: Copying,
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
            frames: 256,
        }
    }
}

impl XdpTransport {
    /// Attaches the program and opens the sockets. Needs `CAP_BPF`, `CAP_NET_ADMIN` and
    /// `CAP_NET_RAW` now, and nothing later.
    ///
    /// # Errors
    /// See [`XdpError`]; nothing is left attached then.
    pub fn open(config: &XdpConfig) -> Result<Self, XdpError> {
        let udp = UdpTransport::open(&config.udp).map_err(XdpError::Udp)?;
        let port = udp.local_addr().port();
        let chosen = choose(config.interface.as_deref())?;
        let abilities = nic::abilities(&chosen.name).ok();
        let phc = abilities.and_then(|abilities| abilities.phc);
        let user_stamps = config.udp.stamps == StampRequest::User;
        let hardware = !user_stamps && phc.is_some() && chosen.features.rx_stamps;
        let queues = nic::receive_queues(&chosen.name);
        let mut program = Attached::new(AttachConfig {
            name: &chosen.name,
            interface: chosen.index,
            port,
            queues,
            hardware,
        })?;
        let os = |what| move |error| XdpError::os(what, error);
        let ways = Ways::open(chosen.index, udp.local_addr())
            .map_err(os("watch routes and neighbours"))?;
        let addresses = ways
            .own_addresses()
            .map_err(os("list the addresses of this host"))?;
        program
            .set_addresses(&addresses)
            .map_err(os("tell the program our addresses"))?;
        let mut sockets = Vec::new();
        for queue in 0..queues.min(MAX_QUEUES as u32) {
            let socket = Socket::open(
                &chosen.name,
                SocketConfig {
                    interface: chosen.index,
                    queue,
                    copying: config.copying,
                    rx_frames: config.frames,
                    // Only the first sends; a ring of nothing there cannot be.
                    tx_frames: if queue == 0 { config.frames } else { 1 },
                    tx_stamps: !user_stamps && queue == 0,
                },
            )?;
            program.connect(queue, socket.as_fd())?;
            sockets.push(socket);
        }
        let stamped = sockets.first().is_some_and(Socket::has_tx_stamps);
        let zero_copy = sockets.first().is_some_and(Socket::is_zero_copy);
        let tx_stamps = match (stamped, zero_copy, phc) {
            (true, false, _) => TxStamps::Tai,
            (true, true, Some(phc)) if chosen.features.tx_stamps => TxStamps::Card(phc),
            _ => TxStamps::User,
        };
        let asks_card = program.asks_for_hardware_stamps();
        Ok(Self {
            program,
            sockets,
            capabilities: Capabilities {
                rx: match (user_stamps, asks_card) {
                    (true, _) => Source::User,
                    (false, true) => Source::Hardware,
                    (false, false) => Source::Xdp,
                },
                tx: match tx_stamps {
                    TxStamps::User => Source::User,
                    TxStamps::Tai => Source::Xdp,
                    TxStamps::Card(_) => Source::Hardware,
                },
                fallback: None,
            },
            udp,
            interface: chosen.name,
            ways,
            inflight: Inflight::new(),
            by_udp: Box::new([None; CAPACITY as usize]),
            tx_stamps,
            user_stamps,
            phc,
            tai: Tai::new(),
            tx_timeout: i64::from(config.udp.tx_timeout_ms) * 1_000_000,
            losses: Losses::default(),
            max_datagram: config.udp.max_datagram.max(1),
            number: 0,
            counters: Counters::default(),
            udp_ready: Cell::new(false),
            changed: Cell::new(false),
        })
    }
}

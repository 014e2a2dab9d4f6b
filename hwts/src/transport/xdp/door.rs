//! What is ours at the interface while it is there: the attached program, and a socket for each
//! queue.

use std::os::fd::AsFd;
use std::time::Duration;

use super::XdpConfig;
use super::choose::Chosen;
use crate::nic;
use crate::stamp::Source;
use crate::transport::StampRequest;
use crate::xdp::{AttachConfig, Attached, MAX_QUEUES, Program, Socket, SocketConfig, XdpError};

/// How sent packets get their stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TxStamps {
    /// From this process.
    User,
    /// From the kernel, in TAI.
    Tai,
    /// From the card.
    Card(u32),
}

impl TxStamps {
    pub(super) const fn source(self) -> Source {
        match self {
            Self::User => Source::User,
            Self::Tai => Source::Xdp,
            Self::Card(_) => Source::Hardware,
        }
    }
}

#[derive(Debug)]
pub(super) struct Door {
    // Dropped in this order: nothing is redirected to sockets that are closing.
    attached: Attached,
    pub(super) sockets: Vec<Socket>,
    /// The number of the interface.
    pub(super) interface: u32,
    /// The clock of its card.
    pub(super) phc: Option<u32>,
    /// How sent packets are to be stamped.
    pub(super) tx_stamps: TxStamps,
}

impl Door {
    /// Attaches the program, and opens a socket for each queue; waits no longer than `patience`
    /// for what was just left. Nothing stays attached if it fails.
    pub(super) fn open(
        program: &Program,
        chosen: &Chosen,
        config: &XdpConfig,
        patience: Duration,
    ) -> Result<Self, XdpError> {
        let name = chosen.name.as_str();
        let phc = nic::abilities(name)
            .ok()
            .and_then(|abilities| abilities.phc);
        let user_stamps = config.udp.stamps == StampRequest::User;
        let attached = program.attach(AttachConfig {
            name,
            interface: chosen.index,
            hardware: !user_stamps && phc.is_some() && chosen.features.rx_stamps,
            patience,
        })?;
        let mut sockets = Vec::new();
        for queue in 0..nic::receive_queues(name).min(MAX_QUEUES) {
            let socket = Socket::open(
                name,
                SocketConfig {
                    interface: chosen.index,
                    queue,
                    copying: config.copying,
                    rx_frames: config.frames,
                    // Only the first sends; a ring of nothing there cannot be.
                    tx_frames: if queue == 0 { config.frames } else { 1 },
                    tx_stamps: !user_stamps && queue == 0,
                    patience,
                },
            )?;
            program.connect(queue, socket.as_fd())?;
            sockets.push(socket);
        }
        let stamped = sockets.first().is_some_and(Socket::has_tx_stamps);
        let zero_copy = sockets.first().is_some_and(Socket::is_zero_copy);
        Ok(Self {
            attached,
            sockets,
            interface: chosen.index,
            phc,
            tx_stamps: match (stamped, zero_copy, phc) {
                (true, false, _) => TxStamps::Tai,
                (true, true, Some(phc)) if chosen.features.tx_stamps => TxStamps::Card(phc),
                _ => TxStamps::User,
            },
        })
    }

    /// Whether packets come and go without being copied.
    pub(super) fn is_zero_copy(&self) -> bool {
        self.sockets.iter().all(Socket::is_zero_copy)
    }

    /// Where received packets are stamped.
    pub(super) const fn rx_stamps(&self, user_stamps: bool) -> Source {
        match (user_stamps, self.attached.asks_for_hardware_stamps()) {
            (true, _) => Source::User,
            (false, true) => Source::Hardware,
            (false, false) => Source::Xdp,
        }
    }
}

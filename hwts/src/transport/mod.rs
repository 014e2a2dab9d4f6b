//! Datagrams with the instants at which they left and arrived.

mod any;
mod cards;
mod cmsg;
mod error;
mod inflight;
mod socket;
mod tx;
mod udp;
mod wait;
mod xdp;

pub use any::{AnyTransport, Transport};
pub use cards::{Card, CardFallback, CardNote, CardWish};
pub use error::{FallbackReason, TransportError};
pub use udp::UdpTransport;
pub use xdp::{XdpConfig, XdpNote, XdpTransport, suitable};

use std::net::SocketAddr;

use crate::stamp::{Source, Stamp};

/// Which stamps to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StampRequest {
    /// Those of the kernel, and where it has none those of this process.
    #[default]
    Kernel,
    /// Those of this process only.
    User,
}

/// How to wait for packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitMode {
    /// Sleep. With kernel stamps this costs no accuracy.
    #[default]
    Block,
    /// Look for packets without sleeping for that many microseconds, then sleep. Also asks the
    /// kernel to poll the device queue as long (`SO_BUSY_POLL`), where the driver can.
    BusyPoll {
        /// How long to look before sleeping, µs.
        micros: u32,
    },
    /// Never sleep: takes a whole CPU.
    Spin,
}

/// How to open a [`UdpTransport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpConfig {
    /// Where to listen. `[::]` takes IPv4 as well, and falls back to `0.0.0.0` on a host without
    /// IPv6. Port 0 takes a free one.
    pub local: SocketAddr,
    /// Which stamps to use.
    pub stamps: StampRequest,
    /// How to wait for packets.
    pub wait: WaitMode,
    /// Sleep in `poll(2)` and for whole milliseconds only, rounded up: some simulators of clocks know
    /// nothing else.
    pub whole_millis: bool,
    /// Longest datagram accepted, bytes; longer ones are dropped and counted.
    pub max_datagram: usize,
    /// Size of the kernel's receive buffer, bytes, if not the default. TX stamps wait in it too.
    pub receive_buffer: Option<u32>,
    /// Size of the kernel's send buffer, bytes, if not the default.
    pub send_buffer: Option<u32>,
    /// How long a TX stamp may take before it counts as lost, ms.
    pub tx_timeout_ms: u32,
}

impl UdpConfig {
    /// Kernel stamps, sleeping waits, and datagrams of up to 2048 bytes on `local`.
    pub const fn new(local: SocketAddr) -> Self {
        Self {
            local,
            stamps: StampRequest::Kernel,
            wait: WaitMode::Block,
            whole_millis: false,
            max_datagram: 2_048,
            receive_buffer: None,
            send_buffer: None,
            tx_timeout_ms: 50,
        }
    }
}

/// What stamps a transport delivers now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Where received packets are stamped.
    pub rx: Source,
    /// Where sent packets are stamped.
    pub tx: Source,
    /// Why that is worse than what was asked for; none if it is not.
    pub fallback: Option<FallbackReason>,
}

/// Names a sent packet until its stamp is known. Counts up by one with each packet sent, wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxToken(pub u32);

/// What became of the stamp of a sent packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxEvent {
    /// When it left.
    Stamped {
        /// The packet.
        token: TxToken,
        /// When it left.
        stamp: Stamp,
        /// The kernel's stamp of it beside the card's.
        beside: Option<Stamp>,
    },
    /// Nobody will ever know when it left.
    Lost {
        /// The packet.
        token: TxToken,
    },
}

/// A received datagram.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Who sent it; IPv4 senders are always shown as IPv4.
    pub from: SocketAddr,
    /// When it arrived.
    pub stamp: Stamp,
    /// The kernel's stamp of it beside the card's.
    pub beside: Option<Stamp>,
}

/// Why a wait ended. All false: the timeout passed or a signal arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// There are datagrams to receive.
    pub readable: bool,
    /// There are TX events to poll.
    pub tx: bool,
    /// The [`Wake`](crate::Wake) was used; it is quiet again.
    pub woken: bool,
}

/// Counters since the transport was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received.
    pub received: u64,
    /// Received datagrams with a stamp of a card.
    pub rx_hardware: u64,
    /// Received datagrams with a stamp of the kernel.
    pub rx_kernel: u64,
    /// Received datagrams with a stamp of our program at the driver.
    pub rx_xdp: u64,
    /// Received datagrams with a stamp of this process.
    pub rx_user: u64,
    /// Sent datagrams with a stamp of a card.
    pub tx_hardware: u64,
    /// Sent datagrams that a card was to stamp and did not; they have the kernel's stamp.
    pub tx_hardware_missed: u64,
    /// Sent datagrams that a card was not asked to stamp, since it was still to stamp others.
    pub tx_hardware_busy: u64,
    /// Sent datagrams with a stamp of the kernel.
    pub tx_kernel: u64,
    /// Sent datagrams stamped on their way past the kernel's network stack.
    pub tx_xdp: u64,
    /// Sent datagrams with a stamp of this process.
    pub tx_user: u64,
    /// Sent datagrams whose stamp never came.
    pub tx_lost: u64,
    /// Stamps that belong to no packet in flight: too late, or twice.
    pub tx_unmatched: u64,
    /// Datagrams dropped because they were longer than the buffer.
    pub truncated: u64,
    /// ICMP and other network errors reported to the socket.
    pub network_errors: u64,
    /// Times the count of packets was brought in step with the kernel's again.
    pub resyncs: u64,
}

impl Counters {
    fn count_rx(&mut self, source: Source) {
        *match source {
            Source::User => &mut self.rx_user,
            Source::Xdp => &mut self.rx_xdp,
            Source::Kernel => &mut self.rx_kernel,
            Source::Hardware => &mut self.rx_hardware,
        } += 1;
    }

    fn count_tx(&mut self, source: Source) {
        *match source {
            Source::User => &mut self.tx_user,
            Source::Xdp => &mut self.tx_xdp,
            Source::Kernel => &mut self.tx_kernel,
            Source::Hardware => &mut self.tx_hardware,
        } += 1;
    }
}

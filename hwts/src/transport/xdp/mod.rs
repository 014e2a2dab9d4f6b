//! UDP past the kernel's network stack, by AF_XDP on one interface, with an ordinary socket beside
//! it for everything else.

mod choose;
mod door;
mod follow;
mod frames;
mod open;
mod tai;
mod wait;
mod ways;

pub use choose::suitable;
pub use follow::XdpNote;
pub use open::XdpConfig;

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::any::Transport;
use super::inflight::{CAPACITY, Inflight};
use super::tx::Losses;
use super::{
    Capabilities, Counters, FallbackReason, Readiness, Received, TransportError, TxEvent, TxToken,
    UdpTransport,
};
use crate::stamp::{Domain, Source};
use crate::wake::Wake;
use crate::xdp::{Program, Socket, most_memory};
use door::{Door, TxStamps};
use follow::Absence;
use tai::Tai;
use ways::Ways;

/// Sends and receives frames at the driver's door, past the kernel's network stack (and its
/// firewall).
///
/// A small program at the interface hands us the datagrams to our port and our addresses, stamped;
/// all others go on to the kernel. Whom the kernel knows as a neighbour behind that interface, or
/// behind a VLAN on it, is sent frames; everybody else, and a neighbour of whom the kernel is no
/// longer sure, is sent to by the ordinary socket: so ARP, neighbour discovery and routing stay the
/// kernel's. What comes by other interfaces comes by that socket.
///
/// An interface that goes takes the program with it; all packets take the ordinary socket until one
/// of the same name is there, and the program is attached to that. What happens is told by
/// [`next_note`](Self::next_note).
///
/// Nothing blocks except [`wait`](Transport::wait). The program is detached when this is dropped,
/// and when the process ends in any other way.
#[derive(Debug)]
pub struct XdpTransport {
    /// None while the interface is gone.
    door: Option<Door>,
    absence: Absence,
    notes: VecDeque<XdpNote>,
    program: Program,
    config: XdpConfig,
    udp: UdpTransport,
    interface: String,
    ways: Ways,
    inflight: Inflight,
    /// Packets sent by the ordinary socket: its token and ours.
    by_udp: Box<[Option<(u32, TxToken)>; CAPACITY as usize]>,
    tx_stamps: TxStamps,
    user_stamps: bool,
    tai: Tai,
    tx_timeout: i64,
    losses: Losses,
    max_datagram: usize,
    /// Tells IPv4 packets apart.
    number: u16,
    capabilities: Capabilities,
    counters: Counters,
    /// The ordinary socket has something.
    udp_ready: Cell<bool>,
    /// Something changed on the way to others.
    changed: Cell<bool>,
}

impl XdpTransport {
    /// The ordinary socket.
    pub const fn udp(&self) -> &UdpTransport {
        &self.udp
    }

    /// The ordinary socket, to be told of cards.
    pub const fn udp_mut(&mut self) -> &mut UdpTransport {
        &mut self.udp
    }

    /// The interface whose frames it sends and receives.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Queues that have a socket; none while the interface is gone.
    pub fn queues(&self) -> usize {
        self.sockets().len()
    }

    /// Whether packets come and go without being copied.
    pub fn is_zero_copy(&self) -> bool {
        self.door.as_ref().is_some_and(Door::is_zero_copy)
    }

    /// The most memory that it ever locks, bytes: with as many queues as can be used.
    pub const fn most_memory(&self) -> usize {
        most_memory(self.config.frames)
    }

    fn sockets(&self) -> &[Socket] {
        self.door.as_ref().map_or(&[], |door| &door.sockets)
    }

    fn note_lost(&mut self, lost: u32) {
        if self.losses.add(lost, Domain::MonotonicRaw.now()) && self.tx_stamps != TxStamps::User {
            self.tx_stamps = TxStamps::User;
            self.capabilities.tx = Source::User;
            self.capabilities.fallback = Some(FallbackReason::TxStampsStopped);
        }
    }
}

impl Transport for XdpTransport {
    fn capabilities(&self) -> &Capabilities {
        match self.door {
            Some(_) => &self.capabilities,
            None => self.udp.capabilities(),
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.udp.local_addr()
    }

    fn counters(&self) -> Counters {
        let (ours, udp) = (&self.counters, self.udp.counters());
        Counters {
            received: ours.received + udp.received,
            rx_hardware: ours.rx_hardware + udp.rx_hardware,
            rx_kernel: udp.rx_kernel,
            rx_user: ours.rx_user + udp.rx_user,
            tx_hardware_missed: udp.tx_hardware_missed,
            tx_hardware_busy: udp.tx_hardware_busy,
            tx_unmatched: ours.tx_unmatched + udp.tx_unmatched,
            truncated: ours.truncated + udp.truncated,
            network_errors: ours.network_errors + udp.network_errors,
            resyncs: udp.resyncs,
            // What was sent is counted here whichever way it went.
            ..*ours
        }
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
        let token = self.queue(to, bytes)?;
        self.flush()?;
        Ok(token)
    }

    fn queue(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
        self.attend();
        self.counters.tx_lost += self.inflight.make_room();
        let canonical = SocketAddr::new(to.ip().to_canonical(), to.port());
        let to = if canonical.is_ipv4() { canonical } else { to };
        match self.queue_frame(to, bytes) {
            Some(token) => Ok(token),
            None => self.queue_udp(to, bytes),
        }
    }

    /// What leaves too late, since the interface is down, loses its stamp.
    fn flush(&mut self) -> Result<(), TransportError> {
        if let Some(door) = &mut self.door
            && let Some(socket) = door.sockets.first_mut()
            && socket.flush().is_err()
        {
            self.counters.network_errors += 1;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: impl FnMut(Received<'_>),
    ) -> Result<usize, TransportError> {
        self.take_in(budget, sink)
    }

    fn poll_tx(&mut self, sink: impl FnMut(TxEvent)) -> Result<usize, TransportError> {
        self.collect();
        self.collect_udp()?;
        if self.inflight.waiting() > 0 {
            let now = Domain::MonotonicRaw.now();
            self.inflight.expire(now - self.tx_timeout, |_, _| {});
        }
        let reported = self.inflight.report(&mut self.counters, sink);
        if reported.lost > 0 {
            self.note_lost(reported.lost);
        }
        Ok(reported.events)
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        self.wait_for(timeout, wake)
    }
}

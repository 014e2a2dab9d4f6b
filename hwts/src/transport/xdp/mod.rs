//! UDP past the kernel's network stack, by AF_XDP on one interface, with an ordinary socket beside
//! it for everything else.

mod choose;
mod tai;
mod wait;
mod ways;

pub use choose::{Suitable, suitable};

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use super::any::Transport;
use super::inflight::{CAPACITY, Inflight, Match};
use super::tx::Losses;
use super::{
    Capabilities, Counters, FallbackReason, Readiness, Received, StampRequest, TransportError,
    TxEvent, TxToken, UdpConfig, UdpTransport,
};
use crate::nic;
use crate::packet;
use crate::stamp::{Domain, Source, Stamp};
use crate::wake::Wake;
use crate::xdp::{
    AttachConfig, Attached, Copying, Metadata, RxFrame, Socket, SocketConfig, XdpError,
};
use choose::choose;
use tai::Tai;
use ways::Ways;

/// Queues that get a socket at most; packets of further ones come by the ordinary socket.
const MAX_QUEUES: usize = 32;

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

/// How sent packets get their stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TxStamps {
    /// From this process.
    User,
    /// From the kernel, in TAI.
    Tai,
    /// From the card.
    Card(u32),
}

/// Sends and receives frames at the driver's door, past the kernel's network stack (and its
/// firewall).
///
/// A small program at the interface hands us the datagrams to our port and our addresses, stamped;
/// all others go on to the kernel. Whom the kernel knows as a neighbour behind that interface, or
/// behind a VLAN on it, is sent frames; everybody else, and a neighbour of whom the kernel is no
/// longer sure, is sent to by the ordinary socket: so ARP, neighbour discovery and routing stay the
/// kernel's. What comes by other interfaces comes by that socket.
///
/// Nothing blocks except [`wait`](Transport::wait). The program is detached when this is dropped,
/// and when the process ends in any other way.
#[derive(Debug)]
pub struct XdpTransport {
    // Dropped in this order: nothing is redirected to sockets that are closing.
    program: Attached,
    sockets: Vec<Socket>,
    udp: UdpTransport,
    interface: String,
    ways: Ways,
    inflight: Inflight,
    /// Packets that fell out of the table, not reported yet.
    fallen: VecDeque<TxToken>,
    /// Packets sent by the ordinary socket: its token and ours.
    by_udp: Box<[Option<(u32, TxToken)>; CAPACITY as usize]>,
    tx_stamps: TxStamps,
    user_stamps: bool,
    phc: Option<u32>,
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
            fallen: VecDeque::with_capacity(CAPACITY as usize),
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

    /// Queues that have a socket.
    pub const fn queues(&self) -> usize {
        self.sockets.len()
    }

    /// Whether packets come and go without being copied.
    pub fn is_zero_copy(&self) -> bool {
        self.sockets.iter().all(Socket::is_zero_copy)
    }

    /// Takes in what changed on the way to others, if anything did.
    fn attend(&mut self) {
        if self.changed.take() && self.ways.attend() {
            // What the program does not hear of comes by the ordinary socket.
            if let Ok(addresses) = self.ways.own_addresses() {
                let _ = self.program.set_addresses(&addresses);
            }
        }
    }

    /// Sends by a frame; none if that is the kernel's to do.
    fn queue_frame(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<TxToken> {
        let before = Stamp::user_now();
        let frame = self.ways.find(to, bytes.len(), before.nanos)?;
        let token = self.inflight.next_token();
        let number = self.number;
        let socket = self.sockets.first_mut()?;
        if !socket.queue(token.0, |room| frame.write(room, bytes, number)) {
            // Perhaps some that were sent are still to be taken back.
            self.collect();
            let socket = self.sockets.first_mut()?;
            if !socket.queue(token.0, |room| frame.write(room, bytes, number)) {
                return None;
            }
        }
        self.number = number.wrapping_add(1);
        self.counters.sent += 1;
        Some(match self.tx_stamps {
            TxStamps::User => self.inflight.sent_with(before, true),
            TxStamps::Tai | TxStamps::Card(_) => self.inflight.sent(before.nanos, None),
        })
    }

    fn queue_udp(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
        let now = Domain::MonotonicRaw.now();
        let theirs = self.udp.send(to, bytes)?.0;
        self.counters.sent += 1;
        let ours = self.inflight.sent(now, None);
        self.by_udp[(theirs % CAPACITY) as usize] = Some((theirs, ours));
        Ok(ours)
    }

    /// Takes the stamps of frames that were sent.
    fn collect(&mut self) {
        let Self {
            sockets,
            inflight,
            tai,
            tx_stamps,
            counters,
            losses,
            ..
        } = self;
        let Some(socket) = sockets
            .first_mut()
            .filter(|socket| socket.has_completions())
        else {
            return;
        };
        let sure = *tx_stamps != TxStamps::Tai || tai.refresh();
        socket.completions(|token, nanos| {
            let stamp = nanos.filter(|_| sure).and_then(|nanos| match *tx_stamps {
                TxStamps::User => None,
                TxStamps::Tai => tai.stamp(nanos),
                TxStamps::Card(phc) => card_stamp(phc, nanos),
            });
            let Some(stamp) = stamp else { return };
            match inflight.stamped(token, stamp) {
                Match::Packet => *losses = Losses::default(),
                Match::None | Match::OutOfStep => counters.tx_unmatched += 1,
            }
        });
    }

    fn collect_udp(&mut self) -> Result<(), TransportError> {
        let Self {
            udp,
            inflight,
            by_udp,
            ..
        } = self;
        udp.poll_tx(|event| {
            let TxEvent::Stamped { token, stamp, .. } = event else {
                // It has been with us as long, and times out here as well.
                return;
            };
            let entry = &mut by_udp[(token.0 % CAPACITY) as usize];
            if let Some((_, ours)) = entry.take_if(|(theirs, _)| *theirs == token.0) {
                inflight.stamped(ours.0, stamp);
            }
        })
        .map(drop)
    }

    fn note_lost(&mut self, lost: u32) {
        self.counters.tx_lost += u64::from(lost);
        if self.losses.add(lost, Domain::MonotonicRaw.now()) && self.tx_stamps != TxStamps::User {
            self.tx_stamps = TxStamps::User;
            self.capabilities.tx = Source::User;
            self.capabilities.fallback = Some(FallbackReason::TxStampsStopped);
        }
    }

    fn next_event(&mut self) -> Option<TxEvent> {
        match self.fallen.pop_front() {
            Some(token) => Some(TxEvent::Lost { token }),
            None => self.inflight.next_event(),
        }
    }
}

impl Transport for XdpTransport {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
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
        if let Some(token) = self.inflight.make_room() {
            if self.fallen.len() == CAPACITY as usize {
                // Nobody polls; one event less, but not one count less.
                self.fallen.pop_front();
                self.counters.tx_lost += 1;
            }
            self.fallen.push_back(token);
        }
        let canonical = SocketAddr::new(to.ip().to_canonical(), to.port());
        let to = if canonical.is_ipv4() { canonical } else { to };
        match self.queue_frame(to, bytes) {
            Some(token) => Ok(token),
            None => self.queue_udp(to, bytes),
        }
    }

    /// What leaves too late, since the interface is down, loses its stamp.
    fn flush(&mut self) -> Result<(), TransportError> {
        if let Some(socket) = self.sockets.first_mut()
            && socket.flush().is_err()
        {
            self.counters.network_errors += 1;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        budget: usize,
        mut sink: impl FnMut(Received<'_>),
    ) -> Result<usize, TransportError> {
        self.attend();
        let Self {
            sockets,
            udp,
            ways,
            tai,
            counters,
            max_datagram,
            user_stamps,
            phc,
            ..
        } = self;
        let mut taken = 0;
        let mut sure = None;
        for socket in sockets {
            if !socket.has_frames() {
                continue;
            }
            let sure = *sure.get_or_insert_with(|| tai.refresh());
            taken += socket.receive(budget - taken, |RxFrame { bytes, metadata }| {
                let Some(datagram) = packet::parse(bytes) else {
                    return;
                };
                if datagram.bytes.len() > *max_datagram {
                    counters.truncated += 1;
                    return;
                }
                let metadata = metadata.filter(|_| !*user_stamps);
                let hook = metadata
                    .filter(|_| sure)
                    .and_then(|metadata| tai.stamp(metadata.hook));
                let card = metadata.and_then(|metadata| card_of(metadata, *phc));
                let (stamp, beside) = match card {
                    Some(card) => (card, hook),
                    None => (hook.unwrap_or_else(Stamp::user_now), None),
                };
                counters.received += 1;
                counters.count_rx(stamp.source);
                sink(Received {
                    bytes: datagram.bytes,
                    from: scoped(datagram.ends.from, || ways.scope(datagram.vlan)),
                    stamp,
                    beside,
                });
            });
        }
        // Looking costs a system call, so under load only if there is something.
        if taken < budget && (taken == 0 || self.udp_ready.take()) {
            taken += udp.receive(budget - taken, sink)?;
        }
        Ok(taken)
    }

    fn poll_tx(&mut self, mut sink: impl FnMut(TxEvent)) -> Result<usize, TransportError> {
        self.collect();
        self.collect_udp()?;
        if self.inflight.waiting() > 0 {
            let now = Domain::MonotonicRaw.now();
            self.inflight.expire(now - self.tx_timeout, |_, _| {});
        }
        let (mut events, mut lost) = (0, 0);
        while let Some(event) = self.next_event() {
            match event {
                TxEvent::Stamped { stamp, .. } => self.counters.count_tx(stamp.source),
                TxEvent::Lost { .. } => lost += 1,
            }
            sink(event);
            events += 1;
        }
        if lost > 0 {
            self.note_lost(lost);
        }
        Ok(events)
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        self.wait_for(timeout, wake)
    }
}

fn card_stamp(phc: u32, nanos: u64) -> Option<Stamp> {
    Some(Stamp {
        nanos: i64::try_from(nanos).ok().filter(|nanos| *nanos != 0)?,
        domain: Domain::Phc(phc),
        source: Source::Hardware,
    })
}

fn card_of(metadata: Metadata, phc: Option<u32>) -> Option<Stamp> {
    (metadata.hardware_result == 0)
        .then(|| card_stamp(phc?, metadata.hardware))
        .flatten()
}

/// Link-local addresses mean something on one interface only.
fn scoped(from: SocketAddr, interface: impl FnOnce() -> u32) -> SocketAddr {
    match from {
        SocketAddr::V6(mut v6) if v6.ip().is_unicast_link_local() => {
            v6.set_scope_id(interface());
            v6.into()
        }
        _ => from,
    }
}

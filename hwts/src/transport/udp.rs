//! UDP with `SO_TIMESTAMPING` (Documentation/networking/timestamping.rst).

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::inflight::{CAPACITY, Inflight, Match};
use super::{
    Capabilities, Counters, FallbackReason, Readiness, Received, StampRequest, TransportError,
    TxEvent, TxToken, UdpConfig, WaitMode, cmsg,
};
use crate::stamp::{Domain, Source, Stamp};
use crate::sys::{self, ControlBuffer, SockAddr};
use crate::wake::Wake;

/// Stamps of the kernel both ways, TX stamps alone (no copy of the packet) on the error queue.
const FLAGS: u32 = libc::SOF_TIMESTAMPING_TX_SOFTWARE
    | libc::SOF_TIMESTAMPING_RX_SOFTWARE
    | libc::SOF_TIMESTAMPING_SOFTWARE
    | libc::SOF_TIMESTAMPING_OPT_TSONLY;
/// Numbers the TX stamps; the count starts from 0 whenever this is turned on.
const NUMBERED: u32 = FLAGS | libc::SOF_TIMESTAMPING_OPT_ID;

/// That many TX stamps lost in a row, over at least [`STOPPED_NANOS`], mean that none will come.
const STOPPED_COUNT: u32 = 16;
const STOPPED_NANOS: i64 = 10_000_000_000;

/// A UDP socket that says when its datagrams left and arrived.
///
/// Nothing blocks except [`wait`](Self::wait); nothing allocates after
/// [`open`](Self::open). Received datagrams are stamped with `CLOCK_REALTIME` by the kernel, or
/// with `CLOCK_MONOTONIC_RAW` by this process if the kernel does not; so are those sent, for which
/// the stamp comes later as a [`TxEvent`].
#[derive(Debug)]
pub struct UdpTransport {
    fd: OwnedFd,
    ipv6: bool,
    local: SocketAddr,
    wait: WaitMode,
    capabilities: Capabilities,
    /// The kernel counts sent packets, so its stamps can be matched even while they are not used.
    numbered: bool,
    inflight: Inflight,
    /// Packets that fell out of the table, not reported yet.
    fallen: VecDeque<TxToken>,
    tx_timeout: i64,
    lost_in_row: u32,
    last_tx_stamp: i64,
    out_of_step: bool,
    /// Until this raw instant kernel stamps may belong to packets from before a new count.
    kernel_tx_from: i64,
    counters: Counters,
    error_seen: Cell<bool>,
    bytes: Box<[u8]>,
    control: Box<ControlBuffer>,
}

impl UdpTransport {
    /// Opens a socket. Stamps that are not to be had are replaced by worse ones; see
    /// [`capabilities`](Self::capabilities).
    ///
    /// # Errors
    /// [`TransportError::Bind`] and [`TransportError::Socket`].
    pub fn open(config: &UdpConfig) -> Result<Self, TransportError> {
        let (fd, local) = open_bound(config)?;
        set_hints(fd.as_fd(), config);
        let mut transport = Self {
            ipv6: local.is_ipv6(),
            local: sys::local_addr(fd.as_fd()).unwrap_or(local),
            fd,
            wait: config.wait,
            capabilities: Capabilities {
                rx: Source::User,
                tx: Source::User,
                fallback: None,
            },
            numbered: false,
            inflight: Inflight::new(),
            fallen: VecDeque::with_capacity(CAPACITY as usize),
            tx_timeout: i64::from(config.tx_timeout_ms) * 1_000_000,
            lost_in_row: 0,
            last_tx_stamp: Domain::MonotonicRaw.now(),
            out_of_step: false,
            kernel_tx_from: i64::MIN,
            counters: Counters::default(),
            error_seen: Cell::new(false),
            bytes: vec![0; config.max_datagram.max(1)].into_boxed_slice(),
            control: Box::new(ControlBuffer([0; 512])),
        };
        if config.stamps == StampRequest::Kernel {
            transport.ask_for_stamps();
        }
        Ok(transport)
    }

    /// What stamps come, and why not better ones. May change while running: TX stamps that stop
    /// coming are replaced by user stamps until they come again.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What happened since it was opened.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sends one datagram. Its stamp comes through [`poll_tx`](Self::poll_tx) under the token,
    /// usually at once.
    ///
    /// # Errors
    /// [`TransportError::Send`] if the kernel refused this datagram, [`TransportError::WrongFamily`]
    /// if the socket cannot reach such an address. No token is used up then.
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
        if let Some(token) = self.inflight.make_room() {
            if self.fallen.len() == CAPACITY as usize {
                // Nobody polls; one event less, but not one count less.
                self.fallen.pop_front();
                self.counters.tx_lost += 1;
            }
            self.fallen.push_back(token);
        }
        let addr = match (self.ipv6, to.is_ipv6()) {
            (false, true) => return Err(TransportError::WrongFamily { to }),
            (true, false) => sys::to_v6(to),
            _ => to,
        };
        let addr = SockAddr::from(addr);
        let before = Stamp::user_now();
        if let Err(error) = sys::send_to(self.fd.as_fd(), bytes, &addr) {
            self.after_failed_send(&error);
            return Err(TransportError::Send { to, error });
        }
        self.counters.sent += 1;
        let kernel = self.capabilities.tx == Source::Kernel && before.nanos >= self.kernel_tx_from;
        Ok(if kernel {
            self.inflight.sent(before.nanos)
        } else {
            self.inflight.sent_with(before, self.numbered)
        })
    }

    /// Reports the stamps of sent datagrams, and those that will never come. Returns how many.
    ///
    /// Reads the kernel's error queue only while a stamp is awaited, so it costs next to nothing
    /// when there is nothing to know.
    ///
    /// # Errors
    /// [`TransportError::Receive`] if the socket cannot be read at all.
    pub fn poll_tx(&mut self, mut sink: impl FnMut(TxEvent)) -> Result<usize, TransportError> {
        let stopped = self.capabilities.fallback == Some(FallbackReason::TxStampsStopped);
        if self.inflight.waiting() > 0 || self.error_seen.get() || stopped {
            self.drain_error_queue()?;
        }
        if self.inflight.waiting() > 0 {
            let now = Domain::MonotonicRaw.now();
            self.inflight.expire(now - self.tx_timeout);
        }
        let (mut events, mut lost) = (0, 0);
        while let Some(event) = self.next_event() {
            match event {
                TxEvent::Stamped { stamp, .. } => match stamp.source {
                    Source::Kernel => self.counters.tx_kernel += 1,
                    Source::User => self.counters.tx_user += 1,
                },
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

    /// Hands up to `budget` waiting datagrams to `sink`. Returns how many were taken from the
    /// socket, those dropped included: fewer than `budget` means that none is left.
    ///
    /// # Errors
    /// [`TransportError::Receive`] if the socket cannot be read at all.
    pub fn receive(
        &mut self,
        budget: usize,
        mut sink: impl FnMut(Received<'_>),
    ) -> Result<usize, TransportError> {
        let mut taken = 0;
        while taken < budget {
            let message =
                match sys::recv_message(self.fd.as_fd(), &mut self.bytes, &mut self.control, 0) {
                    Ok(message) => message,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) if is_network_error(&e) => {
                        self.counters.network_errors += 1;
                        taken += 1;
                        continue;
                    }
                    Err(e) => return Err(TransportError::Receive(e)),
                };
            taken += 1;
            if message.flags & libc::MSG_TRUNC != 0 {
                self.counters.truncated += 1;
                continue;
            }
            let Some(from) = message.from else {
                continue;
            };
            let kernel = cmsg::parse(&self.control.0[..message.control_len]).kernel;
            let stamp = match kernel {
                Some(nanos) if self.capabilities.rx == Source::Kernel => kernel_stamp(nanos),
                _ => Stamp::user_now(),
            };
            self.counters.received += 1;
            match stamp.source {
                Source::Kernel => self.counters.rx_kernel += 1,
                Source::User => self.counters.rx_user += 1,
            }
            sink(Received {
                bytes: &self.bytes[..message.len],
                from,
                stamp,
            });
        }
        Ok(taken)
    }

    /// Waits for datagrams, TX stamps, a wake or the timeout (none: for ever), in the mode it was
    /// opened with. A sleeping wait is rounded up to whole milliseconds. A signal ends it early.
    ///
    /// # Errors
    /// [`TransportError::Wait`] if the socket is unusable.
    pub fn wait(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let start = Domain::MonotonicRaw.now();
        let total = timeout.map_or(i64::MAX, |t| {
            i64::try_from(t.as_nanos()).unwrap_or(i64::MAX)
        });
        let spin = match self.wait {
            WaitMode::Block => 0,
            WaitMode::BusyPoll { micros } => i64::from(micros).saturating_mul(1_000).min(total),
            WaitMode::Spin => total,
        };
        let mut elapsed = 0;
        while elapsed < spin {
            let ready = self.poll_once(0, wake)?;
            if ready != Readiness::default() {
                return Ok(ready);
            }
            std::hint::spin_loop();
            elapsed = Domain::MonotonicRaw.now().saturating_sub(start);
        }
        let left = match timeout {
            None => -1,
            Some(_) => {
                let millis = (total - elapsed).max(0).saturating_add(999_999) / 1_000_000;
                libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX)
            }
        };
        self.poll_once(left, wake)
    }

    fn poll_once(
        &self,
        timeout_ms: libc::c_int,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let entry = |fd: BorrowedFd<'_>, events| libc::pollfd {
            fd: fd.as_raw_fd(),
            events,
            revents: 0,
        };
        let socket = entry(self.fd.as_fd(), libc::POLLIN | libc::POLLPRI);
        let mut fds = [
            socket,
            wake.map_or(socket, |w| entry(w.as_fd(), libc::POLLIN)),
        ];
        let used = if wake.is_some() { 2 } else { 1 };
        match sys::poll(&mut fds[..used], timeout_ms) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Readiness::default()),
            Err(e) => return Err(TransportError::Wait(e)),
        }
        let events = fds[0].revents;
        if events & libc::POLLNVAL != 0 {
            return Err(TransportError::Wait(io::Error::from_raw_os_error(
                libc::EBADF,
            )));
        }
        // The kernel shows its error queue as POLLERR, asked for or not; simulators as POLLPRI.
        let queued = events & (libc::POLLERR | libc::POLLPRI) != 0;
        if queued {
            self.error_seen.set(true);
        }
        Ok(Readiness {
            readable: events & libc::POLLIN != 0,
            tx: queued,
            woken: wake.is_some_and(|w| fds[1].revents != 0 && w.take()),
        })
    }

    fn next_event(&mut self) -> Option<TxEvent> {
        match self.fallen.pop_front() {
            Some(token) => Some(TxEvent::Lost { token }),
            None => self.inflight.next_event(),
        }
    }

    fn ask_for_stamps(&mut self) {
        let fd = self.fd.as_fd();
        let refused = |e: io::Error| FallbackReason::Refused {
            errno: e.raw_os_error().unwrap_or(0),
        };
        match set_timestamping(fd, NUMBERED) {
            Ok(()) => {
                self.capabilities.rx = Source::Kernel;
                self.capabilities.tx = Source::Kernel;
                self.numbered = true;
            }
            Err(first) => {
                let rx = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
                self.capabilities.fallback = Some(match set_timestamping(fd, rx) {
                    Ok(()) => {
                        self.capabilities.rx = Source::Kernel;
                        FallbackReason::TxStampsUnidentified {
                            errno: first.raw_os_error().unwrap_or(0),
                        }
                    }
                    Err(e) => refused(e),
                });
            }
        }
    }

    fn drain_error_queue(&mut self) -> Result<(), TransportError> {
        // The packet comes back cut to nothing (OPT_TSONLY); ICMP errors bring some of theirs.
        let mut bytes = [0; 64];
        let mut read_any = false;
        // Bounded, since a flood of ICMP errors must not keep us here.
        for _ in 0..4 * CAPACITY {
            let message = match sys::recv_message(
                self.fd.as_fd(),
                &mut bytes,
                &mut self.control,
                libc::MSG_ERRQUEUE,
            ) {
                Ok(message) => message,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if is_network_error(&e) => {
                    self.counters.network_errors += 1;
                    continue;
                }
                Err(e) => return Err(TransportError::Receive(e)),
            };
            read_any = true;
            let control = cmsg::parse(&self.control.0[..message.control_len]);
            if control.network_error {
                self.counters.network_errors += 1;
            }
            if let (Some(nanos), Some(id)) = (control.kernel, control.id) {
                self.note_stamp(id, nanos);
            }
            if self.inflight.waiting() == 0 {
                break;
            }
        }
        if self.error_seen.take() && !read_any {
            // An error is pending without anything on the queue: unless it is taken, every later
            // wait would return at once.
            let pending = sys::take_error(self.fd.as_fd()).map_err(TransportError::Receive)?;
            self.counters.network_errors += u64::from(pending != 0);
        }
        Ok(())
    }

    fn note_stamp(&mut self, id: u32, nanos: i64) {
        match self.inflight.stamped(id, kernel_stamp(nanos)) {
            Match::Packet => {
                self.lost_in_row = 0;
                self.last_tx_stamp = Domain::MonotonicRaw.now();
                return;
            }
            Match::None => {}
            Match::OutOfStep => self.out_of_step = true,
        }
        if self.capabilities.fallback == Some(FallbackReason::TxStampsStopped) {
            // They come again.
            self.capabilities.tx = Source::Kernel;
            self.capabilities.fallback = None;
            self.lost_in_row = 0;
            self.last_tx_stamp = Domain::MonotonicRaw.now();
        } else {
            self.counters.tx_unmatched += 1;
        }
    }

    fn note_lost(&mut self, lost: u32) {
        self.counters.tx_lost += u64::from(lost);
        self.lost_in_row = self.lost_in_row.saturating_add(lost);
        if self.out_of_step {
            self.resync();
        }
        if self.lost_in_row >= STOPPED_COUNT
            && Domain::MonotonicRaw
                .now()
                .saturating_sub(self.last_tx_stamp)
                > STOPPED_NANOS
            && self.capabilities.tx == Source::Kernel
        {
            self.capabilities.tx = Source::User;
            self.capabilities.fallback = Some(FallbackReason::TxStampsStopped);
        }
    }

    /// A refused packet may have been counted by the kernel (it was, if it got as far as a queue)
    /// or not (no route, bad address). Where that is open, counting starts anew.
    fn after_failed_send(&mut self, error: &io::Error) {
        let uncounted = matches!(
            error.raw_os_error(),
            Some(
                libc::ENETUNREACH
                    | libc::EHOSTUNREACH
                    | libc::EADDRNOTAVAIL
                    | libc::EAFNOSUPPORT
                    | libc::EDESTADDRREQ
                    | libc::EACCES
                    | libc::EINVAL
            )
        );
        if self.numbered && !uncounted {
            self.resync();
        }
    }

    fn resync(&mut self) {
        self.out_of_step = false;
        // What has come already can still be matched.
        if self.drain_error_queue().is_err() {
            return;
        }
        let fd = self.fd.as_fd();
        match set_timestamping(fd, FLAGS).and_then(|()| set_timestamping(fd, NUMBERED)) {
            Ok(()) => {
                self.counters.resyncs += 1;
                if self.inflight.waiting() > 0 {
                    // Their stamps may still come, under numbers that are used again now.
                    self.kernel_tx_from = Domain::MonotonicRaw.now() + self.tx_timeout;
                }
            }
            Err(e) => {
                self.numbered = false;
                self.capabilities.tx = Source::User;
                self.capabilities.fallback = Some(FallbackReason::TxStampsUnidentified {
                    errno: e.raw_os_error().unwrap_or(0),
                });
            }
        }
        self.inflight.restart();
    }
}

impl AsFd for UdpTransport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open_bound(config: &UdpConfig) -> Result<(OwnedFd, SocketAddr), TransportError> {
    let local = config.local;
    match bound_socket(local) {
        Err(_) if local.is_ipv6() && local.ip().is_unspecified() => {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local.port());
            bound_socket(v4).map(|fd| (fd, v4))
        }
        result => result.map(|fd| (fd, local)),
    }
}

fn bound_socket(local: SocketAddr) -> Result<OwnedFd, TransportError> {
    let fd = sys::udp_socket(local).map_err(TransportError::Socket)?;
    if local.is_ipv6() && local.ip().is_unspecified() {
        sys::set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)
            .map_err(TransportError::Socket)?;
    }
    sys::bind(fd.as_fd(), local).map_err(|error| TransportError::Bind { local, error })?;
    Ok(fd)
}

/// Options that are wishes: the transport works without.
fn set_hints(fd: BorrowedFd<'_>, config: &UdpConfig) {
    let limit = |v: u32| libc::c_int::try_from(v).unwrap_or(libc::c_int::MAX);
    let wishes = [
        (libc::SO_RCVBUF, config.receive_buffer),
        (libc::SO_SNDBUF, config.send_buffer),
        (
            libc::SO_BUSY_POLL,
            match config.wait {
                WaitMode::BusyPoll { micros } => Some(micros),
                WaitMode::Block | WaitMode::Spin => None,
            },
        ),
    ];
    for (name, value) in wishes {
        if let Some(value) = value {
            let _ = sys::set_option(fd, libc::SOL_SOCKET, name, limit(value));
        }
    }
}

fn set_timestamping(fd: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    sys::set_option(
        fd,
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMPING,
        flags.cast_signed(),
    )
}

fn kernel_stamp(nanos: i64) -> Stamp {
    Stamp {
        nanos,
        domain: Domain::Realtime,
        source: Source::Kernel,
    }
}

/// What ICMP messages about earlier packets turn into.
fn is_network_error(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::ENONET
        )
    )
}

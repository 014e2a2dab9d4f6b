//! UDP with `SO_TIMESTAMPING` (Documentation/networking/timestamping.rst).

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::cards::Cards;
use super::inflight::Inflight;
use super::socket::{
    HARDWARE, NUMBERED, is_network_error, kernel_stamp, open_bound, set_hints, set_timestamping,
    tell_interface,
};
use super::tx::Losses;
use super::wait::{Patience, Waiting, entry, poll};
use super::{
    Capabilities, Card, CardNote, CardWish, Counters, FallbackReason, Readiness, Received,
    StampRequest, TransportError, TxToken, UdpConfig, cmsg,
};
use crate::stamp::{Domain, Source, Stamp};
use crate::sys::{self, ControlBuffer, SockAddr};
use crate::wake::Wake;

/// A UDP socket that says when its datagrams left and arrived.
///
/// Nothing blocks except [`wait`](Self::wait); nothing allocates after
/// [`open`](Self::open), except when interfaces change. Received datagrams are stamped with `CLOCK_REALTIME` by the kernel, or
/// with `CLOCK_MONOTONIC_RAW` by this process if the kernel does not; so are those sent, for which
/// the stamp comes later as a [`TxEvent`](super::TxEvent). With [`use_cards`](Self::use_cards)
/// network cards stamp where they can, on clocks of their own.
#[derive(Debug)]
pub struct UdpTransport {
    pub(super) fd: OwnedFd,
    pub(super) ipv6: bool,
    pub(super) local: SocketAddr,
    pub(super) wait: Waiting,
    pub(super) capabilities: Capabilities,
    /// What `SO_TIMESTAMPING` was set to.
    pub(super) flags: u32,
    /// The cards whose stamps are used, if any are to be.
    pub(super) cards: Option<Box<Cards>>,
    /// The kernel counts sent packets, so its stamps can be matched even while they are not used.
    pub(super) numbered: bool,
    pub(super) inflight: Inflight,
    pub(super) tx_timeout: i64,
    pub(super) losses: Losses,
    pub(super) out_of_step: bool,
    /// Until this raw instant kernel stamps may belong to packets from before a new count.
    pub(super) kernel_tx_from: i64,
    pub(super) counters: Counters,
    pub(super) error_seen: Cell<bool>,
    pub(super) bytes: Box<[u8]>,
    pub(super) control: Box<ControlBuffer>,
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
            wait: Waiting {
                mode: config.wait,
                whole_millis: config.whole_millis,
            },
            capabilities: Capabilities {
                rx: Source::User,
                tx: Source::User,
                fallback: None,
            },
            flags: NUMBERED,
            cards: None,
            numbered: false,
            inflight: Inflight::new(),
            tx_timeout: i64::from(config.tx_timeout_ms) * 1_000_000,
            losses: Losses::default(),
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

    /// From now on takes the stamps of network cards where they can be had, and has cards stamp that
    /// do not yet: that needs `CAP_NET_ADMIN`, without which they are used as they are set up.
    /// Packets of other interfaces keep the kernel's stamps. What is and what is not used, and why,
    /// is told by [`next_card_note`](Self::next_card_note).
    ///
    /// Stamps of a card are on its own clock: see
    /// [`PhcConverter`](crate::clock::PhcConverter).
    ///
    /// # Errors
    /// The kernel does not tell what interfaces there are, or takes no stamps of cards. The
    /// transport stays usable without.
    pub fn use_cards(&mut self, wishes: Vec<CardWish>) -> io::Result<()> {
        if !self.numbered {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let cards = Cards::open(wishes, self.local.port())?;
        let fd = self.fd.as_fd();
        tell_interface(fd, self.ipv6)?;
        // Numbering goes on, since it was on before.
        set_timestamping(fd, NUMBERED | HARDWARE)?;
        self.flags = NUMBERED | HARDWARE;
        self.cards = Some(Box::new(cards));
        Ok(())
    }

    /// The cards whose stamps are used.
    pub fn cards(&self) -> &[Card] {
        self.cards.as_ref().map_or(&[], |cards| cards.cards())
    }

    /// Looks whether interfaces have changed; call it now and then, between packets. Most calls
    /// return at once.
    pub fn attend_cards(&mut self) {
        if let Some(cards) = &mut self.cards {
            cards.attend(Domain::MonotonicRaw.now());
        }
    }

    /// What happened to a card, once; ask until there is nothing more.
    pub fn next_card_note(&mut self) -> Option<CardNote> {
        self.cards.as_mut()?.next_note()
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
        if self.inflight.waiting() > 0 && self.cards.is_some() {
            // A card may have come round to the last packet meanwhile.
            self.drain_error_queue()?;
        }
        self.counters.tx_lost += self.inflight.make_room();
        let addr = match (self.ipv6, to.is_ipv6()) {
            (false, true) => return Err(TransportError::WrongFamily { to }),
            (true, false) => sys::to_v6(to),
            _ => to,
        };
        let addr = SockAddr::from(addr);
        let (card, busy) = match &mut self.cards {
            Some(cards) => {
                let now = Domain::MonotonicRaw.now();
                cards.choose(to, self.inflight.awaited(), now)
            }
            None => (None, false),
        };
        // A card that is asked for more stamps than it has registers loses some, and others' too.
        let flags = busy.then_some(libc::SOF_TIMESTAMPING_TX_SOFTWARE);
        self.counters.tx_hardware_busy += u64::from(busy);
        let before = Stamp::user_now();
        if let Err(error) = sys::send_to(self.fd.as_fd(), bytes, &addr, flags) {
            self.after_failed_send(&error);
            return Err(TransportError::Send { to, error });
        }
        self.counters.sent += 1;
        let kernel = self.capabilities.tx == Source::Kernel && before.nanos >= self.kernel_tx_from;
        Ok(if kernel {
            self.inflight.sent(before.nanos, card)
        } else {
            self.inflight.sent_with(before, self.numbered)
        })
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
            let control = cmsg::parse(&self.control.0[..message.control_len]);
            let kernel = control
                .kernel
                .filter(|_| self.capabilities.rx == Source::Kernel)
                .map(kernel_stamp);
            let card = self
                .cards
                .as_mut()
                .and_then(|cards| cards.received(&control));
            let (stamp, beside) = match (card, kernel) {
                (Some(card), beside) => (card, beside),
                (None, Some(kernel)) => (kernel, None),
                (None, None) => (Stamp::user_now(), None),
            };
            self.counters.received += 1;
            self.counters.count_rx(stamp.source);
            sink(Received {
                bytes: &self.bytes[..message.len],
                from,
                stamp,
                beside,
            });
        }
        Ok(taken)
    }

    /// Waits for datagrams, TX stamps, a wake or the timeout (none: for ever), in the mode it was
    /// opened with. A signal ends it early.
    ///
    /// # Errors
    /// [`TransportError::Wait`] if the socket is unusable.
    pub fn wait(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let patience = Patience::new(self.wait, timeout);
        if let Some(ready) = patience.look(|| self.poll_once(Some(Duration::ZERO), wake))? {
            return Ok(ready);
        }
        self.poll_once(patience.left(), wake)
    }

    fn poll_once(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let socket = self.poll_entry();
        let mut fds = [
            socket,
            wake.map_or(socket, |w| entry(w.as_fd(), libc::POLLIN)),
        ];
        let used = if wake.is_some() { 2 } else { 1 };
        if !poll(&mut fds[..used], timeout)? {
            return Ok(Readiness::default());
        }
        let ready = self.heard(fds[0].revents)?;
        Ok(Readiness {
            woken: wake.is_some_and(|w| fds[1].revents != 0 && w.take()),
            ..ready
        })
    }

    /// What to ask `poll(2)` about the socket.
    pub(super) fn poll_entry(&self) -> libc::pollfd {
        entry(self.fd.as_fd(), libc::POLLIN | libc::POLLPRI)
    }

    /// What `poll(2)` said of it.
    pub(super) fn heard(&self, events: libc::c_short) -> Result<Readiness, TransportError> {
        if events & libc::POLLNVAL != 0 {
            let gone = io::Error::from_raw_os_error(libc::EBADF);
            return Err(TransportError::Wait(gone));
        }
        // The kernel shows its error queue as POLLERR, asked for or not; simulators as POLLPRI.
        let queued = events & (libc::POLLERR | libc::POLLPRI) != 0;
        if queued {
            self.error_seen.set(true);
        }
        Ok(Readiness {
            readable: events & libc::POLLIN != 0,
            tx: queued,
            woken: false,
        })
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
}

impl AsFd for UdpTransport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

//! One lane's socket: sends, receives, and brings every stamp to the raw clock.

use std::net::SocketAddr;
use std::time::Duration;

use hwts::clock::Timebase;
use hwts::transport::{
    AnyTransport, CardNote, Readiness, Received, Transport as _, TransportError, TxEvent, TxToken,
    UdpConfig, UdpTransport, XdpConfig, XdpTransport,
};
use hwts::{Source, Stamp};

use super::PrecisionError;
use super::ground::Ground;
use super::lane::{Lane, Stamps, Transport};
use super::message::{Departure, LENGTH, Mark};

/// How long a stamp of a sent packet may take, ms. On hosts where it comes at all it comes within
/// microseconds; a lost one delays the next exchange by this.
const TX_TIMEOUT_MS: u32 = 10;

/// A socket that stamps as a lane wants it.
#[derive(Debug)]
pub(super) struct Port {
    transport: AnyTransport,
    base: Timebase,
    wanted: Source,
    last: Option<Sent>,
}

/// The packet that was sent last.
#[derive(Debug, Clone, Copy)]
struct Sent {
    number: u32,
    token: TxToken,
    /// What became of its stamp, with that of the kernel beside a card's; none if that is open.
    stamp: Option<Option<(Stamp, Option<Stamp>)>>,
}

impl Port {
    pub(super) fn open(
        local: SocketAddr,
        lane: Lane,
        busy_poll: u32,
        ground: &Ground,
    ) -> Result<Self, PrecisionError> {
        let local = SocketAddr::new(ground.here(lane, local.ip()), local.port());
        let config = UdpConfig {
            stamps: lane.request(),
            wait: lane.wait(busy_poll),
            max_datagram: 2 * LENGTH,
            tx_timeout_ms: TX_TIMEOUT_MS,
            ..UdpConfig::new(local)
        };
        let transport: AnyTransport = match lane.transport {
            Transport::Udp => UdpTransport::open(&config)?.into(),
            Transport::Xdp => XdpTransport::open(&XdpConfig {
                interface: ground.interface(lane),
                ..XdpConfig::new(config)
            })?
            .into(),
        };
        let mut port = Self {
            transport,
            base: Timebase::new(),
            wanted: match (lane.stamps, lane.transport) {
                (Stamps::User, _) => Source::User,
                (Stamps::Hardware, _) => Source::Hardware,
                (Stamps::Kernel, Transport::Udp) => Source::Kernel,
                (Stamps::Kernel, Transport::Xdp) => Source::Xdp,
            },
            last: None,
        };
        if lane.stamps == Stamps::Hardware {
            port.use_cards()?;
        }
        Ok(port)
    }

    /// Has cards stamp what they can.
    fn use_cards(&mut self) -> Result<(), PrecisionError> {
        let used = self.transport.udp_mut().use_cards(Vec::new());
        used.map_err(|error| PrecisionError::NoCard(error.to_string()))?;
        let notes = self.attend_cards();
        if self.transport.udp().cards().is_empty() {
            return Err(PrecisionError::NoCard(notes.join("; ")));
        }
        Ok(())
    }

    /// Follows what happens to the cards; what that was.
    fn attend_cards(&mut self) -> Vec<String> {
        self.transport.udp_mut().attend_cards();
        let mut notes = Vec::new();
        while let Some(note) = self.transport.udp_mut().next_card_note() {
            if let CardNote::Stamping { phc, .. } = note {
                self.base.open(phc);
            }
            notes.push(note.to_string());
        }
        notes
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    /// A slice begins: what was before does not count.
    pub(super) fn begin(&mut self) -> Result<(), TransportError> {
        self.last = None;
        self.attend_cards();
        self.base.refresh();
        self.transport.receive(usize::MAX, |_| ())?;
        self.transport.poll_tx(drop).map(drop)
    }

    /// Sends packet `number`. What is not known of the one before by now never will be.
    pub(super) fn send(
        &mut self,
        to: SocketAddr,
        number: u32,
        bytes: &[u8],
    ) -> Result<(), TransportError> {
        let token = self.transport.send(to, bytes)?;
        self.last = Some(Sent {
            number,
            token,
            stamp: None,
        });
        self.poll_departure()
    }

    /// Looks whether the stamp of the packet that was sent last has come.
    pub(super) fn poll_departure(&mut self) -> Result<(), TransportError> {
        let last = &mut self.last;
        self.transport
            .poll_tx(|event| {
                let (of, outcome) = match event {
                    TxEvent::Stamped {
                        token,
                        stamp,
                        beside,
                    } => (token, Some((stamp, beside))),
                    TxEvent::Lost { token } => (token, None),
                };
                if let Some(sent) = last.as_mut().filter(|sent| sent.token == of) {
                    sent.stamp = Some(outcome);
                }
            })
            .map(drop)
    }

    /// Whether it is known what became of the packet that was sent last.
    pub(super) fn has_departed(&self) -> bool {
        self.last.is_some_and(|sent| sent.stamp.is_some())
    }

    /// When the packet that was sent last left, as far as is known; none if there is none.
    pub(super) fn departure(&mut self) -> Option<Departure> {
        let Sent { number, stamp, .. } = self.last?;
        let (stamp, beside) = stamp.flatten().unzip();
        let mark = stamp.and_then(|stamp| self.mark(stamp, beside.flatten()));
        Some(Departure { number, mark })
    }

    /// The stamp on the raw clock; none if that cannot be said.
    pub(super) fn mark(&mut self, stamp: Stamp, beside: Option<Stamp>) -> Option<Mark> {
        let (converted, source) = self.base.convert(stamp, beside).ok()?;
        Some(Mark {
            raw: converted.raw,
            given: stamp.nanos,
            // A frame, while its neighbour is still to be found out, goes another way, and better is
            // not what the lane is about.
            wanted_source: source == self.wanted,
        })
    }

    pub(super) fn wait(&self, timeout: Duration) -> Result<Readiness, TransportError> {
        self.transport.wait(Some(timeout), None)
    }

    pub(super) fn receive(
        &mut self,
        sink: impl FnMut(Received<'_>),
    ) -> Result<usize, TransportError> {
        self.transport.receive(16, sink)
    }
}

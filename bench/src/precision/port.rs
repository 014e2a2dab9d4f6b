//! One lane's socket: sends, receives, and brings every stamp to the raw clock.

use std::net::SocketAddr;
use std::time::Duration;

use hwts::clock::StampConverter;
use hwts::transport::{
    Readiness, Received, StampRequest, TransportError, TxEvent, TxToken, UdpConfig, UdpTransport,
};
use hwts::{Domain, Source, Stamp};

use super::lane::Lane;
use super::message::{Departure, LENGTH, Mark};

/// How long a stamp of a sent packet may take, ms. On hosts where it comes at all it comes within
/// microseconds; a lost one delays the next exchange by this.
const TX_TIMEOUT_MS: u32 = 10;

/// A socket that stamps as a lane wants it.
#[derive(Debug)]
pub(super) struct Port {
    transport: UdpTransport,
    converter: StampConverter,
    wanted: Source,
    last: Option<Sent>,
}

/// The packet that was sent last.
#[derive(Debug, Clone, Copy)]
struct Sent {
    number: u32,
    token: TxToken,
    /// What became of its stamp; none if that is open.
    stamp: Option<Option<Stamp>>,
}

impl Port {
    pub(super) fn open(
        local: SocketAddr,
        lane: Lane,
        busy_poll: u32,
    ) -> Result<Self, TransportError> {
        let config = UdpConfig {
            stamps: lane.request(),
            wait: lane.wait(busy_poll),
            max_datagram: 2 * LENGTH,
            tx_timeout_ms: TX_TIMEOUT_MS,
            ..UdpConfig::new(local)
        };
        Ok(Self {
            transport: UdpTransport::open(&config)?,
            converter: StampConverter::new(Domain::Realtime),
            wanted: match lane.request() {
                StampRequest::User => Source::User,
                StampRequest::Kernel => Source::Kernel,
            },
            last: None,
        })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    /// A slice begins: what was before does not count.
    pub(super) fn begin(&mut self) -> Result<(), TransportError> {
        self.last = None;
        self.converter.refresh();
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
                    TxEvent::Stamped { token, stamp, .. } => (token, Some(stamp)),
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
        let mark = stamp.flatten().and_then(|stamp| self.mark(stamp));
        Some(Departure { number, mark })
    }

    /// The stamp on the raw clock; none if that cannot be said.
    pub(super) fn mark(&mut self, stamp: Stamp) -> Option<Mark> {
        let raw = self.converter.convert(stamp).ok()?.raw;
        Some(Mark {
            raw,
            given: stamp.nanos,
            wanted_source: stamp.source >= self.wanted,
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

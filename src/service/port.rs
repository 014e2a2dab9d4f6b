//! The time socket: bytes and stamps, nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hwts::Wake;
use hwts::clock::CardEvent;
use hwts::transport::{AnyTransport, CardNote, Transport, TransportError, TxEvent};

use super::cards::{CardBoard, InterfaceLines};
use super::core::Outgoing;
use super::local::LocalClock;
use crate::node::{LinkId, RawStamp};
use crate::time::{RawTime, Span};

/// Packets whose transmit stamp is awaited; older ones are given up.
const IN_FLIGHT: usize = 64;

/// Datagrams taken from the socket at a time, so that transmit stamps are not kept waiting.
pub(super) const BUDGET: usize = 32;

/// What came out of the socket.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A datagram.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
        /// When it arrived.
        stamp: RawStamp,
        /// When it was taken from the socket.
        read: RawTime,
    },
    /// One of our time packets left.
    Sent {
        /// Which.
        packet: (LinkId, u32),
        /// When.
        stamp: RawStamp,
    },
}

/// The time socket of a node.
#[derive(Debug)]
pub struct Port {
    transport: AnyTransport,
    clock: LocalClock,
    cards: Arc<CardBoard>,
    lines: InterfaceLines,
    in_flight: [Option<(u32, (LinkId, u32))>; IN_FLIGHT],
}

/// Writes to the log what happened to the card whose clock is the raw clock.
fn note_raw_card(event: &CardEvent) {
    match event {
        CardEvent::Stepped(nanos) => tracing::warn!(
            "the clock of the card that is the raw clock was stepped by {}, and has to run free: find \
             who steers it, or set `oscillator.clock` to \"host\"",
            Span::from_nanos(*nanos)
        ),
        CardEvent::Gone(why) => tracing::warn!(
            "the card that is the raw clock is gone: {why}; until it is back this host's clock stands in \
             for it, and the kernel's stamps for its stamps"
        ),
        CardEvent::Back => tracing::info!("the card that is the raw clock is back"),
    }
}

impl Port {
    /// A port on an open transport. Clocks of cards that it uses are opened now, while there is the
    /// permission to.
    pub fn new(transport: AnyTransport, clock: LocalClock) -> Self {
        let mut port = Self {
            transport,
            clock,
            cards: Arc::default(),
            lines: InterfaceLines::default(),
            in_flight: [None; IN_FLIGHT],
        };
        port.attend();
        port.cards
            .set_lines(port.lines.lines(&port.transport, port.clock.raw()));
        port
    }

    /// What is known of the cards whose stamps are used.
    pub const fn cards(&self) -> &Arc<CardBoard> {
        &self.cards
    }

    /// Follow what happens to the interfaces.
    fn attend(&mut self) {
        self.transport.udp_mut().attend_cards();
        let mut changed = false;
        while let Some(note) = self.transport.udp_mut().next_card_note() {
            if let CardNote::Stamping { phc, .. } = note {
                self.clock.open_card(phc);
            }
            self.lines.note(&note);
            changed = true;
        }
        while let Some(fault) = self.clock.next_fault() {
            tracing::warn!("kernel stamps instead of a card's: {fault}");
        }
        while let Some(event) = self.clock.next_event() {
            note_raw_card(&event);
            changed = true;
        }
        if let AnyTransport::Xdp(xdp) = &mut self.transport {
            while let Some(note) = xdp.next_note() {
                InterfaceLines::note_xdp(&note);
                changed = true;
            }
        }
        if changed {
            self.cards
                .set_lines(self.lines.lines(&self.transport, self.clock.raw()));
        }
        self.cards.set_asymmetry(self.clock.asymmetry());
    }

    /// The transport within.
    pub const fn transport(&self) -> &AnyTransport {
        &self.transport
    }

    /// The clock that stamps are given on.
    pub const fn clock(&self) -> &LocalClock {
        &self.clock
    }

    /// Send a datagram.
    ///
    /// # Errors
    /// What the socket says; the datagram is lost, as any datagram may be.
    pub fn send(&mut self, outgoing: &Outgoing, bytes: &[u8]) -> Result<(), TransportError> {
        let token = self.transport.send(outgoing.to, bytes)?;
        self.in_flight[token.0 as usize % IN_FLIGHT] =
            outgoing.packet.map(|packet| (token.0, packet));
        Ok(())
    }

    /// Hand out what has come: transmit stamps first, since an answer may follow within
    /// microseconds and is worth more if the stamp of its question is known. Returns whether there
    /// may be more.
    ///
    /// # Errors
    /// What the socket says.
    pub fn drain(&mut self, mut sink: impl FnMut(Incoming<'_>)) -> Result<bool, TransportError> {
        self.clock.refresh();
        self.attend();
        let Self {
            transport,
            clock,
            in_flight,
            ..
        } = self;
        transport.poll_tx(|event| {
            let TxEvent::Stamped {
                token,
                stamp,
                beside,
            } = event
            else {
                return;
            };
            let entry = &mut in_flight[token.0 as usize % IN_FLIGHT];
            if let Some((number, packet)) = *entry
                && number == token.0
            {
                *entry = None;
                if let Some(stamp) = clock.convert(stamp, beside) {
                    sink(Incoming::Sent { packet, stamp });
                }
            }
        })?;
        let taken = transport.receive(BUDGET, |received| {
            if let Some(stamp) = clock.convert(received.stamp, received.beside) {
                sink(Incoming::Datagram {
                    from: received.from,
                    bytes: received.bytes,
                    stamp,
                    read: clock.now(),
                });
            }
        })?;
        Ok(taken == BUDGET)
    }

    /// Wait until something comes, `wake` is used, or `timeout` has passed.
    ///
    /// # Errors
    /// What the socket says.
    pub fn wait(&self, timeout: Duration, wake: Option<&Wake>) -> Result<(), TransportError> {
        self.transport.wait(Some(timeout), wake)?;
        Ok(())
    }
}

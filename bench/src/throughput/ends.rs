//! The end that asks and the end that answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hwts::clock::StampConverter;
use hwts::transport::{AnyTransport, Transport as _, TransportError, TxEvent};
use hwts::{Domain, Source, Stamp};
use parisync::security::{Identity, Incoming, Limits, PlainBuf, Sessions};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::topology::NodeId;
use parisync::wire::{
    ClockState, Excess, MAX_DATAGRAM, MESSAGE_LEN, Message, NetworkId, PacketStamp, Promise,
    StampSource, TIME_DATAGRAM_LEN, Tier, decode, encode,
};

use crate::precision::{PrecisionError, cpu_time};

/// Datagrams taken at a time.
const BATCH: usize = 64;
/// How long the answering end waits before it looks whether it is over.
const TICK: Duration = Duration::from_millis(5);
/// An answer that takes longer is lost. The kernel keeps real-time threads off their processor for
/// 50 ms of each second.
const PATIENCE: Duration = Duration::from_millis(500);
/// Packets whose transmit stamp may be awaited.
const IN_FLIGHT: usize = 256;

/// One end's sessions, and who is at the other.
pub(super) struct Ends {
    sessions: Sessions,
    peer: NodeId,
}

/// What the asking end saw in a slice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) answered: u64,
    pub(super) lost: u64,
}

/// What the answering end did in a slice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) stamps_lost: u64,
    pub(super) batches: u64,
    /// Processor time of its thread, ns.
    pub(super) cpu: u64,
}

/// Both ends of a session between two addresses, which nobody has used yet.
pub(super) fn meet(asking: SocketAddr, answering: SocketAddr) -> (Ends, Ends) {
    let now = raw_now();
    // Nothing is renewed or given up while it is measured.
    let limits = Limits {
        unanswered_packets: u32::MAX,
        ..Limits::default()
    };
    let [mut near, mut far] = [1, 2].map(|seed| {
        let identity = Identity::from_secret(&[seed; 32]);
        // The system's randomness is there wherever this program starts.
        Sessions::new(&identity, NetworkId::default(), limits, now)
            .unwrap_or_else(|error| panic!("no keys: {error}"))
    });
    let (near_id, far_id) = (near.node_id(), far.node_id());
    near.connect(now, answering, Some(far_id));
    let (mut out, mut plain) = ([0; MAX_DATAGRAM], PlainBuf::default());
    let mut quiet = false;
    while !quiet {
        quiet = true;
        while let Some((len, _)) = near.poll_transmit(&mut out) {
            quiet = false;
            let _ = far.handle(now, asking, &out[..len], &mut plain);
        }
        while let Some((len, _)) = far.poll_transmit(&mut out) {
            quiet = false;
            let _ = near.handle(now, answering, &out[..len], &mut plain);
        }
    }
    let end = |sessions, peer| Ends { sessions, peer };
    (end(near, far_id), end(far, near_id))
}

fn raw_now() -> RawTime {
    RawTime::from_nanos(Domain::MonotonicRaw.now())
}

fn message(seq: u32, last_tx: Option<PacketStamp>, last_rx: Option<PacketStamp>) -> Message {
    Message {
        seq,
        wants_reply: true,
        state: ClockState::Synchronized,
        last_tx,
        last_rx,
        prior_rx: None,
        line: VirtualLine::new(
            RawTime::from_nanos(1_000_000_000),
            VirtualTime::from_nanos(1_795_000_000_000_000_000),
            Rate::from_ppm(12.5),
        ),
        bound: Span::from_micros(12),
        tier: Tier::NONE,
        promise: Promise::NONE,
        local: Span::ZERO,
        excess: Excess::UNKNOWN,
    }
}

/// A stamp as an answer tells it.
fn told(converter: &mut StampConverter, seq: u32, stamp: Stamp) -> Option<PacketStamp> {
    let raw = converter.convert(stamp).ok()?;
    Some(PacketStamp {
        seq,
        at: RawTime::from_nanos(raw.raw),
        error: Span::from_nanos(raw.error),
        source: match stamp.source {
            Source::User => StampSource::User,
            Source::Xdp => StampSource::Xdp,
            Source::Kernel => StampSource::Kernel,
            Source::Hardware => StampSource::Hardware,
        },
    })
}

/// Sealed and on its way out.
type Sealed = (usize, [u8; TIME_DATAGRAM_LEN]);

impl Ends {
    fn seal(&mut self, now: RawTime, message: &Message) -> Option<(Sealed, SocketAddr)> {
        let mut text = [0; MESSAGE_LEN];
        encode(message, &mut text);
        let mut out = [0; TIME_DATAGRAM_LEN];
        let (len, to) = self.sessions.seal(now, &self.peer, &text, &mut out).ok()?;
        Some(((len, out), to))
    }

    fn open(
        &mut self,
        now: RawTime,
        from: SocketAddr,
        bytes: &[u8],
        plain: &mut PlainBuf,
    ) -> Option<Message> {
        match self.sessions.handle(now, from, bytes, plain) {
            Ok(Incoming::Message { bytes, .. }) => decode(bytes).ok(),
            _ => None,
        }
    }
}

/// The end that answers.
pub(super) struct Answerer {
    transport: AnyTransport,
    ends: Ends,
    converter: StampConverter,
    plain: PlainBuf,
    number: u32,
    /// By token, the packet whose transmit stamp is awaited.
    in_flight: [Option<(u32, u32)>; IN_FLIGHT],
    last_tx: Option<PacketStamp>,
    replies: Vec<(u32, Sealed, SocketAddr)>,
}

impl Answerer {
    pub(super) fn new(transport: AnyTransport, ends: Ends) -> Self {
        Self {
            transport,
            ends,
            converter: StampConverter::new(Domain::Realtime),
            plain: PlainBuf::default(),
            number: 0,
            in_flight: [None; IN_FLIGHT],
            last_tx: None,
            replies: Vec::with_capacity(BATCH),
        }
    }

    /// Answers until `over`.
    pub(super) fn run(&mut self, over: &AtomicBool) -> Result<Done, PrecisionError> {
        let before = cpu_time();
        let mut done = Done::default();
        while !over.load(Ordering::Relaxed) {
            self.turn(&mut done)?;
        }
        done.cpu = cpu_time().saturating_sub(before);
        Ok(done)
    }

    fn turn(&mut self, done: &mut Done) -> Result<(), TransportError> {
        self.transport.wait(Some(TICK), None)?;
        let Self {
            transport,
            ends,
            converter,
            plain,
            number,
            in_flight,
            last_tx,
            replies,
        } = self;
        converter.refresh();
        transport.poll_tx(|event| match event {
            TxEvent::Stamped { token, stamp, .. } => {
                let entry = &mut in_flight[token.0 as usize % IN_FLIGHT];
                if let Some((_, seq)) = entry.take_if(|(of, _)| *of == token.0) {
                    *last_tx = told(converter, seq, stamp);
                }
            }
            TxEvent::Lost { .. } => done.stamps_lost += 1,
        })?;
        let now = raw_now();
        transport.receive(BATCH, |received| {
            let Some(asked) = ends.open(now, received.from, received.bytes, plain) else {
                done.refused += 1;
                return;
            };
            *number = number.wrapping_add(1);
            let last_rx = told(converter, asked.seq, received.stamp);
            let answer = message(*number, *last_tx, last_rx);
            if let Some((sealed, to)) = ends.seal(now, &answer) {
                replies.push((*number, sealed, to));
            }
        })?;
        if replies.is_empty() {
            return Ok(());
        }
        done.batches += 1;
        for (seq, (len, bytes), to) in replies.drain(..) {
            let token = transport.queue(to, &bytes[..len])?;
            in_flight[token.0 as usize % IN_FLIGHT] = Some((token.0, seq));
            done.answered += 1;
        }
        transport.flush()
    }
}

/// The end that asks.
pub(super) struct Asker {
    transport: AnyTransport,
    ends: Ends,
    to: SocketAddr,
    plain: PlainBuf,
    number: u32,
}

impl Asker {
    pub(super) fn new(transport: AnyTransport, ends: Ends, to: SocketAddr) -> Self {
        Self {
            transport,
            ends,
            to,
            plain: PlainBuf::default(),
            number: 0,
        }
    }

    /// Keeps `window` requests under way for `duration`, then waits for what is still to come.
    pub(super) fn run(&mut self, duration: Duration, window: u32) -> Result<Asked, PrecisionError> {
        let mut asked = Asked::default();
        let (start, mut heard) = (Instant::now(), Instant::now());
        let mut under_way = 0;
        loop {
            let asking = start.elapsed() < duration;
            if !asking && under_way == 0 {
                return Ok(asked);
            }
            if asking {
                let now = raw_now();
                while under_way < window {
                    self.number = self.number.wrapping_add(1);
                    let request = message(self.number, None, None);
                    let Some(((len, bytes), _)) = self.ends.seal(now, &request) else {
                        break;
                    };
                    self.transport.queue(self.to, &bytes[..len])?;
                    under_way += 1;
                }
                self.transport.flush()?;
            }
            let ready = self.transport.wait(Some(TICK), None)?;
            // Nobody wants to know when requests left.
            self.transport.poll_tx(drop)?;
            let (ends, plain, now) = (&mut self.ends, &mut self.plain, raw_now());
            let mut answers = 0;
            if ready.readable {
                self.transport.receive(BATCH, |received| {
                    let answer = ends.open(now, received.from, received.bytes, plain);
                    answers += u32::from(answer.is_some());
                })?;
            }
            if answers > 0 {
                heard = Instant::now();
                asked.answered += u64::from(answers);
                under_way = under_way.saturating_sub(answers);
            } else if heard.elapsed() > PATIENCE {
                asked.lost += u64::from(under_way);
                under_way = 0;
                heard = Instant::now();
            }
        }
    }
}

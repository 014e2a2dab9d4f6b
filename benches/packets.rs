//! What a packet costs: parsing, sealing, authenticating, refusing.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up should stop"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use parisync::security::{Allowance, Identity, Incoming, Limits, PlainBuf, Sessions};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::topology::NodeId;
use parisync::wire::{
    ClockState, Excess, MAX_DATAGRAM, MESSAGE_LEN, Message, NetworkId, Packet, PacketStamp,
    Promise, StampSource, TIME_DATAGRAM_LEN, Tier, decode, encode,
};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const BATCH: usize = 1024;

fn message() -> Message {
    let stamp = |seq| {
        Some(PacketStamp {
            seq,
            at: RawTime::from_nanos(1_000_000_007),
            error: Span::from_nanos(25),
            source: StampSource::Kernel,
        })
    };
    Message {
        seq: 7,
        wants_reply: true,
        state: ClockState::Synchronized,
        last_tx: stamp(6),
        last_rx: stamp(9),
        prior_rx: stamp(8),
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

struct Pair {
    a: Sessions,
    b: Sessions,
    b_id: NodeId,
    now: RawTime,
}

fn addresses() -> [SocketAddr; 2] {
    [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]
}

fn pair() -> Pair {
    let now = RawTime::from_nanos(0);
    // Handshakes are measured by the hundred; the limiter has benchmarks of its own kind.
    let much = Allowance {
        per_second: 1_000_000,
        burst: 1_000_000,
    };
    let limits = Limits {
        handshakes_per_source: much,
        handshakes_in_all: much,
        answers_per_source: much,
        ..Limits::default()
    };
    let new = |seed| {
        let identity = Identity::from_secret(&[seed; 32]);
        Sessions::new(&identity, NetworkId::default(), limits, now).unwrap()
    };
    let (a, b) = (new(1), new(2));
    let b_id = b.node_id();
    Pair { a, b, b_id, now }
}

impl Pair {
    fn meet(&mut self) {
        let [addr_a, addr_b] = addresses();
        let (mut out, mut plain) = ([0; MAX_DATAGRAM], PlainBuf::default());
        self.a.connect(self.now, addr_b, Some(self.b_id));
        loop {
            let mut quiet = true;
            while let Some((len, _)) = self.a.poll_transmit(&mut out) {
                quiet = false;
                let _ = self.b.handle(self.now, addr_a, &out[..len], &mut plain);
            }
            while let Some((len, _)) = self.b.poll_transmit(&mut out) {
                quiet = false;
                let _ = self.a.handle(self.now, addr_b, &out[..len], &mut plain);
            }
            if quiet {
                break;
            }
        }
        assert!(self.a.peer_addr(&self.b_id).is_some());
    }

    fn seal(&mut self, text: &[u8]) -> [u8; TIME_DATAGRAM_LEN] {
        let mut out = [0; TIME_DATAGRAM_LEN];
        self.a.seal(self.now, &self.b_id, text, &mut out).unwrap();
        out
    }
}

fn packets(c: &mut Criterion) {
    let mut text = [0; MESSAGE_LEN];
    encode(&message(), &mut text);
    let mut pair = pair();
    pair.meet();
    let [addr_a, _] = addresses();

    let mut group = c.benchmark_group("packets");
    group.throughput(Throughput::Elements(1));
    let (datagram, network) = (pair.seal(&text), NetworkId::default());
    group.bench_function("parse", |b| {
        b.iter(|| {
            let outer = Packet::parse(black_box(&datagram), network);
            let inner = decode(black_box(&text));
            black_box((outer.is_ok(), inner))
        });
    });
    group.bench_function("encode", |b| {
        let message = message();
        let mut out = [0; MESSAGE_LEN];
        b.iter(|| encode(black_box(&message), black_box(&mut out)));
    });
    group.bench_function("seal", |b| b.iter(|| pair.seal(black_box(&text))));

    let mut plain = PlainBuf::default();
    let mut forged = pair.seal(&text);
    forged[TIME_DATAGRAM_LEN - 1] ^= 1;
    group.bench_function("refuse a forgery", |b| {
        b.iter(|| {
            let refused = pair
                .b
                .handle(pair.now, addr_a, black_box(&forged), &mut plain);
            assert!(refused.is_err());
        });
    });
    let mut init = [0; MAX_DATAGRAM];
    pair.a.connect(pair.now, ([127, 0, 0, 1], 3).into(), None);
    let (len, _) = pair.a.poll_transmit(&mut init).unwrap();
    let mut out = [0; MAX_DATAGRAM];
    group.bench_function("give a stranger a cookie", |b| {
        b.iter(|| {
            let now = pair.now;
            let _ = pair
                .b
                .handle(now, addr_a, black_box(&init[..len]), &mut plain);
            pair.b.poll_transmit(&mut out)
        });
    });

    group.throughput(Throughput::Elements(BATCH as u64));
    // A packet is authentic once, so each needs one of its own; only their reading is timed.
    group.bench_function("authenticate", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let batch: Vec<_> = (0..BATCH).map(|_| pair.seal(&text)).collect();
                let start = Instant::now();
                for datagram in &batch {
                    let got = pair
                        .b
                        .handle(pair.now, addr_a, black_box(datagram), &mut plain);
                    assert!(matches!(got, Ok(Incoming::Message { .. })));
                }
                spent += start.elapsed();
            }
            spent
        });
    });
    group.finish();
}

fn handshakes(c: &mut Criterion) {
    c.bench_function("handshake, both sides", |b| {
        b.iter_batched_ref(pair, Pair::meet, BatchSize::SmallInput);
    });
}

criterion_group!(benches, packets, handshakes);
criterion_main!(benches);

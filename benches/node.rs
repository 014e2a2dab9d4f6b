//! What keeping time costs: a neighbour's estimate, a round of the consensus, a message, and all of
//! it together for a second of a node's life. Sealing and sockets are not in it (see `packets`).

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::consensus::{
    Combine, Reading, RobustMean, Round, Verdict, admit, judge, target, window,
};
use parisync::link::{
    AnyEstimator, Direction, EstimatorKind, Exchange, Kalman, Link, LinkEstimator, OneWay,
    OscillatorSpec, PathNoise,
};
use parisync::node::{Event, LinkId, Node, NodeConfig, RawStamp};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::topology::{Candidate, FoundBy, NodeId};
use parisync::wire::{ClockState, Message, StampSource, Tier};

const SECOND: i64 = 1_000_000_000;
const NEIGHBOURS: usize = 16;
/// Nodes are copied for these runs; so many at a time keep the caches as warm as in a daemon.
const BATCH: BatchSize = BatchSize::NumIterations(16);

/// The same numbers every time.
struct Noise(u64);

impl Noise {
    /// Evenly from 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A link to a peer 10 ppm off, with an exchange each second.
struct Path {
    link: Link<Kalman>,
    noise: Noise,
    at: i64,
}

impl Path {
    fn new() -> Self {
        let mut path = Self {
            link: Link::new((), OscillatorSpec::default()),
            noise: Noise(1),
            at: 0,
        };
        (0..64).for_each(|_| path.exchange());
        path
    }

    fn exchange(&mut self) {
        self.at += SECOND;
        let theirs = |at: i64| RawTime::from_nanos(at + at / 100_000);
        let mut delay = || 5_000 + (2_000.0 * self.noise.next()) as i64;
        let (there, back) = (delay(), delay());
        let (sent, turned) = (self.at, self.at + there);
        let error = Span::from_nanos(20);
        let forward = OneWay::forward(RawTime::from_nanos(sent), theirs(turned), error);
        let received = RawTime::from_nanos(turned + back);
        let reverse = OneWay::reverse(theirs(turned), received, error);
        self.link.limit(&forward);
        self.link.limit(&reverse);
        self.link.exchange(&forward, &reverse);
    }
}

fn links(c: &mut Criterion) {
    let mut group = c.benchmark_group("link");
    let mut path = Path::new();
    group.bench_function("update by an exchange", |b| b.iter(|| path.exchange()));
    let now = RawTime::from_nanos(path.at + SECOND / 2);
    group.bench_function("estimate", |b| {
        b.iter(|| black_box(&path.link).estimate(black_box(now)));
    });
    group.finish();
}

fn settled<'a>(readings: &'a [Reading], verdicts: &'a [Verdict]) -> Round<'a> {
    let now = RawTime::from_nanos(0);
    Round {
        readings,
        verdicts,
        period: Span::from_secs(1),
        now,
        line: VirtualLine::new(now, VirtualTime::from_nanos(0), Rate::ZERO),
    }
}

fn some_readings(count: usize) -> Vec<Reading> {
    let mut noise = Noise(2);
    let readings = std::iter::repeat_with(|| {
        let offset = 400.0 * (noise.next() - 0.5);
        Reading {
            offset,
            sigma: 50.0 + 50.0 * noise.next(),
            lower: offset - 5_000.0,
            upper: offset + 5_000.0,
            rate: 1e-9 * noise.next(),
            rate_sigma: 1e-9,
            raw_rate: 1e-5 * noise.next(),
            ready: true,
            key: 0,
            tier: Tier::NONE,
        }
    });
    readings.take(count).collect()
}

/// What each estimator costs for an exchange, its two packets included, without the hull.
fn estimators(c: &mut Criterion) {
    let mut group = c.benchmark_group("estimator");
    for kind in EstimatorKind::ALL {
        let mut estimator = AnyEstimator::new(kind, &OscillatorSpec::default());
        let (mut noise, mut path, mut at) = (Noise(3), PathNoise::default(), 0.0);
        let mut exchange = move || {
            at += 1.0;
            let mut delay = || 5_000.0 - 1_000.0 * (1.0 - noise.next()).ln();
            let (out, back) = (delay(), delay());
            for (forward, offset) in [(true, out), (false, -back)] {
                estimator.direction(&Direction {
                    forward,
                    at,
                    offset: 1e4 * at + offset,
                    error: 20.0,
                });
            }
            let half_delay = 0.5 * (out + back);
            estimator.update(&Exchange {
                at,
                offset: 1e4 * at + 0.5 * (out - back),
                half_delay,
                stamp_sigma: 10.0,
                likelihood: path.take(half_delay),
            });
            estimator.at(at)
        };
        (0..500).for_each(|_| {
            exchange();
        });
        group.bench_function(kind.name(), |b| b.iter(&mut exchange));
    }
    group.finish();
}

fn rounds(c: &mut Criterion) {
    let mut group = c.benchmark_group("consensus");
    for count in [16, 32] {
        let readings = some_readings(count);
        let mut verdicts = vec![Verdict::NotReady; count];
        let mut combine = RobustMean;
        group.bench_function(format!("a round of {count} readings"), |b| {
            b.iter(|| {
                let readings = black_box(readings.as_slice());
                judge(readings, &mut verdicts);
                let target = target(readings, true);
                let correction = combine.combine(&settled(readings, &verdicts));
                (target, correction, window(readings))
            });
        });
    }
    let readings = some_readings(32);
    let mut verdicts = [Verdict::NotReady; 32];
    for kind in CombineKind::ALL {
        let mut combine = AnyCombine::new(kind, 1);
        group.bench_function(format!("combining 32 readings by {kind}"), |b| {
            b.iter(|| {
                let readings = black_box(readings.as_slice());
                if combine.gated() {
                    judge(readings, &mut verdicts);
                } else {
                    admit(readings, &mut verdicts);
                }
                combine.combine(&settled(readings, &verdicts))
            });
        });
    }
    group.finish();
}

/// A message that is under way.
#[derive(Clone)]
struct Flying {
    from: usize,
    to: usize,
    message: Message,
}

/// Nodes that all know each other, as messages without sockets or seals.
#[derive(Clone)]
struct Mesh {
    nodes: Vec<Node>,
    now: i64,
    flying: VecDeque<Flying>,
}

/// From a transmit stamp to the receive stamp, ns.
const DELAY: i64 = 5_000;
/// How often every node gets its turn, ns.
const TURN: i64 = 1_000_000;

fn id(number: usize) -> NodeId {
    NodeId::from_bytes([number as u8 + 1; 32])
}

fn address(number: usize) -> SocketAddr {
    (Ipv4Addr::new(10, number as u8, 0, 1), 4711).into()
}

/// What the oscillator of this node shows at a true time.
fn raw(number: usize, at: i64) -> RawTime {
    let ppm = number as i64 * 5 - 40;
    RawTime::from_nanos(SECOND + at + at / 1_000_000 * ppm)
}

fn stamp(number: usize, at: i64) -> RawStamp {
    RawStamp {
        at: raw(number, at),
        error: Span::from_nanos(20),
        source: StampSource::Kernel,
    }
}

impl Mesh {
    fn settled() -> Self {
        let count = NEIGHBOURS + 1;
        let node = |number| {
            let now = raw(number, 0);
            let start = VirtualTime::from_nanos(1_800_000_000 * SECOND + number as i64 * 1_000_000);
            let line = VirtualLine::new(now, start, Rate::ZERO);
            let mut node = Node::new(NodeConfig::default(), now, line, number as u64);
            for other in (0..count).filter(|other| *other != number) {
                node.peer_found(Candidate {
                    id: id(other),
                    addr: address(other),
                    found_by: FoundBy::Static,
                });
            }
            node
        };
        let mut mesh = Self {
            nodes: (0..count).map(node).collect(),
            now: 0,
            flying: VecDeque::new(),
        };
        mesh.run_for(30 * SECOND);
        let clock = mesh.nodes[0].clock();
        assert_eq!(clock.state, ClockState::Synchronized);
        assert_eq!(usize::from(clock.used), NEIGHBOURS);
        mesh
    }

    fn run_for(&mut self, nanos: i64) {
        let end = self.now + nanos;
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += TURN;
        for number in 0..self.nodes.len() {
            self.turn(number);
        }
        while let Some(flying) = self.flying.pop_front() {
            self.deliver(&flying);
            self.turn(flying.to);
        }
    }

    fn deliver(&mut self, flying: &Flying) {
        let Flying { from, to, message } = flying;
        let at = self.now + DELAY;
        self.nodes[*to].receive(raw(*to, at), &id(*from), message, stamp(*to, at));
    }

    fn turn(&mut self, number: usize) {
        let now = raw(number, self.now);
        let node = &mut self.nodes[number];
        if node.next_timeout() <= now {
            node.handle_timeout(now);
        }
        while let Some(event) = node.poll_event() {
            if let Event::Connect(peer) = event {
                node.session_up(now, peer.id, peer.addr, false);
            }
        }
        while let Some(transmit) = node.poll_transmit(now) {
            let (link, seq): (LinkId, u32) = (transmit.link, transmit.message.seq);
            node.transmitted(link, seq, stamp(number, self.now));
            self.flying.push_back(Flying {
                from: number,
                to: usize::from(transmit.peer.as_bytes()[0]) - 1,
                message: transmit.message,
            });
        }
    }

    /// Runs on until a message is about to complete an exchange of the first node; that message.
    fn before_exchange(&mut self) -> Flying {
        loop {
            self.now += TURN;
            for number in 0..self.nodes.len() {
                self.turn(number);
            }
            while let Some(flying) = self.flying.pop_front() {
                let before = (flying.to == 0).then(|| self.nodes[0].clone());
                self.deliver(&flying);
                if let Some(before) = before
                    && before.totals().exchanges < self.nodes[0].totals().exchanges
                {
                    self.nodes[0] = before;
                    return flying;
                }
                self.turn(flying.to);
            }
        }
    }
}

fn nodes(c: &mut Criterion) {
    let mut group = c.benchmark_group("node");
    let mut mesh = Mesh::settled();

    let flying = mesh.before_exchange();
    let at = mesh.now + DELAY;
    group.bench_function("receive what completes an exchange", |b| {
        let (now, stamp, from) = (raw(0, at), stamp(0, at), id(flying.from));
        b.iter_batched_ref(
            || mesh.nodes[0].clone(),
            |node| node.receive(now, &from, black_box(&flying.message), stamp),
            BATCH,
        );
    });
    mesh.deliver(&flying);

    // A second later the round is due, and with it the census and most of the polls.
    let later = raw(0, mesh.now + SECOND);
    group.bench_function("a round with 16 neighbours, and their polls", |b| {
        b.iter_batched_ref(
            || mesh.nodes[0].clone(),
            |node| {
                node.handle_timeout(black_box(later));
                while node.poll_transmit(later).is_some() {}
            },
            BATCH,
        );
    });
    let idle = raw(0, mesh.now);
    let mut node = mesh.nodes[0].clone();
    node.handle_timeout(idle);
    group.bench_function("nothing is due", |b| {
        b.iter(|| {
            let node = black_box(&mut node);
            node.handle_timeout(idle);
            node.next_timeout()
        });
    });
    group.finish();

    c.bench_function("17 nodes in a full mesh, one second", |b| {
        b.iter(|| mesh.run_for(SECOND));
    });
}

criterion_group!(benches, links, estimators, rounds, nodes);
criterion_main!(benches);

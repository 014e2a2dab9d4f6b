//! What keeping time costs a node: a message, a round, and all of it together for a second of its life.
//! Sealing and sockets are not in it (see `packets`); what estimates cost is in `estimates`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use parisync::node::{Event, LinkId, Node, NodeConfig, RawStamp};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::topology::{Candidate, FoundBy, NodeId};
use parisync::wire::{ClockState, Message, StampSource};

const SECOND: i64 = 1_000_000_000;
const NEIGHBOURS: usize = 16;
/// Nodes are copied for these runs; so many at a time keep the caches as warm as in a daemon.
const BATCH: BatchSize = BatchSize::NumIterations(16);

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

criterion_group!(benches, nodes);
criterion_main!(benches);

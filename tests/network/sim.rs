//! A small network of real nodes on simulated oscillators and links, with exact truth.
//!
//! Deterministic: one event queue, one seeded random source. Truth is the simulator's own time in
//! nanoseconds; a node sees only its raw clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::net::SocketAddr;

use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::link::OneSided;
use parisync::node::{ClockView, Event, Lie, LinkId, Node, NodeConfig, RawStamp};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::topology::{Candidate, FoundBy, NodeId};
use parisync::wire::{ClockState, Message, StampSource};

const SECOND: i64 = 1_000_000_000;

/// Frequency of an oscillator is constant over this long.
const SEGMENT: i64 = SECOND / 8;

/// What the network and its hosts are like.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) config: NodeConfig,
    pub(crate) combine: CombineKind,
    /// Initial offsets are uniform within ± this, ns.
    pub(crate) max_offset: f64,
    pub(crate) max_ppm: f64,
    /// Random walk of the frequency, fraction per √s.
    pub(crate) wander: f64,
    /// Least delay and mean of the exponential part, ns.
    pub(crate) delay: (f64, f64),
    pub(crate) loss: f64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            nodes: 8,
            seed: 1,
            config: NodeConfig::default(),
            combine: CombineKind::Default,
            max_offset: 500e6,
            max_ppm: 50.0,
            wander: 1e-9,
            delay: (1_000.0, 200.0),
            loss: 0.0,
        }
    }
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn symmetric(&mut self, reach: f64) -> f64 {
        reach * (2.0 * self.unit() - 1.0)
    }
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
    fn gaussian(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Raw clock: piecewise constant frequency, so exact in both directions.
struct Oscillator {
    start: f64,
    base_rate: f64,
    walk: f64,
    wander: f64,
    segment: i64,
    rng: Rng,
}

impl Oscillator {
    /// The raw reading at true time `at`; `at` never goes back by more than a segment's worth
    /// because all events are handled in order.
    fn read(&mut self, at: i64) -> RawTime {
        while (self.segment + 1) * SEGMENT <= at {
            self.start += (1.0 + self.base_rate + self.walk) * SEGMENT as f64;
            self.walk += self.wander * (SEGMENT as f64 / 1e9).sqrt() * self.rng.gaussian();
            self.segment += 1;
        }
        let into = (at - self.segment * SEGMENT) as f64;
        RawTime::from_nanos((self.start + (1.0 + self.base_rate + self.walk) * into).round() as i64)
    }

    /// The host sleeps, its raw clock with it; or is a different clock from now on.
    fn jump(&mut self, by: i64) {
        self.start += by as f64;
    }

    /// True time until the raw clock reads `raw`, to 100 ppm or so.
    fn until(&mut self, now: i64, raw: RawTime) -> i64 {
        (raw - self.read(now)).as_nanos().max(0)
    }
}

enum What {
    Timeout,
    Arrive { from: usize, message: Message },
    Stamped { link: LinkId, seq: u32, at: RawTime },
}

struct Pending {
    at: i64,
    order: u64,
    node: usize,
    what: What,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct Sim {
    world: World,
    nodes: Vec<Node<OneSided, AnyCombine>>,
    oscillators: Vec<Oscillator>,
    next_timeout: Vec<i64>,
    queue: BinaryHeap<Reverse<Pending>>,
    order: u64,
    rng: Rng,
    pub(crate) now: i64,
    pub(crate) lies: Vec<Lie>,
    /// Group of each node; packets between groups are lost.
    pub(crate) island: Vec<u8>,
    /// What each node's access line adds to the delay, outwards and inwards, ns.
    pub(crate) access: Vec<(f64, f64)>,
    /// What leaves a node may be changed on the way.
    pub(crate) tamper: Option<Tamper>,
    /// Who holds a session with whom: only the first handshake is news to the one that answers.
    sessions: HashSet<(usize, usize)>,
    down: Vec<bool>,
    pub(crate) messages: u64,
}

/// A message on its way from one node to another.
pub(crate) struct Passing<'a> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The sender's raw clock now.
    pub(crate) raw: RawTime,
    pub(crate) message: &'a mut Message,
}

pub(crate) type Tamper = Box<dyn FnMut(Passing<'_>)>;

pub(crate) fn id(node: usize) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(node as u64 + 1).to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn number(id: &NodeId) -> usize {
    let high = id.as_bytes()[..8].iter();
    high.fold(0, |n, byte| n << 8 | usize::from(*byte)) - 1
}

impl Sim {
    pub(crate) fn new(world: World) -> Self {
        let mut rng = Rng(world.seed);
        let mut nodes = Vec::new();
        let mut oscillators = Vec::new();
        for n in 0..world.nodes {
            let mut oscillator = Oscillator {
                start: 1e12 * rng.unit(),
                base_rate: rng.symmetric(world.max_ppm * 1e-6),
                walk: 0.0,
                wander: world.wander,
                segment: 0,
                rng: Rng(rng.next()),
            };
            let raw = oscillator.read(0);
            let epoch = VirtualTime::from_nanos(1_700_000_000 * SECOND)
                + Span::from_nanos_f64(rng.symmetric(world.max_offset));
            nodes.push(fresh_node(&world, n, raw, epoch, world.seed ^ n as u64));
            oscillators.push(oscillator);
        }
        let mut sim = Self {
            lies: vec![Lie::default(); world.nodes],
            island: vec![0; world.nodes],
            access: vec![(0.0, 0.0); world.nodes],
            tamper: None,
            sessions: HashSet::new(),
            down: vec![false; world.nodes],
            next_timeout: vec![i64::MAX; world.nodes],
            world,
            nodes,
            oscillators,
            queue: BinaryHeap::new(),
            order: 0,
            rng,
            now: 0,
            messages: 0,
        };
        for n in 0..sim.nodes.len() {
            sim.settle(n);
        }
        sim
    }

    /// Run until true time `until`, in seconds.
    pub(crate) fn run_to(&mut self, until: f64) {
        let until = (until * 1e9) as i64;
        while let Some(Reverse(next)) = self.queue.peek() {
            if next.at > until {
                break;
            }
            let Some(Reverse(Pending { at, node, what, .. })) = self.queue.pop() else {
                break;
            };
            self.now = at;
            if self.down[node] {
                continue;
            }
            let raw = self.oscillators[node].read(at);
            match what {
                What::Timeout if at < self.next_timeout[node] => continue,
                What::Timeout => {
                    self.next_timeout[node] = i64::MAX;
                    self.nodes[node].handle_timeout(raw);
                }
                What::Stamped { link, seq, at } => {
                    self.nodes[node].transmitted(link, seq, stamp(at));
                }
                What::Arrive { from, message } => {
                    if !self.sessions.contains(&(node, from)) {
                        continue;
                    }
                    if !self.nodes[node].knows(&id(from)) {
                        self.nodes[node].session_up(raw, id(from), address(from), true);
                    }
                    self.nodes[node].receive(raw, &id(from), &message, stamp(raw));
                }
            }
            self.settle(node);
        }
        self.now = until;
    }

    /// Carry out what node `n` wants.
    fn settle(&mut self, n: usize) {
        let raw = self.oscillators[n].read(self.now);
        while let Some(event) = self.nodes[n].poll_event() {
            if let Event::Connect(candidate) = event {
                let other = number(&candidate.id);
                if self.island[n] == self.island[other] && !self.down[other] {
                    let other_raw = self.oscillators[other].read(self.now);
                    if self.sessions.insert((other, n)) {
                        self.nodes[other].session_up(other_raw, id(n), address(n), true);
                    }
                    self.sessions.insert((n, other));
                    self.nodes[n].session_up(raw, id(other), candidate.addr, false);
                    self.plan(other);
                }
            }
        }
        while let Some(transmit) = self.nodes[n].poll_transmit(raw) {
            self.messages += 1;
            let to = number(&transmit.peer);
            let mut message = transmit.message;
            let lie = self.lies[n];
            if lie.is_told() {
                lie.tell(raw, &mut message);
            }
            if let Some(tamper) = &mut self.tamper {
                tamper(Passing {
                    from: n,
                    to,
                    raw,
                    message: &mut message,
                });
            }
            let left = self.now + 3_000 + self.rng.exponential(2_000.0) as i64;
            let at = self.oscillators[n].read(left);
            let link = transmit.link;
            self.push(
                left + 1_000,
                n,
                What::Stamped {
                    link,
                    seq: message.seq,
                    at,
                },
            );
            let (floor, mean) = self.world.delay;
            let access = self.access[n].0 + self.access[to].1;
            let arrive = left + (floor + access + self.rng.exponential(mean)) as i64;
            let lost = self.rng.unit() < self.world.loss || self.down[to];
            if self.island[n] == self.island[to] && !lost {
                self.push(arrive, to, What::Arrive { from: n, message });
            }
        }
        self.plan(n);
    }

    fn plan(&mut self, n: usize) {
        let due = self.nodes[n].next_timeout();
        let at = self.now + self.oscillators[n].until(self.now, due).max(1_000);
        if at < self.next_timeout[n] {
            self.next_timeout[n] = at;
            self.push(at, n, What::Timeout);
        }
    }

    fn push(&mut self, at: i64, node: usize, what: What) {
        self.order += 1;
        self.queue.push(Reverse(Pending {
            at,
            order: self.order,
            node,
            what,
        }));
    }

    /// The host of node `n` is switched off.
    pub(crate) fn kill(&mut self, n: usize) {
        self.down[n] = true;
        self.next_timeout[n] = i64::MAX;
        self.sessions.retain(|(at, _)| *at != n);
    }

    /// The host of node `n` boots: another raw epoch, a clock off by `offset` ns, no memory.
    pub(crate) fn boot(&mut self, n: usize, offset: f64) {
        self.kill(n);
        self.down[n] = false;
        let away = (self.rng.unit() * 1e12) as i64 - SECOND;
        self.oscillators[n].jump(away);
        let raw = self.oscillators[n].read(self.now);
        let epoch = VirtualTime::from_nanos(1_700_000_000 * SECOND + self.now)
            + Span::from_nanos_f64(offset);
        let seed = self.rng.next();
        self.nodes[n] = fresh_node(&self.world, n, raw, epoch, seed);
        self.settle(n);
    }

    /// The node within, for what its surroundings would tell it.
    pub(crate) fn node(&mut self, n: usize) -> (&mut Node<OneSided, AnyCombine>, RawTime) {
        let raw = self.oscillators[n].read(self.now);
        (&mut self.nodes[n], raw)
    }

    /// The host of node `n` sleeps for `seconds`, which its raw clock does not count.
    pub(crate) fn sleep(&mut self, n: usize, seconds: f64) {
        self.down[n] = true;
        self.run_to(self.now as f64 / 1e9 + seconds);
        self.oscillators[n].jump(-(seconds * 1e9) as i64);
        self.down[n] = false;
        self.next_timeout[n] = i64::MAX;
    }

    /// Carry out what node `n` wants, after something was done to it.
    pub(crate) fn attend(&mut self, n: usize) {
        self.settle(n);
    }

    /// Virtual clock of node `n` now, and its view.
    pub(crate) fn clock(&mut self, n: usize) -> (f64, ClockView, RawTime) {
        let raw = self.oscillators[n].read(self.now);
        let view = self.nodes[n].clock();
        let (at, fraction) = view.line.at_exact(raw);
        let since = at - VirtualTime::from_nanos(1_700_000_000 * SECOND + self.now);
        (since.as_nanos_f64() + fraction, view, raw)
    }

    /// Run on, sampling every `every` seconds until `until`; statistics over `honest`.
    pub(crate) fn observe(&mut self, honest: &[usize], every: f64, until: f64) -> Figures {
        let mut figures = Figures::default();
        let mut squares = 0.0;
        let mut at = self.now as f64 / 1e9;
        let mut bounds = Vec::new();
        while at < until {
            at += every;
            self.run_to(at);
            let clocks: Vec<_> = honest.iter().map(|&n| self.clock(n)).collect();
            let mut values: Vec<f64> = clocks.iter().map(|c| c.0).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.sort_by(f64::total_cmp);
            let median = values[(values.len() - 1) / 2];
            figures.worst_skew = figures.worst_skew.max(values[values.len() - 1] - values[0]);
            for (value, view, raw) in &clocks {
                squares += (value - mean).powi(2);
                figures.samples += 1;
                if view.state == ClockState::Synchronized {
                    figures.synchronized += 1;
                }
                if let Some(bound) = view.bound_at(*raw) {
                    bounds.push(bound.as_nanos_f64());
                    if (value - median).abs() > bound.as_nanos_f64() {
                        figures.violations += 1;
                    }
                }
            }
        }
        bounds.sort_by(f64::total_cmp);
        figures.bound_p50 = bounds.get(bounds.len() / 2).copied().unwrap_or(f64::NAN);
        figures.rms = (squares / figures.samples as f64).sqrt();
        figures
    }
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], 4711))
}

/// Node `n`, which knows of all others.
fn fresh_node(
    world: &World,
    n: usize,
    raw: RawTime,
    epoch: VirtualTime,
    seed: u64,
) -> Node<OneSided, AnyCombine> {
    let line = VirtualLine::new(raw, epoch, Rate::ZERO);
    let combine = AnyCombine::new(world.combine, id(n).order_key());
    let mut node = Node::with_strategies(world.config.clone(), raw, line, seed, (), combine);
    for other in (0..world.nodes).filter(|other| *other != n) {
        node.peer_found(Candidate {
            id: id(other),
            addr: address(other),
            found_by: FoundBy::Dht,
        });
    }
    node
}

fn stamp(at: RawTime) -> RawStamp {
    RawStamp {
        at,
        error: Span::from_nanos(30),
        source: StampSource::Kernel,
    }
}

/// What was observed; ns.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) samples: usize,
    pub(crate) synchronized: usize,
    pub(crate) rms: f64,
    pub(crate) worst_skew: f64,
    pub(crate) bound_p50: f64,
    pub(crate) violations: usize,
}

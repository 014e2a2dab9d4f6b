//! A network of real nodes in simulated time.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use parisync::consensus::{Combine, Ensemble};
use parisync::link::{LinkEstimator, OneSided};
use parisync::node::{ClockView, Event, LinkId, Node, NodeConfig, RawStamp};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::topology::{Candidate, FoundBy, NodeId};
use parisync::wire::Message;

use super::heard::Heard;
use super::liar::Deceit;
use super::oscillator::{Oscillator, OscillatorModel};
use super::path::{PathModel, Paths};
use super::queue::Queue;
use super::random::Random;
use super::stamp::StampModel;
use crate::units::Nanos;

/// What the virtual clocks would show at the start if they were right, ns.
const EPOCH: i64 = 1_700_000_000_000_000_000;

/// A packet leaves this long after the node said so, and exponentially longer, ns.
const HANDLING: (i64, f64) = (3_000, 2_000.0);

/// Its transmit stamp is known this much later, ns.
const STAMPED_AFTER: i64 = 1_000;

/// What the network and its hosts are like.
#[derive(Debug, Clone)]
pub struct World {
    /// How many hosts there are; each knows of all others.
    pub hosts: usize,
    /// Decides everything that is random.
    pub seed: u64,
    /// What each node is told.
    pub node: NodeConfig,
    /// At the start, clocks are off by up to ± this.
    pub offset: Nanos,
    /// The oscillators.
    pub oscillator: OscillatorModel,
    /// The paths.
    pub paths: PathModel,
    /// The stamps.
    pub stamps: StampModel,
    /// Who lies: the last hosts of the network, group by group.
    pub liars: Vec<Deceit>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            hosts: 8,
            seed: 1,
            node: NodeConfig::default(),
            offset: Nanos(500e6),
            oscillator: OscillatorModel::default(),
            paths: PathModel::default(),
            stamps: StampModel::default(),
            liars: Vec::new(),
        }
    }
}

impl World {
    /// How many hosts tell the truth; they are the first.
    pub fn honest(&self) -> usize {
        let liars: usize = self.liars.iter().map(|deceit| deceit.count).sum();
        self.hosts.saturating_sub(liars)
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "most events are arrivals, and a box for each would cost more"
)]
enum What {
    Timeout,
    Arrive {
        from: usize,
        message: Message,
        /// The least that it can have seemed to take, ns: two stamps may be off as they say.
        least: f64,
        /// What had arrived there from here when it left.
        heard: Heard,
    },
    Stamped {
        link: LinkId,
        seq: u32,
        stamp: RawStamp,
    },
}

struct Host<E: LinkEstimator, C> {
    node: Node<E, C>,
    oscillator: Oscillator,
    /// Of its stamps and its handling of packets.
    random: Random,
    next_timeout: i64,
    down: bool,
    /// Packets between islands are lost.
    island: u8,
    deceit: Option<Deceit>,
}

/// A message on its way from one node to another.
pub struct Passing<'a> {
    /// Who sends it.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// The sender's raw clock now.
    pub raw: RawTime,
    /// What it says; may be changed.
    pub message: &'a mut Message,
}

/// What changes messages on their way.
pub type Tamper = Box<dyn FnMut(Passing<'_>)>;

/// What one node's clock shows at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// Its virtual clock minus true time, ns. Only differences between nodes mean anything.
    pub error: f64,
    /// What the node says of it.
    pub view: ClockView,
    /// The node's raw clock at that instant.
    pub raw: RawTime,
}

/// The network. One event queue, one seed: it always does the same.
///
/// Truth is the simulator's own time in nanoseconds; a node sees only its raw clock.
pub struct Sim<E: LinkEstimator = OneSided, C: Combine = Ensemble> {
    world: World,
    estimator: E::Kind,
    combine: Box<dyn Fn(NodeId) -> C>,
    hosts: Vec<Host<E, C>>,
    paths: Paths,
    queue: Queue<(usize, What)>,
    random: Random,
    now: i64,
    tamper: Option<Tamper>,
    /// Who holds a session with whom: only the first handshake is news to the one that answers.
    sessions: HashSet<(usize, usize)>,
    messages: u64,
    /// What arrived at the first from the second, and what the first was told of its own packets.
    heard: HashMap<(usize, usize), (Heard, Heard)>,
}

/// Streams of random numbers.
const HOSTS: u64 = 4 << 60;
const STARTS: u64 = 5 << 60;
const STAMPS: u64 = 6 << 60;

impl<E: LinkEstimator, C: Combine> Sim<E, C> {
    /// The network at its start, with the default strategies.
    pub fn new(world: World) -> Self
    where
        C: Default,
    {
        Self::with_strategies(world, E::Kind::default(), |_| C::default())
    }

    /// The same with these strategies for one link and for many; that for many may depend on the
    /// node.
    pub fn with_strategies(
        world: World,
        estimator: E::Kind,
        combine: impl Fn(NodeId) -> C + 'static,
    ) -> Self {
        let mut random = Random::new(world.seed, STARTS);
        let mut hosts: Vec<Host<E, C>> = Vec::with_capacity(world.hosts);
        for n in 0..world.hosts {
            let purpose = n as u64;
            let mut oscillator =
                Oscillator::new(&world.oscillator, Random::new(world.seed, HOSTS | purpose));
            let raw = whole(oscillator.read(0));
            let offset = random.symmetric(world.offset.0);
            let line = started_line(raw, 0, offset);
            let seed = random.bits();
            hosts.push(Host {
                node: fresh_node(&world, n, raw, line, seed, estimator, combine(id(n))),
                oscillator,
                random: Random::new(world.seed, STAMPS | purpose),
                next_timeout: i64::MAX,
                down: false,
                island: 0,
                deceit: None,
            });
        }
        let mut liars = world.honest();
        for deceit in &world.liars {
            for host in hosts.iter_mut().skip(liars).take(deceit.count) {
                host.deceit = Some(deceit.clone());
            }
            liars += deceit.count;
        }
        let paths = Paths::new(&world.paths, world.hosts, world.seed);
        let mut sim = Self {
            world,
            estimator,
            combine: Box::new(combine),
            hosts,
            paths,
            queue: Queue::new(),
            random,
            now: 0,
            tamper: None,
            sessions: HashSet::new(),
            messages: 0,
            heard: HashMap::new(),
        };
        for n in 0..sim.hosts.len() {
            sim.attend(n);
        }
        sim
    }

    /// Seconds since the start.
    pub const fn now(&self) -> f64 {
        self.now as f64 / 1e9
    }

    /// What the network is like.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Messages sent so far by all hosts together.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// The paths, which may be changed.
    pub const fn paths(&mut self) -> &mut Paths {
        &mut self.paths
    }

    /// The oscillator of host `n`, which may be changed.
    pub fn oscillator(&mut self, n: usize) -> &mut Oscillator {
        &mut self.hosts[n].oscillator
    }

    /// A random number of the network's own: for events that nobody fixed.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// What host `n` could know of its offset from `other` at best: how far the packets that came
    /// leave it possible that `other` is behind what it is, and ahead of it, ns.
    pub fn best_limits(&self, n: usize, other: usize) -> Option<(f64, f64)> {
        let (heard, reported) = self.heard.get(&(n, other))?;
        let wander = self.world.oscillator.wander.0 * std::f64::consts::SQRT_2;
        let now = self.now();
        Some((
            heard.limit(reported, now, wander)?,
            reported.limit(heard, now, wander)?,
        ))
    }

    /// Whether host `n` is switched off or asleep.
    pub fn is_down(&self, n: usize) -> bool {
        self.hosts[n].down
    }

    /// How host `n` lies, if it does by now.
    pub fn deceit(&self, n: usize) -> Option<&Deceit> {
        let deceit = self.hosts[n].deceit.as_ref();
        deceit.filter(|deceit| self.now >= deceit.after.0 as i64)
    }

    /// Host `n` lies so from now on.
    pub fn deceive(&mut self, n: usize, deceit: Deceit) {
        self.hosts[n].deceit = Some(deceit);
    }

    /// From now on `tamper` sees and may change every message.
    pub fn tamper(&mut self, tamper: Tamper) {
        self.tamper = Some(tamper);
    }

    /// Put each host on an island, in order; packets between islands are lost. Hosts beyond the
    /// list stay where they are.
    pub fn part(&mut self, islands: &[u8]) {
        for (host, island) in self.hosts.iter_mut().zip(islands) {
            host.island = *island;
        }
    }

    /// Put host `n` on this island.
    pub fn isolate(&mut self, n: usize, island: u8) {
        self.hosts[n].island = island;
    }

    /// Run until true time `until`, in seconds.
    pub fn run_to(&mut self, until: f64) {
        let until = (until * 1e9) as i64;
        while let Some((at, (n, what))) = self.queue.pop(until) {
            self.now = at;
            if !self.hosts[n].down {
                self.happen(n, what);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, n: usize, what: What) {
        let host = &mut self.hosts[n];
        let exact = host.oscillator.read(self.now);
        let raw = whole(exact);
        match what {
            What::Timeout if self.now < host.next_timeout => return,
            What::Timeout => {
                host.next_timeout = i64::MAX;
                host.node.handle_timeout(raw);
            }
            What::Stamped { link, seq, stamp } => host.node.transmitted(link, seq, stamp),
            What::Arrive {
                from,
                message,
                least,
                heard,
            } => {
                if !self.sessions.contains(&(n, from)) {
                    return;
                }
                if !host.node.knows(&id(from)) {
                    host.node.session_up(raw, id(from), address(from), true);
                }
                let both = self.heard.entry((n, from)).or_default();
                both.0.push(self.now as f64 / 1e9, least);
                both.1 = heard;
                let stamp = self.world.stamps.arrival(exact, &mut host.random);
                host.node.receive(raw, &id(from), &message, stamp);
            }
        }
        self.attend(n);
    }

    /// Carry out what node `n` wants.
    pub fn attend(&mut self, n: usize) {
        let raw = whole(self.hosts[n].oscillator.read(self.now));
        while let Some(event) = self.hosts[n].node.poll_event() {
            if let Event::Connect(candidate) = event {
                self.connect(n, raw, &candidate);
            }
        }
        while let Some(transmit) = self.hosts[n].node.poll_transmit(raw) {
            self.messages += 1;
            let to = number(&transmit.peer);
            let mut message = transmit.message;
            let mut held = 0;
            if let Some(deceit) = self.deceit(n) {
                deceit.tell(raw, to, &mut message);
                held = deceit.delay.0 as i64;
            }
            let host = &mut self.hosts[n];
            if let Some(tamper) = &mut self.tamper {
                tamper(Passing {
                    from: n,
                    to,
                    raw,
                    message: &mut message,
                });
            }
            let (least, mean) = HANDLING;
            let left = self.now + least + host.random.exponential(mean) as i64;
            let exact = host.oscillator.read(left);
            let stamped = What::Stamped {
                link: transmit.link,
                seq: message.seq,
                stamp: self.world.stamps.departure(exact, &mut host.random),
            };
            self.queue.push(left + STAMPED_AFTER, (n, stamped));
            let delay = self.paths.packet(n, to, left);
            let apart = self.hosts[n].island != self.hosts[to].island;
            if let Some(delay) = delay
                && !apart
                && !self.hosts[to].down
            {
                let heard = self.heard.get(&(n, to));
                let arrive = What::Arrive {
                    from: n,
                    message,
                    least: self.paths.least(n, to, left) + 2.0 * self.world.stamps.error.0,
                    heard: heard.map_or_else(Heard::default, |both| both.0),
                };
                self.queue.push(left + held + delay as i64, (to, arrive));
            }
        }
        self.plan(n);
    }

    fn connect(&mut self, n: usize, raw: RawTime, candidate: &Candidate) {
        let other = number(&candidate.id);
        if self.hosts[n].island != self.hosts[other].island || self.hosts[other].down {
            return;
        }
        let there = &mut self.hosts[other];
        if self.sessions.insert((other, n)) {
            let other_raw = whole(there.oscillator.read(self.now));
            there.node.session_up(other_raw, id(n), address(n), true);
        }
        self.sessions.insert((n, other));
        let here = &mut self.hosts[n].node;
        here.session_up(raw, id(other), candidate.addr, false);
        self.plan(other);
    }

    fn plan(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        let due = host.node.next_timeout().as_nanos() as f64;
        let at = host.oscillator.when(due).max(self.now + 1_000);
        if at < host.next_timeout {
            host.next_timeout = at;
            self.queue.push(at, (n, What::Timeout));
        }
    }

    /// The host of node `n` is switched off.
    pub fn kill(&mut self, n: usize) {
        self.hosts[n].down = true;
        self.hosts[n].next_timeout = i64::MAX;
        self.sessions.retain(|(at, _)| *at != n);
    }

    /// The host of node `n` boots: another raw epoch, a clock off by `offset` ns, no memory.
    pub fn boot(&mut self, n: usize, offset: f64) {
        self.kill(n);
        self.heard.retain(|pair, _| pair.0 != n && pair.1 != n);
        let away = self.random.unit() * 1e12 - 1e9;
        let seed = self.random.bits();
        let (estimator, combine) = (self.estimator, (self.combine)(id(n)));
        let host = &mut self.hosts[n];
        host.down = false;
        host.oscillator.jump(away.round());
        let raw = whole(host.oscillator.read(self.now));
        let line = started_line(raw, self.now, offset);
        host.node = fresh_node(&self.world, n, raw, line, seed, estimator, combine);
        self.attend(n);
    }

    /// The node within, for what its surroundings would tell it.
    pub fn node(&mut self, n: usize) -> (&mut Node<E, C>, RawTime) {
        let host = &mut self.hosts[n];
        let raw = whole(host.oscillator.read(self.now));
        (&mut host.node, raw)
    }

    /// The host of node `n` sleeps for `seconds`, which its raw clock does not count.
    pub fn sleep(&mut self, n: usize, seconds: f64) {
        self.hosts[n].down = true;
        self.run_to(self.now() + seconds);
        let host = &mut self.hosts[n];
        host.oscillator.read(self.now);
        host.oscillator.jump(-(seconds * 1e9).round());
        host.down = false;
        host.next_timeout = i64::MAX;
    }

    /// What the virtual clock of node `n` shows now.
    pub fn clock(&mut self, n: usize) -> Shown {
        let host = &mut self.hosts[n];
        let exact = host.oscillator.read(self.now);
        let raw = whole(exact);
        let view = host.node.clock();
        let (at, fraction) = view.line.at_exact(raw);
        let since = at - VirtualTime::from_nanos(EPOCH + self.now);
        // The raw clock shows whole nanoseconds; what is judged is the clock in between.
        let between = exact - raw.as_nanos() as f64;
        Shown {
            error: since.as_nanos_f64() + fraction + between,
            view,
            raw,
        }
    }

    /// The neighbours of `n` whose clocks it takes into account now.
    pub fn neighbours(&mut self, n: usize) -> Vec<usize> {
        use parisync::export::status::Use;
        let (node, raw) = self.node(n);
        let counts = |used| matches!(used, Use::Used | Use::Falseticker | Use::WrongRate);
        let peers = node.peers(raw).filter(|peer| counts(peer.used));
        peers.map(|peer| number(&peer.id)).collect()
    }
}

/// The name of host `n`.
pub fn id(n: usize) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn number(id: &NodeId) -> usize {
    let high = id.as_bytes()[..8].iter();
    high.fold(0, |n, byte| n << 8 | usize::from(*byte)) - 1
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 4711))
}

fn whole(raw: f64) -> RawTime {
    RawTime::from_nanos(raw.round() as i64)
}

/// A virtual clock that starts at true time `now`, off by `offset` ns.
fn started_line(raw: RawTime, now: i64, offset: f64) -> VirtualLine {
    let epoch = VirtualTime::from_nanos(EPOCH + now) + Span::from_nanos_f64(offset);
    VirtualLine::new(raw, epoch, Rate::ZERO)
}

/// Node `n`, which knows of all others.
fn fresh_node<E: LinkEstimator, C: Combine>(
    world: &World,
    n: usize,
    raw: RawTime,
    line: VirtualLine,
    seed: u64,
    estimator: E::Kind,
    combine: C,
) -> Node<E, C> {
    let config = world.node.clone();
    let mut node = Node::with_strategies(config, raw, line, seed, estimator, combine);
    for other in (0..world.hosts).filter(|other| *other != n) {
        node.peer_found(Candidate {
            id: id(other),
            addr: address(other),
            found_by: FoundBy::Dht,
        });
    }
    node
}

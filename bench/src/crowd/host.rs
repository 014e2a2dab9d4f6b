//! One host: how it lives through a tick, alone.

use parisync::consensus::Combine;
use parisync::link::{LinkEstimator, OneWay};
use parisync::node::{Crowd, Event, LinkId, Node, NodeConfig};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::wire::{ClockState, Message, Promise, Tier};

use super::attack::Honest;
use super::clock::{Clock, Segment, warmth};
use super::draw::Draw;
use super::identity::{Who, scatter};
use super::paths::Paths;
use super::plan::{Plan, Sessions};
use crate::sim::{OscillatorModel, Random};

/// What the virtual clocks would show at true time zero if they were right, ns.
pub(super) const EPOCH: i64 = 1_700_000_000_000_000_000;

/// Between the arrival of a question and the departure of the answer, ns.
const HANDLING: i64 = 20_000;

/// Each stamp may be off by this much: kernel stamps.
const STAMP: Span = Span::from_nanos(30);

/// Streams of random numbers.
const LIVES: u64 = 0x3 << 56;
const TICKS: u64 = 0x4 << 56;

/// What all hosts live in.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) node: NodeConfig,
    pub(super) oscillator: OscillatorModel,
    pub(super) paths: Paths,
    pub(super) draw: Box<dyn Draw>,
    pub(super) honest: Honest,
}

/// One tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    /// Number.
    pub(super) nth: u64,
    /// True time, ns.
    pub(super) begin: i64,
    /// ns.
    pub(super) width: i64,
    /// In rounds since the start.
    pub(super) round: f64,
}

/// What others see of a host until the next tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// Its raw clock in the tick that comes.
    clock: Segment,
    line: VirtualLine,
    slack: f32,
    rate: f32,
    hold: f32,
    wander: f32,
    /// Which of those that were at this place.
    life: u32,
    state: ClockState,
    away: bool,
}

impl Told {
    /// Of a host that has not said anything.
    pub(super) const NOTHING: Self = Self {
        clock: Segment {
            begin: 0,
            start: 0.0,
            rate: 0.0,
        },
        line: VirtualLine::new(
            RawTime::from_nanos(0),
            VirtualTime::from_nanos(0),
            Rate::ZERO,
        ),
        slack: 0.0,
        rate: 0.0,
        hold: 0.0,
        wander: 0.0,
        life: 0,
        state: ClockState::Unsynchronized,
        away: true,
    };

    fn new(said: &Message, clock: Segment, life: u32) -> Self {
        Self {
            clock,
            line: said.line,
            slack: said.promise.slack.as_nanos_f64() as f32,
            rate: said.promise.rate.as_fraction() as f32,
            hold: said.promise.hold.as_secs_f64() as f32,
            wander: said.promise.wander.unwrap_or(0.0) as f32,
            life,
            state: said.state,
            away: false,
        }
    }

    fn message(&self) -> Message {
        Message {
            seq: 0,
            wants_reply: false,
            state: self.state,
            last_tx: None,
            last_rx: None,
            prior_rx: None,
            line: self.line,
            bound: Span::MAX,
            tier: Tier::NONE,
            promise: Promise {
                slack: Span::from_nanos_f64(f64::from(self.slack)),
                rate: Rate::from_fraction(f64::from(self.rate)),
                hold: Span::from_nanos_f64(1e9 * f64::from(self.hold)),
                wander: (self.wander > 0.0).then(|| f64::from(self.wander)),
            },
        }
    }
}

/// An exchange that has begun.
#[derive(Debug, Clone, Copy)]
struct Pending {
    link: LinkId,
    with: Who,
    /// True time, ns.
    sent: i64,
    /// What its packets take, ns.
    there: f32,
    back: f32,
}

/// What a host is off by, for the statistics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// Its virtual clock minus what it should show, ns.
    pub(super) error: f64,
    /// Its guaranteed bound, ns.
    pub(super) bound: Option<f64>,
    pub(super) synchronized: bool,
    /// One of its neighbours.
    pub(super) neighbour: u32,
}

/// What became of all exchanges.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Exchanges that were begun.
    pub(super) begun: u64,
    /// Exchanges that came to an end.
    pub(super) completed: u64,
    /// Newcomers that were synchronized, and how long all of them together took, ns.
    pub(super) arrived: u64,
    pub(super) arriving: i64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.completed += other.completed;
        self.arrived += other.arrived;
        self.arriving += other.arriving;
    }
}

/// One host.
pub(super) struct Host<E: LinkEstimator, C> {
    who: Who,
    clock: Clock,
    /// Malicious ones have no node.
    node: Option<Box<Node<E, C, Crowd>>>,
    pending: Vec<Pending>,
    born: i64,
    dies: i64,
    arrived: bool,
    away: bool,
    /// Of the neighbours that were asked last one; for the statistics.
    neighbour: u32,
}

impl<E: LinkEstimator, C: Combine + Default> Host<E, C> {
    /// Host `host` at the start.
    pub(super) fn new(world: &World, host: u32, now: i64) -> Self {
        let who = Who { host, life: 0 };
        let mut random = Random::new(world.plan.seed, LIVES | u64::from(host));
        let clock = Clock::new(&world.oscillator, now, &mut random);
        let mut host = Self {
            who,
            clock,
            node: None,
            pending: Vec::new(),
            born: now,
            dies: i64::MAX,
            arrived: false,
            away: false,
            neighbour: who.host,
        };
        host.live(world, now, &mut random);
        host
    }

    /// What others see of it before the first tick.
    pub(super) const fn first(&self) -> Told {
        Told {
            clock: self.clock.segment,
            away: false,
            ..Told::NOTHING
        }
    }

    /// Its frequency without noise, as a fraction.
    pub(super) const fn base(&self) -> f64 {
        self.clock.base()
    }

    pub(super) const fn is_malicious(&self) -> bool {
        self.node.is_none()
    }

    /// Start from nothing.
    fn live(&mut self, world: &World, now: i64, random: &mut Random) {
        let plan = &world.plan;
        let malicious = self.who.host >= plan.honest();
        self.born = now;
        self.arrived = false;
        self.pending = Vec::new();
        let stay = if malicious {
            plan.attack.stay()
        } else {
            session(plan, random)
        };
        self.dies = stay.map_or(i64::MAX, |stay| now.saturating_add((1e9 * stay) as i64));
        if malicious {
            return;
        }
        let raw = raw_time(&self.clock.segment, now);
        let offset = random.symmetric(plan.offset.0) as i64;
        let line = VirtualLine::new(
            raw,
            VirtualTime::from_nanos(EPOCH + now + offset),
            Rate::ZERO,
        );
        let node = Node::with_strategies(
            world.node.clone(),
            raw,
            line,
            random.bits(),
            E::Kind::default(),
            C::default(),
        );
        self.node = Some(Box::new(node));
    }

    /// Live through `tick`, seeing of the others what they `told` in the one before; what they see
    /// of us in the next.
    pub(super) fn pass(
        &mut self,
        world: &World,
        tick: &Tick,
        told: &[Told],
        counts: &mut Counts,
    ) -> Told {
        let host = u64::from(self.who.host);
        let mut random = Random::new(world.plan.seed, TICKS ^ scatter(tick.nth << 32 | host));
        // Each acts at a time of its own within the tick.
        let phase = (scatter(host) >> 16) as i64 % tick.width;
        let now = tick.begin + phase;
        let happenings = &world.plan.happenings;
        let was_away = self.away;
        self.away = happenings
            .iter()
            .any(|happening| happening.is_away(self.who.host, tick.round));
        if now >= self.dies || (was_away && !self.away) {
            self.who.life += 1;
            self.clock = Clock::new(&world.oscillator, tick.begin, &mut random);
            self.live(world, now, &mut random);
        }
        if !self.away && self.node.is_some() {
            self.act(world, tick, now, told, counts, &mut random);
        }
        // Its clock in the next tick, so that others can ask it then.
        let warm = warmth(happenings, self.who.host, tick.round);
        let seconds = tick.width as f64 / 1e9;
        let end = tick.begin + tick.width;
        let said = self.node.as_mut().map(|node| {
            let raw = raw_time(&self.clock.segment, now);
            node.announce(raw)
        });
        self.clock
            .advance(&world.oscillator, end, seconds, warm, &mut random);
        let segment = self.clock.segment;
        let mut next = said.map_or(
            Told {
                clock: segment,
                life: self.who.life,
                away: false,
                ..Told::NOTHING
            },
            |said| Told::new(&said, segment, self.who.life),
        );
        next.away = self.away;
        next
    }

    fn act(
        &mut self,
        world: &World,
        tick: &Tick,
        now: i64,
        told: &[Told],
        counts: &mut Counts,
        random: &mut Random,
    ) {
        let Some(node) = self.node.as_deref_mut() else {
            return;
        };
        let mut k = 0;
        while k < self.pending.len() {
            let pending = self.pending[k];
            let done = pending.done();
            if done > now {
                k += 1;
                continue;
            }
            self.pending.swap_remove(k);
            let peer = &told[pending.with.host as usize];
            if peer.away || peer.life != pending.with.life {
                continue;
            }
            let (said, forward, reverse) =
                pending.seen(world, &self.clock.segment, peer, self.who.host);
            counts.completed += 1;
            node.exchanged(pending.link, &said, (forward, reverse));
        }
        let raw = raw_time(&self.clock.segment, now);
        node.handle_timeout(raw);
        let mut wanted = 0;
        let mut census = false;
        // What was wished for last tick and what is now; new peers are chosen at once.
        for _ in 0..2 {
            while let Some(event) = node.poll_event() {
                match event {
                    Event::Connect(candidate) => {
                        let peer = Who::of(&candidate.id);
                        let there = &told[peer.host as usize];
                        let parted = world
                            .plan
                            .happenings
                            .iter()
                            .any(|h| h.parts(self.who.host, peer.host, tick.round));
                        if there.away || parted || there.life != peer.life {
                            node.connect_failed(raw, &candidate.id);
                            node.peer_lost(&candidate.id, raw);
                        } else {
                            node.session_up(raw, candidate.id, candidate.addr, false);
                        }
                    }
                    Event::WantPeers(count) => wanted = count,
                    Event::State(ClockState::Synchronized) if !self.arrived => {
                        self.arrived = true;
                        counts.arrived += 1;
                        counts.arriving += now - self.born;
                    }
                    Event::Dropped(_) | Event::State(_) | Event::Stepped(_) => {}
                }
            }
            if census || wanted == 0 {
                break;
            }
            for _ in 0..wanted {
                if let Some(peer) = find(world, self.who.host, random) {
                    let found = &told[peer as usize];
                    let malicious = peer >= world.plan.honest();
                    if !found.away {
                        let crowded = malicious && world.plan.attack.is_crowded();
                        let who = Who {
                            host: peer,
                            life: found.life,
                        };
                        node.peer_found(who.candidate(crowded));
                    }
                }
            }
            node.handle_timeout(raw);
            census = true;
        }
        while let Some((id, link)) = node.poll_exchange() {
            counts.begun += 1;
            let with = Who::of(&id);
            self.neighbour = with.host;
            let parted = world
                .plan
                .happenings
                .iter()
                .any(|h| h.parts(self.who.host, with.host, tick.round));
            if parted {
                continue;
            }
            let delays = world.paths.exchange(self.who.host, with.host, now, random);
            if let Some((there, back)) = delays {
                let malicious = with.host >= world.plan.honest();
                let held = if malicious {
                    world.plan.attack.holds(there + back)
                } else {
                    0.0
                };
                self.pending.push(Pending {
                    link,
                    with,
                    sent: now,
                    there: there as f32,
                    back: (back + held) as f32,
                });
            }
        }
    }

    /// What it shows at true time `at`, which is about now; `None` if it is not there or malicious.
    pub(super) fn shown(&self, at: i64) -> Option<Shown> {
        let node = self.node.as_ref().filter(|_| !self.away)?;
        let view = node.clock();
        let exact = self.clock.segment.read(at);
        let raw = RawTime::from_nanos(exact.floor() as i64);
        let (shown, fraction) = view.line.at_exact(raw);
        let error = (shown.as_nanos() - EPOCH - at) as f64 + fraction + (exact - exact.floor());
        Some(Shown {
            error,
            bound: view.bound_at(raw).map(Span::as_nanos_f64),
            synchronized: view.state == ClockState::Synchronized,
            neighbour: self.neighbour,
        })
    }

    /// Heap memory of one host with its node, bytes, links included.
    pub(super) fn size(neighbours: usize) -> usize {
        let link = Node::<E, C, Crowd>::link_bytes();
        size_of::<Self>() + size_of::<Node<E, C, Crowd>>() + neighbours * link
    }
}

impl Pending {
    fn done(&self) -> i64 {
        self.arrives() + HANDLING + self.back as i64
    }

    const fn arrives(&self) -> i64 {
        self.sent + self.there as i64
    }

    /// What the one who asked sees of it: what the peer says, and the two packets.
    fn seen(
        &self,
        world: &World,
        own: &Segment,
        peer: &Told,
        asks: u32,
    ) -> (Message, OneWay, OneWay) {
        let (arrives, done) = (self.arrives(), self.done());
        let answers = arrives + HANDLING;
        let plan = &world.plan;
        let said = if self.with.host >= plan.honest() {
            plan.attack
                .says(&peer.clock, asks, answers, &world.honest, EPOCH)
        } else {
            peer.message()
        };
        let error = STAMP + STAMP;
        let forward = OneWay::forward(
            raw_time(own, self.sent),
            raw_time(&peer.clock, arrives),
            error,
        );
        let reverse = OneWay::reverse(raw_time(&peer.clock, answers), raw_time(own, done), error);
        (said, forward, reverse)
    }
}

/// A stamp of the instant `at`.
fn raw_time(clock: &Segment, at: i64) -> RawTime {
    RawTime::from_nanos(clock.read(at).round() as i64)
}

/// How long a newcomer stays, s.
fn session(plan: &Plan, random: &mut Random) -> Option<f64> {
    if plan.churn <= 0.0 {
        return None;
    }
    let mean = 60.0 / plan.churn;
    Some(match plan.sessions {
        Sessions::Poisson => random.exponential(mean),
        // Of index 3/2, the mean is three times the least.
        Sessions::Pareto => mean / 3.0 * (1.0 - random.unit()).powf(-2.0 / 3.0),
    })
}

/// A peer for `host`.
fn find(world: &World, host: u32, random: &mut Random) -> Option<u32> {
    let plan = &world.plan;
    if plan.near > 0.0 && random.unit() < plan.near {
        let nth = random.bits() as u32;
        return world.paths.nearby(host, nth);
    }
    let poisoned = plan.attack.poisons(host, plan.malicious);
    if poisoned > 0.0 && plan.liars() > 0 && random.unit() < poisoned {
        let nth = (random.unit() * f64::from(plan.liars())) as u32;
        return Some(plan.honest() + nth);
    }
    world.draw.draw(host, random)
}

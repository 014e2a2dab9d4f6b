//! What a host is whatever the fidelity: who it is, its clock, how long it stays.

use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::consensus::{Combine, Ensemble};
use parisync::link::LinkEstimator;
use parisync::node::{Node, NodeConfig, Size};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::wire::ClockState;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::attack::Honest;
use super::clock::{Clock, Segment, warmth};
use super::draw::Draw;
use super::identity::{Who, scatter};
use super::paths::Paths;
use super::plan::{Plan, Sessions};
use crate::sim::{OscillatorModel, Random};
use crate::units::Fraction;

/// What the virtual clocks would show at true time zero if they were right, ns.
pub(super) const EPOCH: i64 = 1_700_000_000_000_000_000;

/// Each stamp may be off by this much: kernel stamps.
pub(super) const STAMP: Span = Span::from_nanos(30);

/// Between the arrival of a question and the departure of the answer, ns.
pub(super) const HANDLING: i64 = 20_000;

/// References that each host is told of.
const KNOWN: u64 = 3;

/// Streams of random numbers.
const LIVES: u64 = 0x3 << 56;
const CLOCKS: u64 = 0x6 << 56;

/// What all hosts live in.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) node: NodeConfig,
    oscillator: OscillatorModel,
    pub(super) paths: Paths,
    pub(super) draw: Box<dyn Draw>,
    pub(super) honest: Honest,
    /// Hosts from this number on are malicious.
    truthful: u32,
}

impl World {
    /// The world of `plan`, each node being told `node`.
    pub(super) fn new(plan: &Plan, node: NodeConfig) -> Self {
        Self {
            node,
            oscillator: plan.oscillator(),
            paths: Paths::new(plan),
            draw: plan.draw(),
            honest: Honest::default(),
            truthful: plan.honest(),
            plan: plan.clone(),
        }
    }

    pub(super) fn is_malicious(&self, host: u32) -> bool {
        host >= self.truthful
    }

    pub(super) fn is_reference(&self, host: u32) -> bool {
        host < self.plan.references()
    }

    /// What the oscillator of `host` is like; a reference has none to speak of.
    fn oscillator(&self, host: u32) -> &OscillatorModel {
        const TRUE: OscillatorModel = OscillatorModel {
            drift: Fraction(0.0),
            wander: Fraction(0.0),
            flicker: Fraction(0.0),
            white: Fraction(0.0),
        };
        if self.is_reference(host) {
            &TRUE
        } else {
            &self.oscillator
        }
    }

    /// The references that `host` knows.
    fn references(&self, host: u32) -> impl Iterator<Item = Who> {
        let all = u64::from(self.plan.references());
        let first = scatter(u64::from(host) ^ 0x7265_6665) % all.max(1);
        // References next to each other are as good as any.
        let known = (0..all.min(KNOWN)).map(move |k| (first + k) % all.max(1));
        let others = known.filter(move |reference| *reference != u64::from(host));
        others.map(|reference| Who {
            host: reference as u32,
            life: 0,
        })
    }

    /// Whether no packet passes between two hosts.
    pub(super) fn parts(&self, a: u32, b: u32, round: f64) -> bool {
        let mut all = self.plan.happenings.iter();
        all.any(|happening| happening.parts(a, b, round))
    }

    /// A peer for `host`, as its link structure finds one.
    pub(super) fn find(&self, host: u32, random: &mut Random) -> Option<u32> {
        let plan = &self.plan;
        let poisoned = plan.attack.poisons(host, plan.malicious);
        if poisoned > 0.0 && plan.liars() > 0 && random.unit() < poisoned {
            let nth = (random.unit() * f64::from(plan.liars())) as u32;
            return Some(plan.honest() + nth);
        }
        self.draw.draw(host, random)
    }

    /// The tick that begins at `begin`.
    pub(super) fn tick(&self, nth: u64) -> Tick {
        let width = self.plan.tick();
        Tick {
            nth,
            begin: nth as i64 * width,
            width,
            round: nth as f64 / f64::from(self.plan.ticks()),
        }
    }
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
    /// Frequency of its oscillator without noise, as a fraction.
    pub(super) oscillator: f32,
    /// More of its neighbours are malicious than its bound tolerates.
    pub(super) overwhelmed: bool,
}

/// What happened in all.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// What the fidelity counts: exchanges, or messages and timeouts.
    pub(super) events: u64,
    /// Packets sent.
    pub(super) packets: u64,
    /// Newcomers that were synchronized, and how long all of them together took, ns.
    pub(super) arrived: u64,
    pub(super) arriving: i64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.packets += other.packets;
        self.arrived += other.arrived;
        self.arriving += other.arriving;
    }
}

/// A strategy for many links that a plan may name.
pub(super) trait Chosen: Combine + Send + Sync + Serialize + DeserializeOwned {
    /// The strategy `kind` of the node whose order key is `own`.
    fn chosen(kind: CombineKind, own: u64) -> Self;
}

impl<const MOST: usize> Chosen for Ensemble<MOST> {
    fn chosen(_: CombineKind, _: u64) -> Self {
        Self::default()
    }
}

impl Chosen for AnyCombine {
    fn chosen(kind: CombineKind, own: u64) -> Self {
        Self::new(kind, own)
    }
}

/// What estimates links here: a strategy that threads can share and that can be put aside.
pub(super) trait Estimates:
    LinkEstimator<Kind: Send + Sync + Serialize + DeserializeOwned>
    + Send
    + Sync
    + Serialize
    + DeserializeOwned
{
}

impl<E> Estimates for E where
    E: LinkEstimator<Kind: Send + Sync + Serialize + DeserializeOwned>
        + Send
        + Sync
        + Serialize
        + DeserializeOwned
{
}

/// A host without its node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) who: Who,
    pub(super) clock: Clock,
    /// True time, ns.
    pub(super) born: i64,
    dies: i64,
    arrived: bool,
    pub(super) away: bool,
}

impl Body {
    /// Host `host` at the start, and the random numbers of its first life.
    pub(super) fn new(world: &World, host: u32) -> (Self, Random) {
        let mut random = Random::new(world.plan.seed, LIVES | u64::from(host));
        let clock = Clock::new(world.oscillator(host), 0, &mut random);
        let body = Self {
            who: Who { host, life: 0 },
            clock,
            born: 0,
            dies: i64::MAX,
            arrived: false,
            away: false,
        };
        (body, random)
    }

    /// Whether another host takes its place, now that it is `now` in the round `tick` belongs to.
    pub(super) fn is_replaced(&mut self, world: &World, tick: &Tick, now: i64) -> bool {
        if world.is_reference(self.who.host) {
            return false;
        }
        let was_away = self.away;
        let mut all = world.plan.happenings.iter();
        self.away = all.any(|happening| happening.is_away(self.who.host, tick.round));
        now >= self.dies || (was_away && !self.away)
    }

    /// Another takes its place.
    pub(super) fn replace(&mut self, world: &World, begin: i64) -> Random {
        self.who.life += 1;
        let number = scatter(u64::from(self.who.life) << 32 | u64::from(self.who.host));
        let mut random = Random::new(world.plan.seed, LIVES ^ number);
        self.clock = Clock::new(world.oscillator(self.who.host), begin, &mut random);
        random
    }

    /// A node that has just been started here.
    pub(super) fn start<E: LinkEstimator, C: Chosen, S: Size>(
        &mut self,
        world: &World,
        now: i64,
        random: &mut Random,
    ) -> Node<E, C, S> {
        let plan = &world.plan;
        self.born = now;
        self.arrived = false;
        let stay = if world.is_malicious(self.who.host) {
            plan.attack.stay()
        } else if world.is_reference(self.who.host) {
            None
        } else {
            session(plan, random)
        };
        self.dies = stay.map_or(i64::MAX, |stay| now.saturating_add((1e9 * stay) as i64));
        let raw = raw_time(&self.clock.segment, now);
        let offset = random.symmetric(plan.offset.0) as i64;
        let shown = VirtualTime::from_nanos(EPOCH + now + offset);
        let mut node = Node::with_strategies(
            world.node.clone(),
            raw,
            VirtualLine::new(raw, shown, Rate::ZERO),
            random.bits(),
            E::Kind::default(),
            C::chosen(plan.strategy, self.who.id().order_key()),
        );
        let trusts = !world.is_malicious(self.who.host);
        for reference in world.references(self.who.host).filter(|_| trusts) {
            node.peer_found(reference.reference());
        }
        if world.is_reference(self.who.host) {
            node.truth(Some(Rate::ZERO));
        }
        node
    }

    /// Go on to the tick after `tick`.
    pub(super) fn advance(&mut self, world: &World, tick: &Tick) {
        let host = u64::from(self.who.host);
        let stream = CLOCKS ^ scatter(tick.nth << 32 | host);
        let mut random = Random::new(world.plan.seed, stream);
        let warm = if world.is_reference(self.who.host) {
            0.0
        } else {
            warmth(&world.plan.happenings, self.who.host, tick.round)
        };
        let seconds = tick.width as f64 / 1e9;
        let end = tick.begin + tick.width;
        self.clock.advance(
            world.oscillator(self.who.host),
            end,
            seconds,
            warm,
            &mut random,
        );
    }

    /// Its node is synchronized.
    pub(super) fn arrive(&mut self, now: i64, counts: &mut Counts) {
        if !self.arrived {
            self.arrived = true;
            counts.arrived += 1;
            counts.arriving += now - self.born;
        }
    }

    /// What it shows at true time `at`, which is about now; `None` if it is not there.
    pub(super) fn shown<E: LinkEstimator, C: Combine, S: Size>(
        &self,
        world: &World,
        node: &Node<E, C, S>,
        neighbour: u32,
        at: i64,
    ) -> Option<Shown> {
        if self.away {
            return None;
        }
        let view = node.clock();
        let exact = self.clock.segment.read(at);
        let raw = RawTime::from_nanos(exact.floor() as i64);
        let (shown, fraction) = view.line.at_exact(raw);
        Some(Shown {
            error: (shown.as_nanos() - EPOCH - at) as f64 + fraction + (exact - exact.floor()),
            bound: view.bound_at(raw).map(Span::as_nanos_f64),
            synchronized: view.state == ClockState::Synchronized,
            neighbour,
            oscillator: self.clock.base() as f32,
            overwhelmed: world.plan.malicious > 0.0 && {
                let liars = node
                    .neighbours()
                    .filter(|id| world.is_malicious(Who::of(id).host));
                liars.count() > usize::from(view.liars)
            },
        })
    }
}

/// A stamp of the instant `at`.
pub(super) fn raw_time(clock: &Segment, at: i64) -> RawTime {
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

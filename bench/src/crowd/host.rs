//! One host in exchange fidelity: how it lives through a tick, alone.

use parisync::link::{LinkEstimator, OneWay};
use parisync::node::{Crowd, Event, LinkId, Node};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::wire::{ClockState, Excess, Message, Promise, Tier};
use serde::{Deserialize, Serialize};

use super::body::EPOCH;
use super::body::{Body, Chosen, Counts, HANDLING, STAMP, Shown, Tick, World, raw_time};
use super::clock::Segment;
use super::identity::{Who, scatter};
use crate::sim::Random;

/// Stream of random numbers.
const TICKS: u64 = 0x4 << 56;

/// What others see of a host until the next tick.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Told {
    /// Its raw clock in the tick that comes.
    clock: Segment,
    line: VirtualLine,
    slack: f32,
    rate: f32,
    hold: f32,
    wander: f32,
    local: f32,
    excess: Excess,
    /// Which of those that were at this place.
    life: u32,
    state: ClockState,
    away: bool,
}

impl Told {
    /// Of a host that has not said anything.
    const NOTHING: Self = Self {
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
        local: 0.0,
        excess: Excess::UNKNOWN,
        life: 0,
        state: ClockState::Unsynchronized,
        away: false,
    };

    fn new(said: &Message) -> Self {
        Self {
            line: said.line,
            slack: said.promise.slack.as_nanos_f64() as f32,
            rate: said.promise.rate.as_fraction() as f32,
            hold: said.promise.hold.as_secs_f64() as f32,
            wander: said.promise.wander.unwrap_or(0.0) as f32,
            local: said.local.as_nanos_f64() as f32,
            excess: said.excess,
            state: said.state,
            ..Self::NOTHING
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
            local: Span::from_nanos_f64(f64::from(self.local)),
            excess: self.excess,
        }
    }

    const fn is(&self, who: Who) -> bool {
        !self.away && self.life == who.life
    }
}

/// An exchange that has begun.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Pending {
    link: LinkId,
    with: Who,
    /// In which tick; at the instant of the host that asks.
    tick: u32,
    /// What its packets take, ns.
    there: f32,
    back: f32,
}

/// One host.
#[derive(Serialize, Deserialize)]
#[serde(bound(
    serialize = "E: Serialize, E::Kind: Serialize, C: Serialize",
    deserialize = "E: Deserialize<'de>, E::Kind: Deserialize<'de>, C: Deserialize<'de>"
))]
pub(super) struct Host<E: LinkEstimator, C> {
    body: Body,
    /// Malicious ones have no node.
    node: Option<Box<Node<E, C, Crowd>>>,
    pending: Vec<Pending>,
    /// Who was asked last; for the statistics.
    neighbour: u32,
}

impl<E: LinkEstimator, C: Chosen> Host<E, C> {
    /// Host `host` at the start.
    pub(super) fn new(world: &World, host: u32) -> Self {
        let (body, mut random) = Body::new(world, host);
        let mut host = Self {
            body,
            node: None,
            pending: Vec::new(),
            neighbour: host,
        };
        host.live(world, 0, &mut random);
        host
    }

    /// What others see of it before the first tick.
    pub(super) const fn first(&self) -> Told {
        Told {
            clock: self.body.clock.segment,
            ..Told::NOTHING
        }
    }

    fn live(&mut self, world: &World, now: i64, random: &mut Random) {
        self.pending = Vec::new();
        let node = self.body.start(world, now, random);
        if !world.is_malicious(self.body.who.host) {
            self.node = Some(Box::new(node));
        }
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
        let host = u64::from(self.body.who.host);
        // Each acts at a time of its own within the tick.
        let now = tick.begin + (scatter(host) >> 16) as i64 % tick.width;
        if self.body.is_replaced(world, tick, now) {
            let mut random = self.body.replace(world, tick.begin);
            self.live(world, now, &mut random);
        }
        let mut next = Told::NOTHING;
        if !self.body.away && self.node.is_some() {
            let stream = TICKS ^ scatter(tick.nth << 32 | host);
            let mut random = Random::new(world.plan.seed, stream);
            self.act(world, tick, now, told, counts, &mut random);
            let raw = raw_time(&self.body.clock.segment, now);
            if let Some(node) = &mut self.node {
                next = Told::new(&node.announce(raw));
            }
        }
        // Its clock in the next tick, so that others can ask it then.
        self.body.advance(world, tick);
        Told {
            clock: self.body.clock.segment,
            life: self.body.who.life,
            away: self.body.away,
            ..next
        }
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
        let us = self.body.who.host;
        let clock = self.body.clock.segment;
        let Some(node) = self.node.as_deref_mut() else {
            return;
        };
        let phase = now - tick.begin;
        let sent = |pending: &Pending| i64::from(pending.tick) * tick.width + phase;
        // Read all of them at once: memory answers no sooner to one.
        let lives = self.pending.iter().map(|p| told[p.with.host as usize].life);
        std::hint::black_box(lives.fold(0, |all, life| all ^ life));
        let mut k = 0;
        while k < self.pending.len() {
            let pending = self.pending[k];
            let sent = sent(&pending);
            if pending.done(sent) > now {
                k += 1;
                continue;
            }
            self.pending.swap_remove(k);
            let peer = &told[pending.with.host as usize];
            if peer.is(pending.with) {
                let (said, packets) = pending.seen(world, sent, &clock, peer, us);
                node.exchanged(pending.link, &said, packets);
            }
        }
        let raw = raw_time(&clock, now);
        node.handle_timeout(raw);
        // Peers that are found in answer to a wish are chosen and met at once.
        for searched in [false, true] {
            let (mut wanted, mut near) = (0, 0);
            while let Some(event) = node.poll_event() {
                match event {
                    Event::Connect(candidate) => {
                        let peer = Who::of(&candidate.id);
                        let there = &told[peer.host as usize];
                        if there.is(peer) && !world.parts(us, peer.host, tick.round) {
                            node.session_up(raw, candidate.id, candidate.addr, false);
                        } else {
                            node.connect_failed(raw, &candidate.id);
                            node.peer_lost(&candidate.id, raw);
                        }
                    }
                    Event::WantPeers(count) => wanted = count,
                    Event::WantNear(count) => near = count,
                    Event::State(ClockState::Synchronized) => self.body.arrive(now, counts),
                    // It knows few, and should not take this one again for want of others.
                    Event::Dropped(peer) => node.peer_lost(&peer, raw),
                    Event::State(_) | Event::Stepped(_) => {}
                }
            }
            if searched || wanted + near == 0 {
                break;
            }
            for _ in 0..wanted {
                let found = world.find(us, random);
                if let Some(host) = found.filter(|host| !told[*host as usize].away) {
                    let life = told[host as usize].life;
                    let crowded = world.is_malicious(host) && world.plan.attack.is_crowded();
                    node.peer_found(Who { host, life }.candidate(crowded));
                }
            }
            for _ in 0..near {
                let found = world.paths.nearby(us, random.bits() as u32);
                if let Some(host) = found.filter(|host| !told[*host as usize].away) {
                    let life = told[host as usize].life;
                    node.peer_found(Who { host, life }.nearby());
                }
            }
            node.handle_timeout(raw);
        }
        while let Some((id, link)) = node.poll_exchange() {
            let with = Who::of(&id);
            counts.events += 1;
            counts.packets += 2;
            self.neighbour = with.host;
            if world.parts(us, with.host, tick.round) {
                continue;
            }
            let Some((there, back)) = world.paths.exchange(us, with.host, now, random) else {
                continue;
            };
            let held = if world.is_malicious(with.host) {
                world.plan.attack.holds(there + back)
            } else {
                0.0
            };
            self.pending.push(Pending {
                link,
                with,
                tick: tick.nth as u32,
                there: there as f32,
                back: (back + held) as f32,
            });
        }
    }

    /// What it shows at true time `at`, which is about now; `None` if it is not there or malicious.
    pub(super) fn shown(&self, world: &World, at: i64) -> Option<Shown> {
        self.body
            .shown(world, self.node.as_deref()?, self.neighbour, at)
    }
}

impl Pending {
    fn done(&self, sent: i64) -> i64 {
        self.arrives(sent) + HANDLING + self.back as i64
    }

    const fn arrives(&self, sent: i64) -> i64 {
        sent + self.there as i64
    }

    /// What the one who asks sees of it: what the peer says, and the two packets.
    fn seen(
        &self,
        world: &World,
        sent: i64,
        own: &Segment,
        peer: &Told,
        asks: u32,
    ) -> (Message, (OneWay, OneWay)) {
        let (arrives, done) = (self.arrives(sent), self.done(sent));
        let answers = arrives + HANDLING;
        let said = if world.is_malicious(self.with.host) {
            let attack = world.plan.attack;
            attack.says(&peer.clock, asks, answers, &world.honest, EPOCH)
        } else {
            peer.message()
        };
        let error = STAMP + STAMP;
        let there = raw_time(&peer.clock, arrives);
        let back = raw_time(&peer.clock, answers);
        (
            said,
            (
                OneWay::forward(raw_time(own, sent), there, error),
                OneWay::reverse(back, raw_time(own, done), error),
            ),
        )
    }
}

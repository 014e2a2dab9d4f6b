//! Message fidelity: every datagram is an event, and nodes are of the daemon's size.
//!
//! Events wait in buckets no wider than the quickest packet takes, so that nothing that is sent in
//! a bucket arrives in it: within a bucket each host lives alone, and hosts are shared out among
//! threads. Events of a host are sorted by time and sender, so the number of threads changes
//! nothing.

use std::collections::BTreeMap;

use parisync::link::LinkEstimator;
use parisync::node::{Daemon, Event, Node, RawStamp};
use parisync::wire::{ClockState, Message, StampSource};
use serde::{Deserialize, Serialize};

use super::body::{
    Body, Chosen, Counts, EPOCH, Estimates, HANDLING, STAMP, Shown, Tick, World, raw_time,
};
use super::checkpoint::{CheckpointError, Loader, Saver};
use super::engine::{Network, WATCHED};
use super::identity::{Who, scatter};
use super::measure::honest;
use super::plan::Plan;
use crate::sim::Random;

/// Stream of random numbers.
const PACKETS: u64 = 0x7 << 56;

/// With fewer events in a bucket, threads cost more than they save.
const WORTH: usize = 4_096;

/// Peers that chose a node and are answered, for each neighbour it chooses itself: as many on
/// average, and who is chosen by more has to leave some of them out.
const INBOUND: usize = 2;

#[derive(Serialize, Deserialize)]
enum What {
    Wake,
    /// A session was opened by this peer.
    Met(Who),
    Arrive(Who, Message),
}

#[derive(Serialize, Deserialize)]
struct Waiting {
    at: i64,
    to: Who,
    /// Tells events of the same instant apart.
    order: u64,
    what: What,
}

impl Waiting {
    const fn key(&self) -> (u32, i64, u64) {
        (self.to.host, self.at, self.order)
    }
}

/// One host.
#[derive(Serialize, Deserialize)]
#[serde(bound(
    serialize = "E: Serialize, E::Kind: Serialize, C: Serialize",
    deserialize = "E: Deserialize<'de>, E::Kind: Deserialize<'de>, C: Deserialize<'de>"
))]
struct Host<E: LinkEstimator, C> {
    body: Body,
    node: Node<E, C, Daemon>,
    /// The clock's tick.
    tick: u64,
    wakes: i64,
    /// Packets sent; each draws its fate from a stream of its own.
    sent: u64,
    neighbour: u32,
}

/// Who is at a place, as others can know.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Present {
    life: u32,
    away: bool,
}

impl Present {
    const fn is(self, who: Who) -> bool {
        !self.away && self.life == who.life
    }
}

/// What a bucket's events lead to.
#[derive(Default)]
struct Made {
    waiting: Vec<Waiting>,
    counts: Counts,
}

/// A network of hosts with these strategies.
pub(super) struct Messages<E: LinkEstimator, C> {
    world: World,
    hosts: Vec<Host<E, C>>,
    present: Vec<Present>,
    waiting: BTreeMap<i64, Vec<Waiting>>,
    /// Length of a bucket, ns.
    width: i64,
    tick: u64,
    counts: Counts,
    threads: usize,
}

impl<E: Estimates, C: Chosen> Messages<E, C> {
    /// The network at its start.
    pub(super) fn new(plan: &Plan) -> Self {
        let node = parisync::node::NodeConfig {
            inbound: INBOUND * plan.neighbours,
            candidates: (2 + INBOUND) * plan.neighbours,
            ..plan.node()
        };
        let world = World::new(plan, node);
        let start = |n: u32| {
            let (mut body, mut random) = Body::new(&world, n);
            let node = body.start(&world, 0, &mut random);
            Host {
                body,
                node,
                tick: 0,
                wakes: i64::MAX,
                sent: 0,
                neighbour: n,
            }
        };
        let hosts: Vec<_> = (0..plan.nodes).map(start).collect();
        let present = Present {
            life: 0,
            away: false,
        };
        let mut network = Self {
            threads: plan.threads(),
            present: vec![present; hosts.len()],
            hosts,
            waiting: BTreeMap::new(),
            width: world.paths.quickest(),
            world,
            tick: 0,
            counts: Counts::default(),
        };
        for n in 0..plan.nodes {
            let to = Who { host: n, life: 0 };
            let at = (scatter(u64::from(n)) >> 16) as i64 % plan.tick();
            network.wait(Waiting {
                at,
                to,
                order: 0,
                what: What::Wake,
            });
        }
        network
    }

    fn wait(&mut self, waiting: Waiting) {
        let bucket = waiting.at / self.width;
        self.waiting.entry(bucket).or_default().push(waiting);
    }

    /// Live up to the end of a tick.
    fn pass(&mut self) {
        let tick = self.world.tick(self.tick);
        self.turn(&tick);
        let last = (tick.begin + tick.width - 1) / self.width;
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > last {
                break;
            }
            let (bucket, mut events) = entry.remove_entry();
            events.sort_unstable_by_key(Waiting::key);
            self.bucket(&tick, (bucket + 1) * self.width, events);
        }
        self.tick += 1;
    }

    /// What happens between two ticks: hosts are replaced, liars look around.
    fn turn(&mut self, tick: &Tick) {
        let world = &self.world;
        let mut woken = Vec::new();
        for (host, present) in self.hosts.iter_mut().zip(&mut self.present) {
            host.turn(world, tick);
            if host.body.is_replaced(world, tick, tick.begin) {
                let mut random = host.body.replace(world, tick.begin);
                host.node = host.body.start(world, tick.begin, &mut random);
                host.wakes = i64::MAX;
                woken.push(host.body.who);
            }
            *present = Present {
                life: host.body.who.life,
                away: host.body.away,
            };
        }
        for to in woken {
            self.wait(Waiting {
                at: tick.begin,
                to,
                order: 0,
                what: What::Wake,
            });
        }
        if self.world.plan.malicious > 0.0 {
            let truthful = self.world.plan.honest() as usize;
            let step = (truthful / WATCHED).max(1);
            let watched = self.hosts[..truthful].iter().step_by(step);
            let sample: Vec<Shown> = watched
                .filter_map(|host| host.shown(&self.world, tick.begin))
                .collect();
            self.world.honest = honest(&sample, &self.world.honest, tick.begin);
        }
    }

    fn bucket(&mut self, tick: &Tick, end: i64, events: Vec<Waiting>) {
        let (world, present) = (&self.world, &self.present[..]);
        let parts = if events.len() < WORTH {
            1
        } else {
            self.threads
        };
        let share = self.hosts.len().div_ceil(parts);
        let live = |hosts: &mut [Host<E, C>], first: usize, events: Vec<Waiting>| {
            let mut made = Made::default();
            for event in events {
                let host = &mut hosts[event.to.host as usize - first];
                host.happen(world, tick, present, end, event, &mut made);
            }
            made
        };
        let made: Vec<Made> = if parts == 1 {
            vec![live(&mut self.hosts, 0, events)]
        } else {
            let mut rest = events;
            std::thread::scope(|scope| {
                let mut running = Vec::new();
                for (part, hosts) in self.hosts.chunks_mut(share).enumerate() {
                    let beyond = (part + 1) * share;
                    let cut = rest.partition_point(|event| (event.to.host as usize) < beyond);
                    let later = rest.split_off(cut);
                    let events = std::mem::replace(&mut rest, later);
                    running.push(scope.spawn(move || live(hosts, part * share, events)));
                }
                running
                    .into_iter()
                    .map(|part| {
                        part.join()
                            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect()
            })
        };
        for made in made {
            self.counts.add(&made.counts);
            for waiting in made.waiting {
                self.wait(waiting);
            }
        }
    }
}

impl<E: LinkEstimator, C: Chosen> Host<E, C> {
    /// Bring the clock to the tick.
    fn turn(&mut self, world: &World, tick: &Tick) {
        if self.tick < tick.nth {
            self.body.advance(world, &world.tick(tick.nth - 1));
            self.tick = tick.nth;
        }
    }

    /// `event` happens, and all that it leads to here before `end`.
    fn happen(
        &mut self,
        world: &World,
        tick: &Tick,
        present: &[Present],
        end: i64,
        event: Waiting,
        made: &mut Made,
    ) {
        if self.body.away || event.to.life != self.body.who.life {
            return;
        }
        // What was due before it.
        self.wake(world, tick, present, event.at, made);
        made.counts.events += 1;
        let exact = self.body.clock.segment;
        let raw = raw_time(&exact, event.at);
        match event.what {
            What::Wake => {}
            What::Met(peer) => {
                let candidate = peer.candidate(false);
                self.node.session_up(raw, peer.id(), candidate.addr, true);
            }
            What::Arrive(from, message) => {
                let stamp = RawStamp {
                    at: raw,
                    error: STAMP,
                    source: StampSource::Kernel,
                };
                self.node.receive(raw, &from.id(), &message, stamp);
            }
        }
        self.attend(world, tick, present, event.at, made);
        self.wake(world, tick, present, end, made);
        let due = self.due(event.at);
        if due < self.wakes || self.wakes <= event.at {
            self.wakes = due;
            made.waiting.push(Waiting {
                at: due,
                to: self.body.who,
                order: 0,
                what: What::Wake,
            });
        }
    }

    /// The true time of the next timeout, at `now` or later.
    fn due(&self, now: i64) -> i64 {
        let segment = &self.body.clock.segment;
        let left = self.node.next_timeout().as_nanos() as f64 - segment.read(now);
        now + (left / (1.0 + segment.rate)).ceil().max(1_000.0) as i64
    }

    /// Carry out what is due before `end`.
    fn wake(&mut self, world: &World, tick: &Tick, present: &[Present], end: i64, made: &mut Made) {
        loop {
            let segment = &self.body.clock.segment;
            let due = self.node.next_timeout().as_nanos() as f64;
            let elapsed = (due - segment.start) / (1.0 + segment.rate);
            let at = segment.begin + elapsed.ceil() as i64;
            if at >= end {
                return;
            }
            made.counts.events += 1;
            self.node
                .handle_timeout(raw_time(segment, at.max(segment.begin)));
            self.attend(world, tick, present, at.max(segment.begin), made);
        }
    }

    /// Carry out what the node wants.
    fn attend(
        &mut self,
        world: &World,
        tick: &Tick,
        present: &[Present],
        now: i64,
        made: &mut Made,
    ) {
        let us = self.body.who;
        let clock = self.body.clock.segment;
        let raw = raw_time(&clock, now);
        self.sent += 1;
        let number = scatter(u64::from(us.life) << 32 | u64::from(us.host));
        let mut random = Random::new(world.plan.seed, PACKETS ^ scatter(number ^ self.sent));
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Connect(candidate) => {
                    let peer = Who::of(&candidate.id);
                    let there = present[peer.host as usize];
                    if there.is(peer) && !world.parts(us.host, peer.host, tick.round) {
                        self.node
                            .session_up(raw, candidate.id, candidate.addr, false);
                        made.waiting.push(Waiting {
                            at: now + world.paths.least(us.host, peer.host, now).0 as i64,
                            to: peer,
                            order: u64::from(us.host) << 32,
                            what: What::Met(us),
                        });
                    } else {
                        self.node.connect_failed(raw, &candidate.id);
                        self.node.peer_lost(&candidate.id, raw);
                    }
                }
                Event::WantPeers(count) => {
                    for _ in 0..count {
                        let found = world.find(us.host, &mut random);
                        if let Some(host) = found.filter(|host| !present[*host as usize].away) {
                            let life = present[host as usize].life;
                            let crowded =
                                world.is_malicious(host) && world.plan.attack.is_crowded();
                            self.node.peer_found(Who { host, life }.candidate(crowded));
                        }
                    }
                }
                Event::WantNear(count) => {
                    for _ in 0..count {
                        let found = world.paths.nearby(us.host, random.bits() as u32);
                        if let Some(host) = found.filter(|host| !present[*host as usize].away) {
                            let life = present[host as usize].life;
                            self.node.peer_found(Who { host, life }.nearby());
                        }
                    }
                }
                Event::State(ClockState::Synchronized) => {
                    if !world.is_malicious(us.host) {
                        self.body.arrive(now, &mut made.counts);
                    }
                }
                Event::Dropped(_) | Event::State(_) | Event::Stepped(_) => {}
            }
        }
        while let Some(transmit) = self.node.poll_transmit(raw) {
            let to = Who::of(&transmit.peer);
            self.neighbour = to.host;
            made.counts.packets += 1;
            let mut message = transmit.message;
            let left = now + HANDLING;
            let mut held = 0.0;
            let (least, _) = world.paths.least(us.host, to.host, left);
            if world.is_malicious(us.host) {
                let attack = world.plan.attack;
                let lie = attack.says(&clock, to.host, left, &world.honest, EPOCH);
                message = Message {
                    seq: message.seq,
                    wants_reply: message.wants_reply,
                    last_tx: message.last_tx,
                    last_rx: message.last_rx,
                    prior_rx: message.prior_rx,
                    ..lie
                };
                held = attack.holds(2.0 * least);
            }
            let stamp = RawStamp {
                at: raw_time(&clock, left),
                error: STAMP,
                source: StampSource::Kernel,
            };
            self.node.transmitted(transmit.link, message.seq, stamp);
            let parted = world.parts(us.host, to.host, tick.round);
            if let Some(delay) = world.paths.packet(us.host, to.host, left, &mut random)
                && !parted
            {
                made.waiting.push(Waiting {
                    at: left + (delay + held) as i64,
                    to,
                    order: u64::from(us.host) << 32 | u64::from(message.seq),
                    what: What::Arrive(us, message),
                });
            }
        }
    }

    fn shown(&self, world: &World, at: i64) -> Option<Shown> {
        self.body.shown(world, &self.node, self.neighbour, at)
    }
}

impl<E: Estimates, C: Chosen> Network for Messages<E, C> {
    fn round(&mut self) {
        for _ in 0..self.world.plan.ticks() {
            self.pass();
        }
    }

    fn shown(&self) -> Vec<Option<Shown>> {
        let now = self.world.tick(self.tick).begin;
        let truthful = self.world.plan.honest();
        let shown = |host: &Host<E, C>| {
            let honest = host.body.who.host < truthful;
            honest.then(|| host.shown(&self.world, now)).flatten()
        };
        self.hosts.iter().map(shown).collect()
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn sizes(&self) -> (usize, usize) {
        let link = Node::<E, C, Daemon>::link_bytes();
        let peers = (1 + INBOUND) * self.world.plan.neighbours;
        (size_of::<Host<E, C>>() + peers * link, link)
    }

    fn save(&self, to: &mut Saver) -> Result<(), CheckpointError> {
        to.put(&(self.tick, self.counts, &self.world.honest))?;
        to.put_hosts(&self.hosts, &self.present)?;
        to.put(&self.waiting)
    }

    fn restore(&mut self, from: &mut Loader) -> Result<(), CheckpointError> {
        (self.tick, self.counts, self.world.honest) = from.take()?;
        from.take_hosts(&mut self.hosts, &mut self.present)?;
        self.waiting = from.take()?;
        Ok(())
    }
}

//! The lean model: a number for each host, a step for each round.
//!
//! No packets, no filters, no bounds, and not the daemon's code: what is left of a node is what
//! its consensus comes to round after round. It serves sweeps over sizes that the other fidelities
//! are too slow for, and is held against them in a test.
//!
//! A newcomer listens, then jumps to the lower median of whom it hears until it has arrived; who
//! has, moves by a share of the mean without the outermost thirds. What a link is off by for good,
//! half of the difference between its directions, stays; the rest of its noise averages out.

use super::body::{Counts, Shown, World};
use super::engine::{Network, share_out};
use super::identity::scatter;
use super::measure::honest;
use super::plan::Plan;
use crate::sim::Random;

/// Streams of random numbers.
const STARTS: u64 = 0x9 << 56;
const STEPS: u64 = 0xa << 56;

/// Share of the offset that a round corrects, and of the frequency.
const GAIN: (f64, f64) = (0.3, 0.1);

/// Rounds that newcomers listen before they call themselves synchronized.
const LISTEN: u8 = 3;

/// Who has to jump by less, ns, or by less than the links are off by, has arrived.
const ARRIVED: f64 = 2_000.0;

/// Who is this close to the others in frequency, as a fraction, has arrived.
const RATE_ARRIVED: f64 = 0.2e-6;

/// Largest slew in a round, as a fraction of its length.
const SLEW: f64 = 1e-6;

/// Hosts that a thread takes at once.
const CHUNK: usize = 4_096;

/// Most neighbours.
const MOST: usize = parisync::consensus::MAX_READINGS;

#[derive(Debug, Clone, Copy)]
struct Host {
    /// Of its virtual clock against true time, ns.
    error: f64,
    /// Frequency of its virtual clock, as a fraction.
    rate: f64,
    /// Of its oscillator.
    oscillator: f32,
    /// Rounds since it came; stays at the most it can be.
    age: u8,
    synchronized: bool,
}

/// All hosts.
pub(super) struct Rounds {
    world: World,
    hosts: Vec<Host>,
    next: Vec<Host>,
    /// The neighbours of each, and what the links to them are off by, ns.
    links: Vec<(u32, f32)>,
    round: u64,
    counts: Counts,
    threads: usize,
}

impl Rounds {
    /// The network at its start.
    pub(super) fn new(plan: &Plan) -> Self {
        let world = World::new(plan, plan.node());
        let start = |n: u32| {
            let mut random = Random::new(plan.seed, STARTS | u64::from(n));
            newcomer(plan, &mut random)
        };
        let mut links = vec![(0, 0.0); plan.nodes as usize * plan.neighbours];
        let chunks = links.chunks_mut(plan.neighbours).enumerate();
        share_out(plan.threads(), chunks, |(n, links)| {
            let mut random = Random::new(plan.seed, STARTS | 1 << 40 | n as u64);
            let n = n as u32;
            for link in links {
                let peer = world.find(n, &mut random).unwrap_or(n);
                let (there, back) = world.paths.least(n, peer, 0);
                *link = (peer, (0.5 * (there - back)) as f32);
            }
        });
        let hosts: Vec<Host> = (0..plan.nodes).map(start).collect();
        Self {
            links,
            next: hosts.clone(),
            hosts,
            threads: plan.threads(),
            world,
            round: 0,
            counts: Counts::default(),
        }
    }
}

fn newcomer(plan: &Plan, random: &mut Random) -> Host {
    let oscillator = random.symmetric(plan.drift.0);
    Host {
        error: random.symmetric(plan.offset.0),
        rate: oscillator,
        oscillator: oscillator as f32,
        age: 0,
        synchronized: false,
    }
}

/// How host `n` goes through a round.
fn step(world: &World, hosts: &[Host], n: u32, links: &[(u32, f32)], round: u64) -> Host {
    let plan = &world.plan;
    let mut host = hosts[n as usize];
    let seconds = plan.round.as_secs();
    let mut random = Random::new(plan.seed, STEPS ^ scatter(round << 32 | u64::from(n)));
    if plan.churn > 0.0 && random.unit() < plan.churn * seconds / 60.0 {
        return newcomer(plan, &mut random);
    }
    let at = (round as f64 * plan.round.0) as i64;
    let mut offsets = [0.0; MOST];
    let (mut rates, mut rated, mut len) = (0.0, 0, 0);
    let ready = |peer: &u32| world.is_malicious(*peer) || hosts[*peer as usize].synchronized;
    // An established network is joined, not moved.
    let established = 2 * links.iter().filter(|(peer, _)| ready(peer)).count() > links.len();
    for (peer, bias) in links {
        if !ready(peer) && (host.synchronized || established) {
            continue;
        }
        let there = if world.is_malicious(*peer) {
            let held = plan.attack.holds(2.0 * f64::from(bias.abs()));
            plan.attack.shows(n, at, &world.honest) - 0.5 * held
        } else {
            let peer = &hosts[*peer as usize];
            rates += peer.rate - host.rate;
            rated += 1;
            peer.error
        };
        offsets[len] = there + f64::from(*bias) - host.error;
        len += 1;
    }
    let offsets = &mut offsets[..len];
    host.age = host.age.saturating_add(1);
    if len > 0 {
        let outer = len / 3;
        if host.synchronized {
            offsets.select_nth_unstable_by(outer, f64::total_cmp);
            let inner = &mut offsets[outer..];
            let keep = inner.len() - outer;
            inner.select_nth_unstable_by(keep - 1, f64::total_cmp);
            let mean = inner[..keep].iter().sum::<f64>() / keep as f64;
            let most = SLEW * plan.round.0;
            host.error += (GAIN.0 * mean).clamp(-most, most);
        } else {
            let middle = (len - 1) / 2;
            let jump = *offsets.select_nth_unstable_by(middle, f64::total_cmp).1;
            host.error += jump;
            let apart = (rates / f64::from(rated.max(1))).abs();
            // No jump is needed any more than what the links are off by.
            let biases = links.iter().map(|(_, bias)| f64::from(bias.abs()));
            let near = jump.abs() <= biases.fold(ARRIVED, f64::max);
            host.synchronized = host.age >= LISTEN && near && apart <= RATE_ARRIVED;
        }
        let gain = if host.synchronized { GAIN.1 } else { 1.0 };
        host.rate += gain * rates / f64::from(rated.max(1));
    }
    host.rate += plan.wander.0 * seconds.sqrt() * random.gaussian();
    host.error += host.rate * plan.round.0;
    host
}

impl Network for Rounds {
    fn round(&mut self) {
        let truthful = self.world.plan.honest();
        let now = (self.round as f64 * self.world.plan.round.0) as i64;
        if self.world.plan.malicious > 0.0 {
            let step = (truthful as usize / super::engine::WATCHED).max(1);
            let watched = self.hosts[..truthful as usize].iter().step_by(step);
            let sample: Vec<Shown> = watched.map(|host| host.shown(0)).collect();
            self.world.honest = honest(&sample, &self.world.honest, now);
        }
        let (world, hosts, round) = (&self.world, &self.hosts[..], self.round);
        let neighbours = world.plan.neighbours;
        let links = self.links.chunks(CHUNK * neighbours);
        let chunks = self.next.chunks_mut(CHUNK).zip(links).enumerate();
        share_out(self.threads, chunks, |(chunk, (then, links))| {
            let all = then.iter_mut().zip(links.chunks(neighbours));
            for (n, (then, links)) in (chunk * CHUNK..).zip(all) {
                *then = step(world, hosts, n as u32, links, round);
            }
        });
        std::mem::swap(&mut self.hosts, &mut self.next);
        let exchanges = u64::from(self.world.plan.nodes) * neighbours as u64;
        self.counts.events += exchanges;
        self.counts.packets += 2 * exchanges;
        self.round += 1;
    }

    fn shown(&self) -> Vec<Option<Shown>> {
        let truthful = self.world.plan.honest() as usize;
        let neighbours = self.world.plan.neighbours;
        let shown = |(n, host): (usize, &Host)| {
            let neighbour = self.links[n * neighbours].0;
            (n < truthful).then(|| host.shown(neighbour))
        };
        self.hosts.iter().enumerate().map(shown).collect()
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn sizes(&self) -> (usize, usize) {
        let link = size_of::<(u32, f32)>();
        (
            2 * size_of::<Host>() + self.world.plan.neighbours * link,
            link,
        )
    }
}

impl Host {
    fn shown(&self, neighbour: u32) -> Shown {
        Shown {
            error: self.error,
            bound: None,
            synchronized: self.synchronized,
            neighbour,
            oscillator: self.oscillator,
            overwhelmed: false,
        }
    }
}

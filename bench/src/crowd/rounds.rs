//! The lean model: a number for each host, a step for each round.
//!
//! No packets, no filters, no bounds, and not the daemon's code: what is left of a node is what
//! its consensus comes to round after round. It serves sweeps over sizes that the other fidelities
//! are too slow for, and is held against them in a test.
//!
//! A newcomer listens, then jumps to the lower median of whom it hears until it has arrived; who
//! has, moves by a share of the mean without the outermost thirds. What a link is off by for good,
//! half of the difference between its directions, stays; the rest of its noise averages out.

use serde::{Deserialize, Serialize};

use super::body::{Counts, Shown, World};
use super::checkpoint::{CheckpointError, Loader, Saver};
use super::engine::{Network, share_out};
use super::identity::scatter;
use super::measure::honest;
use super::plan::Plan;
use super::ranks::Ranks;
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

/// Hosts whose neighbours are looked up together: memory answers many questions as soon as one.
const BLOCK: usize = 32;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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

/// What others see of a host: all of them fit into a processor's cache.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Seen {
    /// Its error, ns off that of the network a round ago.
    error: f32,
    /// Its frequency; the lowest bit says whether it is synchronized.
    rate: f32,
}

impl Seen {
    fn of(host: &Host, base: f64) -> Self {
        let bits = (host.rate as f32).to_bits();
        Self {
            error: (host.error - base) as f32,
            rate: f32::from_bits(bits & !1 | u32::from(host.synchronized)),
        }
    }

    const fn is_synchronized(self) -> bool {
        self.rate.to_bits() & 1 == 1
    }
}

/// All hosts.
pub(super) struct Rounds {
    world: World,
    hosts: Vec<Host>,
    seen: Vec<Seen>,
    /// What they show in the round under way.
    showing: Vec<Seen>,
    /// What errors are relative to, ns.
    base: f64,
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
        let seen: Vec<Seen> = hosts.iter().map(|host| Seen::of(host, 0.0)).collect();
        Self {
            links,
            showing: seen.clone(),
            seen,
            base: 0.0,
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

/// A round that all hosts go through at once.
struct Step<'a> {
    world: &'a World,
    seen: &'a [Seen],
    base: f64,
    round: u64,
    seconds: f64,
}

impl Step<'_> {
    /// How host `n` goes through it, `seen` being what its neighbours show.
    fn take(&self, host: &mut Host, n: u32, links: &[(u32, f32)], seen: &[Seen]) {
        let plan = &self.world.plan;
        let drawn = scatter(plan.seed ^ STEPS ^ scatter(self.round << 32 | u64::from(n)));
        if plan.churn > 0.0 && unit(scatter(drawn)) < plan.churn * self.seconds / 60.0 {
            *host = newcomer(plan, &mut Random::new(plan.seed, STEPS ^ drawn));
            return;
        }
        let (own, own_rate) = ((host.error - self.base) as f32, host.rate as f32);
        let neighbours = || links.iter().zip(seen);
        let ready = |peer: u32, seen: &Seen| self.world.is_malicious(peer) | seen.is_synchronized();
        let count = neighbours().map(|((peer, _), seen)| usize::from(ready(*peer, seen)));
        // An established network is joined, not moved.
        let established = 2 * count.sum::<usize>() > links.len();
        let mut others = Ranks::default();
        let (mut rates, mut rated) = (0.0, 0);
        for ((peer, bias), seen) in neighbours() {
            if (host.synchronized || established) && !ready(*peer, seen) {
                continue;
            }
            if self.world.is_malicious(*peer) {
                others.push(self.told(n, *bias) + bias - own);
            } else {
                others.push(seen.error + bias - own);
                rates += seen.rate - own_rate;
                rated += 1;
            }
        }
        let rate = f64::from(rates) / f64::from(rated.max(1));
        host.age = host.age.saturating_add(1);
        if others.len > 0 {
            if host.synchronized {
                let most = SLEW * plan.round.0;
                host.error += (GAIN.0 * others.middle_third()).clamp(-most, most);
            } else {
                let jump = others.lower_median();
                let most = links.iter().map(|(_, bias)| bias.abs());
                let most = most.fold(ARRIVED as f32, f32::max);
                host.error += jump;
                // No jump is needed any more than what the links are off by, nor by the others.
                let reach = f64::from(most);
                let near = jump.abs() <= reach && others.majority_within(jump, reach);
                host.synchronized = host.age >= LISTEN && near && rate.abs() <= RATE_ARRIVED;
            }
            let gain = if host.synchronized { GAIN.1 } else { 1.0 };
            host.rate += gain * rate;
        }
        host.rate += plan.wander.0 * self.seconds.sqrt() * gaussian(drawn);
        host.error += host.rate * plan.round.0;
    }

    /// What malicious hosts tell host `n`, over a path that is off by `bias`.
    fn told(&self, n: u32, bias: f32) -> f32 {
        let attack = self.world.plan.attack;
        let at = (self.round as f64 * self.world.plan.round.0) as i64;
        let held = attack.holds(2.0 * f64::from(bias.abs()));
        (attack.shows(n, at, &self.world.honest) - 0.5 * held - self.base) as f32
    }
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// As good as normal, of mean zero and variance one: the sum of four uniform numbers.
fn gaussian(bits: u64) -> f64 {
    let sum: u32 = [0, 16, 32, 48]
        .map(|k| u32::from((bits >> k) as u16))
        .iter()
        .sum();
    // Each has the variance 2³²/12.
    (f64::from(sum) - 131_070.0) / (65_536.0 * 3f64.sqrt().recip())
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
        let neighbours = self.world.plan.neighbours;
        let base = self.hosts[0].error;
        let step = Step {
            world: &self.world,
            seen: &self.seen,
            base: self.base,
            round: self.round,
            seconds: self.world.plan.round.as_secs(),
        };
        let hosts = self.hosts.chunks_mut(CHUNK);
        let hosts = hosts.zip(self.showing.chunks_mut(CHUNK));
        let chunks = hosts.zip(self.links.chunks(CHUNK * neighbours)).enumerate();
        share_out(
            self.threads,
            chunks,
            |(chunk, ((hosts, showing), links))| {
                let mut near = Vec::with_capacity(BLOCK * neighbours);
                let blocks = hosts.chunks_mut(BLOCK).zip(showing.chunks_mut(BLOCK));
                let blocks = blocks.zip(links.chunks(BLOCK * neighbours));
                let mut n = (chunk * CHUNK) as u32;
                for ((hosts, showing), links) in blocks {
                    near.clear();
                    near.extend(links.iter().map(|(peer, _)| step.seen[*peer as usize]));
                    let links = links.chunks(neighbours).zip(near.chunks(neighbours));
                    for ((host, showing), (links, seen)) in hosts.iter_mut().zip(showing).zip(links)
                    {
                        step.take(host, n, links, seen);
                        *showing = Seen::of(host, base);
                        n += 1;
                    }
                }
            },
        );
        std::mem::swap(&mut self.seen, &mut self.showing);
        self.base = base;
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
            size_of::<Host>() + 2 * size_of::<Seen>() + self.world.plan.neighbours * link,
            link,
        )
    }

    fn save(&self, to: &mut Saver) -> Result<(), CheckpointError> {
        // The links follow from the plan.
        to.put(&(self.round, self.base, self.counts, &self.world.honest))?;
        to.put_hosts(&self.hosts, &self.seen)
    }

    fn restore(&mut self, from: &mut Loader) -> Result<(), CheckpointError> {
        (self.round, self.base, self.counts, self.world.honest) = from.take()?;
        from.take_hosts(&mut self.hosts, &mut self.seen)
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

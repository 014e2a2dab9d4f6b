//! All hosts, tick by tick, on several threads.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parisync::consensus::{Combine, Ensemble};
use parisync::link::{LinkEstimator, OneSided};
use parisync::wire::TIME_DATAGRAM_LEN;

use super::attack::Honest;
use super::draw::Uniform;
use super::host::{Counts, Host, Shown, Tick, Told, World};
use super::measure::{Measured, honest};
use super::paths::Paths;
use super::plan::{Dht, Plan};
use super::result::{Report, Round};
use crate::progress::Progress;

/// Hosts that a thread takes at once.
const CHUNK: usize = 128;

/// Honest hosts that the malicious ones watch.
const WATCHED: usize = 2_048;

/// What the headers of UDP and IPv4 add to each packet.
const HEADERS: usize = 28;

/// A network of hosts with these strategies, up to the end of some tick.
pub struct Engine<E: LinkEstimator, C> {
    world: World,
    hosts: Vec<Host<E, C>>,
    told: Vec<Told>,
    /// What is told in the tick under way.
    telling: Vec<Told>,
    tick: u64,
    counts: Counts,
    measured: Measured,
    threads: NonZeroUsize,
}

impl<E, C> Engine<E, C>
where
    E: LinkEstimator<Kind: Send + Sync> + Send + Sync,
    C: Combine + Default + Send + Sync,
{
    /// The network at its start.
    pub fn new(plan: &Plan) -> Self {
        let draw = match plan.dht {
            Dht::Uniform => Uniform { hosts: plan.nodes },
        };
        let world = World {
            node: plan.node(),
            oscillator: plan.oscillator(),
            paths: Paths::new(
                plan.links,
                plan.nodes,
                plan.seed,
                plan.asymmetry,
                plan.access_asymmetry,
                plan.loss,
                plan.routes,
            ),
            draw: Box::new(draw),
            honest: Honest::default(),
            plan: plan.clone(),
        };
        let hosts: Vec<_> = (0..plan.nodes).map(|n| Host::new(&world, n, 0)).collect();
        let told: Vec<_> = hosts.iter().map(Host::first).collect();
        let all = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            threads: plan.threads.unwrap_or(all),
            telling: told.clone(),
            told,
            hosts,
            world,
            tick: 0,
            counts: Counts::default(),
            measured: Measured::default(),
        }
    }

    /// Rounds that are over.
    pub fn rounds(&self) -> &[Round] {
        &self.measured.rounds
    }

    /// Live through one more round; `last`: work out the distributions at its end.
    pub fn round(&mut self, last: bool) {
        for _ in 0..self.world.plan.ticks() {
            self.pass();
        }
        let now = self.now();
        let hosts = &self.hosts;
        let shown: Vec<Option<Shown>> = hosts.iter().map(|host| host.shown(now)).collect();
        self.measured.round(&shown, last, self.world.plan.seed);
    }

    /// True time, ns.
    fn now(&self) -> i64 {
        self.tick as i64 * self.world.plan.tick()
    }

    fn pass(&mut self) {
        let now = self.now();
        if self.world.plan.malicious > 0.0 {
            let step = (self.hosts.len() / WATCHED).max(1);
            let watched = self.hosts.iter().step_by(step);
            let sample: Vec<Shown> = watched.filter_map(|host| host.shown(now)).collect();
            self.world.honest = honest(&sample, &self.world.honest, now);
        }
        let plan = &self.world.plan;
        let tick = Tick {
            nth: self.tick,
            begin: now,
            width: plan.tick(),
            round: self.tick as f64 / f64::from(plan.ticks()),
        };
        let (world, told) = (&self.world, &self.told);
        let chunks = self.hosts.chunks_mut(CHUNK);
        let work = Mutex::new(chunks.zip(self.telling.chunks_mut(CHUNK)));
        let total = Mutex::new(Counts::default());
        let take = || {
            let mut counts = Counts::default();
            loop {
                // A poisoned lock means that another thread has panicked, which ends the run.
                let next = work.lock().ok().and_then(|mut work| work.next());
                let Some((hosts, telling)) = next else { break };
                for (host, telling) in hosts.iter_mut().zip(telling) {
                    *telling = host.pass(world, &tick, told, &mut counts);
                }
            }
            if let Ok(mut total) = total.lock() {
                total.add(&counts);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.get() {
                scope.spawn(take);
            }
            take();
        });
        if let Ok(counts) = total.lock() {
            self.counts.add(&counts);
        }
        std::mem::swap(&mut self.told, &mut self.telling);
        self.tick += 1;
    }

    /// What it has come to so far, after `wall_s` seconds of the machine's time.
    pub fn report(&self, wall_s: f64) -> Report {
        let plan = &self.world.plan;
        let measured = &self.measured;
        let last = measured.rounds.last().copied().unwrap_or_default();
        let mut bases: Vec<f64> = self
            .hosts
            .iter()
            .filter(|host| !host.is_malicious())
            .map(Host::base)
            .collect();
        bases.sort_unstable_by(f64::total_cmp);
        let oscillator = 1e6 * crate::stats::quantile(&bases, 0.5).unwrap_or(0.0);
        let seconds = self.now() as f64 / 1e9;
        let virtual_rate_ppm = measured.rate_ppm(plan.span().as_secs_f64());
        let honest = f64::from(plan.honest()).max(1.0);
        // Each exchange is two packets, each of which one host sends and another receives.
        let packets = 2.0 * 2.0 * self.counts.begun as f64 / honest;
        Report {
            nodes: plan.nodes,
            rounds: last.round,
            rounds_to: measured.reached(),
            skew: measured.skew(),
            sigma_ns: last.sigma_ns,
            worst_ns: measured.worst(),
            captured: last.captured,
            synchronized: f64::from(last.synchronized) / f64::from(last.honest.max(1)),
            rounds_to_arrive: (self.counts.arrived > 0)
                .then(|| self.counts.arriving as f64 / self.counts.arrived as f64 / plan.round.0),
            virtual_rate_ppm,
            drag_ppm: virtual_rate_ppm - oscillator,
            bound: measured.bound(),
            bytes_per_node_s: packets * (TIME_DATAGRAM_LEN + HEADERS) as f64 / seconds.max(1e-9),
            bytes_per_host: Host::<E, C>::size(plan.neighbours) + 2 * size_of::<Told>(),
            bytes_per_link: parisync::node::Node::<E, C, parisync::node::Crowd>::link_bytes(),
            events: self.counts.begun,
            events_per_s: self.counts.begun as f64 / wall_s.max(1e-9),
            wall_s,
            cpu_s: processor_time(),
            rss_bytes: resident(),
            digest: format!("{:016x}", measured.digest),
            plan: plan.clone(),
        }
    }
}

/// Ensembles with room for this many neighbours, and a few that were exchanged of late.
const FEW: usize = 18;
const MANY: usize = 36;

/// Simulate `plan`, round by round, until it is done or `stop` is set; then the rounds and what
/// they came to.
pub fn run(plan: &Plan, stop: &AtomicBool, progress: &Progress) -> (Report, Vec<Round>) {
    match plan.neighbours {
        0..=16 => simulate::<FEW>(plan, stop, progress),
        17..=32 => simulate::<MANY>(plan, stop, progress),
        _ => simulate::<{ parisync::consensus::MAX_READINGS }>(plan, stop, progress),
    }
}

fn simulate<const MOST: usize>(
    plan: &Plan,
    stop: &AtomicBool,
    progress: &Progress,
) -> (Report, Vec<Round>) {
    let start = Instant::now();
    let mut engine = Engine::<OneSided, Ensemble<MOST>>::new(plan);
    for nth in 1..=plan.rounds {
        engine.round(nth == plan.rounds || stop.load(Ordering::Relaxed));
        progress.advance(1);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    (
        engine.report(start.elapsed().as_secs_f64()),
        engine.measured.rounds,
    )
}

/// The largest resident memory of this process, bytes; 0 if the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1_024
}

/// Processor time of this process so far, s.
fn processor_time() -> f64 {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(0.0, |time| {
        time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
    })
}

//! A run, round by round, whatever the fidelity.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::consensus::{Ensemble, MAX_READINGS};
use parisync::link::OneSided;
use parisync::wire::TIME_DATAGRAM_LEN;

use super::body::{Chosen, Counts, Shown};
use super::checkpoint::{Checkpoint, CheckpointError, Loader, Saver};
use super::exchanges::Exchanges;
use super::identity::scatter;
use super::measure::Measured;
use super::messages::Messages;
use super::paths::Paths;
use super::plan::{Fidelity, Plan};
use super::result::{Report, Round};
use super::rounds::Rounds;
use crate::progress::Progress;
use crate::stats::quantile;

/// Honest hosts that the malicious ones watch.
pub(super) const WATCHED: usize = 2_048;

/// What the headers of UDP and IPv4 add to each packet.
const HEADERS: usize = 28;

/// An ensemble with room for 32 neighbours, and a few that were exchanged of late.
const MANY: usize = 36;

/// Do `work` with each of `items`, on so many threads. What is done with one must not depend on
/// another.
pub(super) fn share_out<T>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) + Sync,
) {
    let items = Mutex::new(items);
    let take = || {
        loop {
            // A poisoned lock means that another thread has panicked, which ends the run.
            let next = items.lock().ok().and_then(|mut items| items.next());
            let Some(item) = next else { break };
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(take);
        }
        take();
    });
}

/// A network that lives in simulated time.
pub(super) trait Network: Send {
    /// Live through one more round.
    fn round(&mut self);

    /// What all hosts show now; `None` for those that are malicious or not there.
    fn shown(&self) -> Vec<Option<Shown>>;

    /// What happened so far.
    fn counts(&self) -> Counts;

    /// Memory of a host with all its neighbours, and of each of them, bytes.
    fn sizes(&self) -> (usize, usize);

    /// Write down all that [`Network::restore`] needs to go on from here.
    ///
    /// # Errors
    /// It cannot be written.
    fn save(&self, to: &mut Saver) -> Result<(), CheckpointError>;

    /// Go back to where another network of the same plan was.
    ///
    /// # Errors
    /// It cannot be read.
    fn restore(&mut self, from: &mut Loader) -> Result<(), CheckpointError>;
}

/// A plan that is being simulated, after some round.
pub struct Simulation {
    plan: Plan,
    network: Box<dyn Network>,
    measured: Measured,
    shown: Vec<Option<Shown>>,
    started: Instant,
    /// Spent before that by whom it was resumed from: in all and by processors, s.
    spent: (f64, f64),
}

impl Simulation {
    /// At the start of `plan`.
    pub fn new(plan: &Plan) -> Self {
        Self {
            started: Instant::now(),
            plan: plan.clone(),
            network: network(plan),
            measured: Measured::default(),
            shown: Vec::new(),
            spent: (0.0, 0.0),
        }
    }

    /// Where the one was that [`Simulation::save`]d this. `threads` are those of this machine.
    ///
    /// # Errors
    /// The file cannot be read, is none of this program's, or damaged.
    pub fn resume(path: &Path, threads: Option<NonZeroUsize>) -> Result<Self, CheckpointError> {
        let (mut file, checkpoint) = Loader::open(path)?;
        let plan = Plan {
            threads,
            ..checkpoint.plan.clone()
        };
        plan.check().map_err(|why| file.damaged(why))?;
        checkpoint.check(path, build(&plan))?;
        let mut simulation = Self::new(&plan);
        simulation.spent = (checkpoint.wall_s, checkpoint.cpu_s);
        simulation.measured = file.take()?;
        simulation.network.restore(&mut file)?;
        simulation.shown = simulation.network.shown();
        let (of_clocks, rounds) = (file.take::<u64>()?, simulation.rounds());
        if of_clocks != clocks(&simulation.shown)
            || rounds != checkpoint.rounds
            || simulation.digest() != checkpoint.digest
        {
            return Err(file.damaged("its nodes are not where they were"));
        }
        file.finish()?;
        Ok(simulation)
    }

    /// Write all of it down, for [`Simulation::resume`]. An earlier file there is kept until this
    /// one is complete.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let done = (self.rounds(), self.digest());
        let checkpoint = Checkpoint::new(&self.plan, done, self.spent(), build(&self.plan));
        let mut file = Saver::create(path, &checkpoint)?;
        file.put(&self.measured)?;
        self.network.save(&mut file)?;
        file.put(&clocks(&self.shown))?;
        file.finish()
    }

    /// What is simulated.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Rounds that are over.
    pub fn rounds(&self) -> u32 {
        self.measured.rounds.len() as u32
    }

    /// Live through one round more, after which `ending` says whether it is the last for now;
    /// whether it was.
    pub fn round(&mut self, ending: impl FnOnce() -> bool) -> bool {
        self.network.round();
        self.shown = self.network.shown();
        let last = self.rounds() + 1 >= self.plan.rounds || ending();
        let paths = last.then(|| Paths::new(&self.plan));
        self.measured
            .round(&self.shown, paths.as_ref(), self.plan.seed);
        last
    }

    /// What it came to so far, and the rounds.
    pub fn report(&self) -> (Report, &[Round]) {
        let report = report(
            &self.plan,
            self.network.as_ref(),
            &self.measured,
            &self.shown,
            self.spent(),
        );
        (report, &self.measured.rounds)
    }

    fn digest(&self) -> String {
        digest(&self.measured)
    }

    fn spent(&self) -> (f64, f64) {
        let (wall, processors) = self.spent;
        (
            wall + self.started.elapsed().as_secs_f64(),
            processors + processor_time(),
        )
    }
}

/// Stands for what the nodes of this build are like: what a few of them come to under `plan`, and how
/// large they are.
fn build(plan: &Plan) -> String {
    /// They meet, and some are malicious.
    const FEW: (u32, u32) = (24, 4);
    let mut simulation = Simulation::new(&Plan {
        nodes: FEW.0,
        rounds: FEW.1,
        threads: Some(NonZeroUsize::MIN),
        ..plan.clone()
    });
    while !simulation.round(|| false) {}
    let (host, link) = simulation.network.sizes();
    format!("{}-{host}-{link}", simulation.digest())
}

/// Simulate `plan` until it is done or `stop` is set; then what it came to and the rounds.
pub fn run(plan: &Plan, stop: &AtomicBool, progress: &Progress) -> (Report, Vec<Round>) {
    let mut simulation = Simulation::new(plan);
    while !simulation.round(|| stop.load(Ordering::Relaxed)) {
        progress.advance(1);
    }
    let (report, rounds) = simulation.report();
    (report, rounds.to_vec())
}

fn network(plan: &Plan) -> Box<dyn Network> {
    if plan.strategy != CombineKind::Default {
        return of::<AnyCombine>(plan);
    }
    match plan.neighbours {
        0..=32 => of::<Ensemble<MANY>>(plan),
        _ => of::<Ensemble<MAX_READINGS>>(plan),
    }
}

fn of<C: Chosen + 'static>(plan: &Plan) -> Box<dyn Network> {
    match plan.fidelity {
        Fidelity::Exchange => Box::new(Exchanges::<OneSided, C>::new(plan)),
        Fidelity::Round => Box::new(Rounds::new(plan)),
        Fidelity::Message => Box::new(Messages::<OneSided, C>::new(plan)),
    }
}

/// Stands for what all clocks show.
fn clocks(shown: &[Option<Shown>]) -> u64 {
    let errors = shown
        .iter()
        .map(|s| s.map_or(0, |shown| shown.error.to_bits()));
    errors.fold(0, |all, error| scatter(all ^ error))
}

fn digest(measured: &Measured) -> String {
    format!("{:016x}", measured.digest)
}

fn report(
    plan: &Plan,
    network: &dyn Network,
    measured: &Measured,
    shown: &[Option<Shown>],
    (wall_s, cpu_s): (f64, f64),
) -> Report {
    let last = measured.rounds.last().copied().unwrap_or_default();
    let honest = shown.iter().flatten();
    let mut oscillators: Vec<f64> = honest.map(|s| f64::from(s.oscillator)).collect();
    oscillators.sort_unstable_by(f64::total_cmp);
    let oscillator = if plan.references() > 0 {
        0.0
    } else {
        1e6 * quantile(&oscillators, 0.5).unwrap_or(0.0)
    };
    let seconds = f64::from(last.round.max(1)) * plan.round.as_secs();
    let virtual_rate_ppm = measured.rate_ppm(plan.round.as_secs());
    let counts = network.counts();
    // Each packet is sent by one host and received by another.
    let packets = 2.0 * counts.packets as f64 / f64::from(plan.honest().max(1));
    let (bytes_per_host, bytes_per_link) = network.sizes();
    Report {
        nodes: plan.nodes,
        rounds: last.round,
        rounds_to: measured.reached(),
        skew: measured.skew(),
        sigma_ns: last.sigma_ns,
        worst_ns: measured.worst(),
        captured: last.captured,
        synchronized: f64::from(last.synchronized) / f64::from(last.honest.max(1)),
        rounds_to_arrive: (counts.arrived > 0)
            .then(|| counts.arriving as f64 / counts.arrived as f64 / plan.round.0),
        virtual_rate_ppm,
        drag_ppm: virtual_rate_ppm.map(|rate| rate - oscillator),
        bound: measured.bound(),
        bytes_per_node_s: packets * (TIME_DATAGRAM_LEN + HEADERS) as f64 / seconds,
        bytes_per_host,
        bytes_per_link,
        events: counts.events,
        events_per_s: counts.events as f64 / wall_s.max(1e-9),
        wall_s,
        cpu_s,
        rss_bytes: resident(),
        digest: digest(measured),
        plan: plan.clone(),
    }
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

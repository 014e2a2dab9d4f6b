//! A run, round by round, whatever the fidelity.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::consensus::{Ensemble, MAX_READINGS};
use parisync::link::OneSided;
use parisync::wire::TIME_DATAGRAM_LEN;

use super::body::{Chosen, Counts, Shown};
use super::checkpoint::{Checkpoint, CheckpointError};
use super::exchanges::Exchanges;
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
pub(super) trait Network {
    /// Live through one more round.
    fn round(&mut self);

    /// What all hosts show now; `None` for those that are malicious or not there.
    fn shown(&self) -> Vec<Option<Shown>>;

    /// What happened so far.
    fn counts(&self) -> Counts;

    /// Memory of a host with all its neighbours, and of each of them, bytes.
    fn sizes(&self) -> (usize, usize);
}

/// Simulate `plan`, round by round, until it is done or `stop` is set; then what it came to and
/// the rounds. After as many rounds as `earlier` had, everything has to be as it was.
///
/// # Errors
/// [`CheckpointError::Differs`].
pub fn run(
    plan: &Plan,
    earlier: Option<&Checkpoint>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<(Report, Vec<Round>), CheckpointError> {
    let start = Instant::now();
    let mut network = network(plan);
    let mut measured = Measured::default();
    let mut shown = Vec::new();
    for nth in 1..=plan.rounds {
        network.round();
        shown = network.shown();
        let last = nth == plan.rounds || stop.load(Ordering::Relaxed);
        let paths = last.then(|| Paths::new(plan));
        measured.round(&shown, paths.as_ref(), plan.seed);
        if let Some(earlier) = earlier.filter(|earlier| earlier.rounds == nth)
            && earlier.digest != digest(&measured)
        {
            return Err(CheckpointError::Differs { rounds: nth });
        }
        progress.advance(1);
        if last {
            break;
        }
    }
    let wall = start.elapsed().as_secs_f64();
    let report = report(plan, network.as_ref(), &measured, &shown, wall);
    Ok((report, measured.rounds))
}

fn digest(measured: &Measured) -> String {
    format!("{:016x}", measured.digest)
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

fn report(
    plan: &Plan,
    network: &dyn Network,
    measured: &Measured,
    shown: &[Option<Shown>],
    wall_s: f64,
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
        cpu_s: processor_time(),
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

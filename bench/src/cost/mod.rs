//! What one node costs its host, while it keeps time with some neighbours.
//!
//! Every node is a process of the daemon under test, on loopback, with a bad virtual oscillator and
//! a virtual clock: nothing on this host is steered. The neighbours find their time first; the node
//! that is measured starts last.

mod busy;
mod node;
pub(crate) mod procfs;
mod report;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parisync::config::DurationText;
use parisync::export::status::Counters;
use serde::Serialize;

use crate::progress::Progress;
use busy::Busy;
use node::{Network, Node};
use procfs::Snapshot;
pub use report::{Report, ThreadCost, table};

/// How long the network, or the node, may take to find its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A served bound below this ends the cold start, ns.
const BOUND: i64 = 1_000_000;

/// What to measure and for how long.
#[derive(Debug, clap::Args, Serialize)]
pub struct Options {
    /// Neighbours of the node that is measured
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    neighbours: u8,
    /// Time between two polls of a neighbour
    #[arg(long, default_value = "1s", value_parser = DurationText::parse_or_seconds)]
    poll: DurationText,
    /// Exchanges in each poll
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    burst: u8,
    /// How long to measure
    #[arg(long, default_value = "60", value_parser = DurationText::parse_or_seconds)]
    seconds: DurationText,
    /// How long to let the node settle before
    #[arg(long, default_value = "15", value_parser = DurationText::parse_or_seconds)]
    settle: DurationText,
    /// How the nodes find each other; several are measured one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_value = "static")]
    discovery: Vec<Discovery>,
    /// Keep the machine busy meanwhile with so many threads that never sleep
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=64))]
    busy: u8,
    /// Pin the socket and the estimator of the node that is measured to this processor
    #[arg(long, value_name = "NUMBER")]
    cpu: Option<u16>,
    /// Run the nodes' sockets and estimators with this SCHED_FIFO priority
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(1..=99))]
    fifo: Option<u8>,
    /// Run the node that is measured in one thread (with static peers only)
    #[arg(long)]
    single_thread: bool,
    /// The daemon; by default the `parisync` next to this program
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Keep the run in this folder
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    /// The daemon that is measured.
    pub(crate) fn program(&self) -> io::Result<PathBuf> {
        match &self.binary {
            Some(path) => Ok(path.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("parisync")),
        }
    }
}

/// How nodes find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Discovery {
    /// Each is told of all others
    Static,
    /// Through the DHT, from one address; needs a daemon with it
    Dht,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// There is no daemon to run.
    #[error("{} cannot be run: {source}; build it with `cargo build --release`, or name it with --binary", path.display())]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// One thread knows no DHT.
    #[error("a node in one thread takes static peers only: leave out --discovery dht")]
    NoDhtInOneThread,
    /// A node ended.
    #[error("a node ended with {status}; its log says:\n{log}")]
    Ended {
        /// How.
        status: std::process::ExitStatus,
        /// The last it had to say.
        log: String,
    },
    /// No time was found.
    #[error("after {} s there is no bound below 1 ms: {what}", PATIENCE.as_secs())]
    NoTime {
        /// What there is instead.
        what: String,
    },
    /// `/proc` is not as expected.
    #[error("{file} says nothing of {what}; this needs a Linux with schedstat")]
    Proc {
        /// The file.
        file: String,
        /// What was looked for.
        what: &'static str,
    },
    /// Somebody wants it to end.
    #[error("interrupted before the measurement was over")]
    Interrupted,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Measures with each kind of discovery that was asked for, unless `stop` is set meanwhile.
///
/// # Errors
/// See [`CostError`].
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Vec<Report>, CostError> {
    if options.single_thread && options.discovery.contains(&Discovery::Dht) {
        return Err(CostError::NoDhtInOneThread);
    }
    let kinds = options.discovery.iter();
    let steps = options.settle.span() + options.seconds.span();
    let seconds = steps.to_duration().as_secs() * options.discovery.len() as u64;
    let progress = Progress::new("cost", seconds);
    let watch = Watch { stop, progress };
    let reports = kinds.map(|kind| measure(options, *kind, &watch)).collect();
    watch.progress.finish();
    reports
}

/// How far it is, and whether it is to end.
struct Watch<'a> {
    stop: &'a AtomicBool,
    progress: Progress,
}

impl Watch<'_> {
    /// Lets so much time pass.
    fn wait(&self, time: Duration) -> Result<(), CostError> {
        /// So soon a stop is seen.
        const STEP: Duration = Duration::from_millis(100);
        let (started, before) = (Instant::now(), self.progress.done());
        while started.elapsed() < time {
            self.check()?;
            std::thread::sleep(STEP.min(time.saturating_sub(started.elapsed())));
            self.progress
                .set(before + started.elapsed().min(time).as_secs());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), CostError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(CostError::Interrupted),
            false => Ok(()),
        }
    }
}

fn measure(
    options: &Options,
    discovery: Discovery,
    watch: &Watch<'_>,
) -> Result<Report, CostError> {
    let binary = options.program()?;
    let network = Network::new(binary, options, discovery)?;
    let last = usize::from(options.neighbours);
    let started = Instant::now();
    let mut neighbours = Vec::with_capacity(last);
    for number in 0..last {
        neighbours.push(network.start(number)?);
    }
    for node in &mut neighbours {
        await_bound(node, started, watch)?;
    }
    let network_start = started.elapsed();

    let started = Instant::now();
    let mut node = network.start(last)?;
    let cold_start = await_bound(&mut node, started, watch)?;
    let busy = Busy::start(options.busy);
    watch.progress.say("cost: settling");
    watch.wait(options.settle.span().to_duration())?;

    let (before, counted) = (Snapshot::take(node.pid())?, counters(&mut node)?);
    watch.progress.say("cost: measuring");
    watch.wait(options.seconds.span().to_duration())?;
    let (after, now_counted) = (Snapshot::take(node.pid())?, counters(&mut node)?);
    let tracking = node.tracking()?;
    drop(busy);
    let tracking = tracking.ok_or_else(|| CostError::NoTime {
        what: "the node no longer answers".to_owned(),
    })?;
    let spent = after.since(&before);
    let seconds = spent.elapsed.as_secs_f64();
    let rate = |counter: fn(&Counters) -> u64| {
        counter(&now_counted).saturating_sub(counter(&counted)) as f64 / seconds
    };
    Ok(Report {
        discovery,
        single_thread: options.single_thread,
        neighbours: tracking.neighbours,
        poll_s: options.poll.span().as_secs_f64(),
        burst: options.burst,
        busy_threads: options.busy,
        seconds,
        network_start_s: network_start.as_secs_f64(),
        cold_start_s: cold_start.as_secs_f64(),
        bound_ns: tracking.bound_ns,
        packets_per_s: rate(|c| c.sent + c.received),
        exchanges_per_s: rate(|c| c.exchanges),
        samples_dropped: tracking.counters.samples_dropped,
        latency: tracking.latency,
        memory: after.memory,
        threads: report::threads(&spent),
        spent: spent.into(),
    })
}

/// Waits until `node` serves a bound below a millisecond; how long that took since `started`.
fn await_bound(
    node: &mut Node,
    started: Instant,
    watch: &Watch<'_>,
) -> Result<Duration, CostError> {
    /// Short against the seconds it takes, long against what an answer costs.
    const PAUSE: Duration = Duration::from_millis(10);
    let mut what = "no node answers".to_owned();
    while started.elapsed() < PATIENCE {
        watch.check()?;
        if let Some(tracking) = node.tracking()? {
            if tracking.bound_ns.is_some_and(|bound| bound < BOUND) {
                return Ok(started.elapsed());
            }
            what = format!("the clock is {:?}: {}", tracking.state, tracking.reason);
        }
        std::thread::sleep(PAUSE);
    }
    Err(CostError::NoTime { what })
}

fn counters(node: &mut Node) -> Result<Counters, CostError> {
    let tracking = node.tracking()?;
    Ok(tracking.map(|t| t.counters).unwrap_or_default())
}

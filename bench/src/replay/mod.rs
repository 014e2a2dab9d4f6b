//! What real daemons recorded, lived through again.
//!
//! First every record is verified: a fresh node with the recorded strategies has to show
//! every clock to the last bit. Then all link estimators × combinations are run over the same
//! packets (`compare`): each is a whole node, built from the record's seed, told what the
//! recorded node was told, and kept at its pace, so that all of them have sent the very packets
//! that were answered.
//!
//! What others said of their clocks is as it was: they followed the clock that was recorded, not
//! the one that another strategy would have had. So this compares what strategies make of the same
//! samples; what a network of them would come to is for the simulation to say.

mod compare;
mod judged;
mod stats;
#[cfg(test)]
mod tests;
mod text;
mod truth;
mod verify;

pub use compare::StrategyRow;
pub use text::{records_text, strategies_text};
pub use verify::RecordRow;

use std::path::{Path, PathBuf};

use parisync::consensus::strategies::CombineKind;
use parisync::link::estimators::EstimatorKind;
use parisync::node::Strategies;
use parisync::record::RecordError;
use serde::Serialize;

use crate::progress::Progress;
use crate::run::{Run, RunError, Sample};
use truth::Truth;

/// What is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The records, of one network.
    pub files: Vec<PathBuf>,
    /// Strategies for one link.
    pub estimators: Vec<EstimatorKind>,
    /// Strategies for many links.
    pub combines: Vec<CombineKind>,
    /// The records are of daemons of one host, whose raw clocks are one and the same.
    pub same_host: bool,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Whether each record was replayed exactly.
    pub records: Vec<RecordRow>,
    /// What each strategy made of them.
    pub strategies: Vec<StrategyRow>,
    /// The true errors over time of each strategy, where they are known.
    #[serde(skip)]
    pub errors: Vec<(Strategies, Vec<Sample>)>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A record is not as it should be.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record names a strategy that this release does not have.
    #[error("{} was recorded with {name}, which this release does not have; use {version}", path.display())]
    Strategy {
        /// The record.
        path: PathBuf,
        /// The strategy.
        name: String,
        /// The release that recorded.
        version: String,
    },
    /// Records of one node.
    #[error("{} and {} are of the same node; name each node once", first.display(), second.display())]
    SameNode {
        /// One record.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The records do not share a clock.
    #[error("--same-host does not hold: {what}")]
    NotSameHost {
        /// Why not.
        what: String,
    },
    /// A thread died.
    #[error("a thread of the replay ended in a panic; this is a bug: report it")]
    Died,
    /// The run folder cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Verifies all records, then compares the strategies over them.
///
/// # Errors
/// [`ReplayError`]. A record whose replay is not exact is none: its row says so.
pub fn run(options: &Options, progress: &Progress) -> Result<Outcome, ReplayError> {
    let files = &options.files;
    progress.say("verifying");
    let lives = each(files, progress, verify::verify)?;
    check(files, &lives, options.same_host)?;
    let truth = options.same_host.then(|| Truth::of(&lives));
    progress.say("comparing");
    let strategies = Strategies::product(&options.estimators, &options.combines);
    let parts = each(files, progress, |path| {
        compare::compare(path, &strategies, truth.as_ref())
    })?;
    let (strategies, errors) = compare::sum_up(&strategies, parts);
    Ok(Outcome {
        records: lives.into_iter().map(|life| life.row).collect(),
        strategies,
        errors,
    })
}

/// Makes the run folder, before the work begins.
///
/// # Errors
/// [`RunError`].
pub fn folder(dir: &Path, options: &Options) -> Result<Run, RunError> {
    /// The options, as far as they can be told.
    #[derive(Serialize)]
    struct Config {
        files: Vec<PathBuf>,
        estimators: Vec<String>,
        combines: Vec<String>,
        same_host: bool,
    }
    let config = Config {
        files: options.files.clone(),
        estimators: options.estimators.iter().map(ToString::to_string).collect(),
        combines: options.combines.iter().map(ToString::to_string).collect(),
        same_host: options.same_host,
    };
    Run::create(dir, "replay", &config, None)
}

/// Writes what came of it.
///
/// # Errors
/// [`RunError`].
pub fn keep(run: &mut Run, outcome: &Outcome) -> Result<(), RunError> {
    run.table("records", &outcome.records)?;
    run.table("strategies", &outcome.strategies)?;
    for (strategy, samples) in &outcome.errors {
        let mut series = run.series(&format!("{}-{}", strategy.estimator, strategy.combine))?;
        for sample in samples {
            series.push(sample)?;
        }
        series.finish()?;
    }
    run.summary(outcome)
}

/// Does `work` for each file, as many at a time as there are processors.
fn each<T: Send>(
    files: &[PathBuf],
    progress: &Progress,
    work: impl Fn(&Path) -> Result<T, ReplayError> + Sync,
) -> Result<Vec<T>, ReplayError> {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let mut results = Vec::with_capacity(files.len());
    for some in files.chunks(cores) {
        let work = &work;
        let done: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = some
                .iter()
                .map(|path| {
                    let progress = progress.clone();
                    scope.spawn(move || {
                        let result = work(path);
                        progress.advance(1);
                        result
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for result in done {
            results.push(result.map_err(|_| ReplayError::Died)??);
        }
    }
    Ok(results)
}

/// Whether the records go together.
fn check(files: &[PathBuf], lives: &[verify::Life], same_host: bool) -> Result<(), ReplayError> {
    for (n, life) in lives.iter().enumerate() {
        let id = life.header.id;
        if let Some(before) = lives[..n].iter().position(|other| other.header.id == id) {
            return Err(ReplayError::SameNode {
                first: files[before].clone(),
                second: files[n].clone(),
            });
        }
    }
    if !same_host {
        return Ok(());
    }
    let not = |what: String| Err(ReplayError::NotSameHost { what });
    if let Some(n) = lives.iter().position(|life| !life.shares_the_clock()) {
        let file = files[n].display();
        return not(format!(
            "{file} is on an oscillator of its own, or does not say of which boot it is"
        ));
    }
    let boot = |life: &verify::Life| life.header.boot.clone();
    if let Some(n) = lives.iter().position(|life| boot(life) != boot(&lives[0])) {
        let (first, other) = (files[0].display(), files[n].display());
        return not(format!("{first} and {other} are of different boots"));
    }
    if lives.len() < 2 {
        return not("one record has nothing to be compared with; name those of the others".into());
    }
    Ok(())
}

//! What a laboratory is: a place where daemons run on clocks whose true error is known.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::daemons::{Installed, Pace, System};
use super::links::Links;
use super::measure::{Cost, LogError, Offsets};
use super::process::Process;
use crate::netns::NetnsError;

/// One run of one system.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Number of hosts.
    pub hosts: usize,
    /// Their oscillators and the links between them.
    pub links: Links,
    /// For how long, s.
    pub seconds: u32,
    /// Where all that is random comes from.
    pub seed: u64,
    /// How often packets are exchanged.
    pub pace: Pace,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// True offsets over time.
    pub offsets: Offsets,
    /// Packets that all hosts sent in the part that is judged; none if nobody counted.
    pub packets: Option<u64>,
    /// What the daemons cost.
    pub cost: Cost,
}

/// A place where daemons run on clocks whose true error is known.
pub trait Lab: Sync {
    /// What is compared in it, in a sentence.
    fn compares(&self, links: &Links) -> String;

    /// Whether `program` can run in it; if not, why.
    ///
    /// # Errors
    /// The reason, to follow the system's name.
    fn admits(&self, program: &Installed) -> Result<(), String>;

    /// How many runs may be at work side by side.
    fn at_once(&self) -> usize;

    /// Whether a second takes a second, so that nothing is tried out first.
    fn in_real_time(&self) -> bool;

    /// Runs one system, unless `stop` is set meanwhile.
    ///
    /// # Errors
    /// A daemon ended, time stood still, or it was stopped.
    fn run(&self, program: &Installed, job: &Job, stop: &AtomicBool) -> Result<Observed, LabError>;
}

/// The programs of these systems that are there and can run in `lab`, and why the others are left out.
///
/// `named` tells the program of a system, if the user did.
pub fn admitted<'a>(
    lab: &dyn Lab,
    systems: &[System],
    named: impl Fn(System) -> Option<&'a Path>,
) -> (Vec<Installed>, Vec<String>) {
    let (mut programs, mut reasons) = (Vec::new(), Vec::new());
    for system in systems {
        let found = Installed::find(*system, named(*system)).map_err(|missing| missing.to_string());
        let admitted = found.and_then(|program| match lab.admits(&program) {
            Ok(()) => Ok(program),
            Err(reason) => Err(format!("{}: {reason}", system.name())),
        });
        match admitted {
            Ok(program) => programs.push(program),
            Err(reason) => reasons.push(reason),
        }
    }
    (programs, reasons)
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A daemon ended before it should.
    #[error("{} of host {host} ended too soon ({status}); it said: {said}", system.program())]
    Ended {
        /// Of this system.
        system: System,
        /// Which host, from 1.
        host: usize,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its last words.
        said: String,
    },
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
    /// Simulated time does not go on.
    #[error("the simulation stood still for {seconds} s; {} of host 1 said: {said}", system.program())]
    Still {
        /// With this system.
        system: System,
        /// For that long.
        seconds: u64,
        /// The last words of the first daemon.
        said: String,
    },
    /// A daemon never said how far off its clock is.
    #[error("{} of host {host} does not say how far off its clock is; it said: {said}", system.program())]
    Silent {
        /// Of this system.
        system: System,
        /// Which host, from 1.
        host: usize,
        /// Its last words.
        said: String,
    },
    /// A tool of the laboratory failed.
    #[error("{} failed: {said}", program.display())]
    Tool {
        /// The program.
        program: PathBuf,
        /// Its last words.
        said: String,
    },
    /// What was logged is not what is understood.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl LabError {
    /// An error if `stop` is set.
    pub(super) fn if_stopped(stop: &AtomicBool) -> Result<(), Self> {
        match stop.load(Ordering::Relaxed) {
            true => Err(Self::Interrupted),
            false => Ok(()),
        }
    }

    /// Namespaces cannot be joined.
    pub(super) fn wiring(error: NetnsError) -> Self {
        Self::Tool {
            program: "ip".into(),
            said: error.to_string(),
        }
    }

    /// The daemon of host `index` (from 0) has ended.
    pub(super) fn ended(
        system: System,
        index: usize,
        process: &mut Process,
    ) -> std::io::Result<Self> {
        Ok(Self::Ended {
            system,
            host: index + 1,
            status: process.end(Duration::ZERO)?,
            said: process.last_words(),
        })
    }
}

/// What the daemons cost in so many seconds of their clocks, when they had used `before` at the start.
pub(super) fn cost<'a>(
    daemons: impl ExactSizeIterator<Item = &'a Process> + Clone,
    before: Duration,
    seconds: f64,
) -> Cost {
    let hosts = daemons.len() as f64;
    let cpu: Duration = daemons.clone().map(Process::cpu).sum();
    let cpu = cpu.saturating_sub(before).as_secs_f64();
    let peaks = daemons.map(Process::peak_kib);
    Cost {
        cpu_us_per_s: 1e6 * cpu / seconds / hosts,
        peak_kib: peaks.max().unwrap_or_default(),
    }
}

//! What a laboratory is: a place where daemons run on clocks whose true error is known.

use std::path::PathBuf;

use super::daemons::{Installed, Pace, System};
use super::links::Links;
use super::measure::{Cost, LogError, Offsets};

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
    fn compares(&self) -> &'static str;

    /// Whether `program` can run in it; if not, why.
    ///
    /// # Errors
    /// The reason, to follow the system's name.
    fn admits(&self, program: &Installed) -> Result<(), String>;

    /// How many runs may be at work side by side.
    fn at_once(&self) -> usize;

    /// Runs one system.
    ///
    /// # Errors
    /// A daemon ended or time stood still.
    fn run(&self, program: &Installed, job: &Job) -> Result<Observed, LabError>;
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

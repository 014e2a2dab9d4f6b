//! Which runs a comparison has, and all of them run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::Serialize;

use super::daemons::{Installed, Pace, System};
use super::lab::{Job, Lab, LabError};
use super::links::Links;
use super::measure::{Figures, Offsets};
use crate::progress::Progress;

/// How many packets a system may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Spending {
    /// As many as all others
    Budget,
    /// As many as it does by itself
    Default,
}

/// What to compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Number of hosts.
    pub hosts: usize,
    /// Oscillators and links.
    pub links: Links,
    /// How long each run takes, s.
    pub seconds: u32,
    /// The seeds; each system is run with each.
    pub seeds: Vec<u64>,
    /// The budget: packets a second that a host sends, on average over the hosts.
    pub packets_per_s: f64,
    /// What each system may spend; it is run with each.
    pub spending: Vec<Spending>,
}

/// A system as it is run: which program, at which pace.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The program.
    pub program: Installed,
    /// What it may spend.
    pub spending: Spending,
    /// The pace that comes to that.
    pub pace: Pace,
}

/// What one entry came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was run.
    pub entry: Entry,
    /// Figures and true offsets by seed.
    pub runs: Vec<(u64, Figures, Offsets)>,
    /// Why some seeds have none.
    pub failures: Vec<(u64, LabError)>,
}

/// The packets that each host of a star sends in a second on average, when each of the others has
/// one exchange with the first in so many seconds.
pub fn star(hosts: usize, seconds: f64) -> f64 {
    2.0 * (hosts - 1) as f64 / hosts as f64 / seconds
}

impl Plan {
    /// Runs all programs with all seeds, as many side by side as the laboratory likes, until `stop`
    /// is set.
    pub fn run(
        &self,
        lab: &dyn Lab,
        programs: &[Installed],
        progress: &Progress,
        stop: &AtomicBool,
    ) -> Vec<Outcome> {
        let entries: Vec<Entry> = self
            .spending
            .iter()
            .flat_map(|spending| programs.iter().map(move |program| (program, *spending)))
            .map(|(program, spending)| {
                progress.say(&format!("{}: finding its pace", program.version));
                Entry {
                    program: program.clone(),
                    spending,
                    pace: self.pace(lab, program, spending, stop),
                }
            })
            .collect();
        let work: Vec<(usize, u64)> = (0..entries.len())
            .flat_map(|entry| self.seeds.iter().map(move |seed| (entry, *seed)))
            .collect();
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..lab.at_once().min(work.len()) {
                scope.spawn(|| {
                    while let Some(&(entry, seed)) = work.get(next.fetch_add(1, Ordering::Relaxed))
                        && !stop.load(Ordering::Relaxed)
                    {
                        let Entry { program, pace, .. } = &entries[entry];
                        progress.say(&format!("{}, seed {seed}", program.version));
                        let result = lab.run(program, &self.job(seed, *pace, self.seconds), stop);
                        progress.advance(1);
                        if let Ok(mut done) = done.lock() {
                            done.push((entry, seed, result));
                        }
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_default();
        done.sort_by_key(|(entry, seed, _)| (*entry, *seed));
        let mut outcomes: Vec<Outcome> = entries.into_iter().map(Outcome::empty).collect();
        for (entry, seed, result) in done {
            match result {
                Ok(observed) => {
                    let figures = observed.offsets.figures(observed.packets, observed.cost);
                    outcomes[entry].runs.push((seed, figures, observed.offsets));
                }
                Err(LabError::Interrupted) => {}
                Err(error) => outcomes[entry].failures.push((seed, error)),
            }
        }
        outcomes
    }

    fn job(&self, seed: u64, pace: Pace, seconds: u32) -> Job {
        Job {
            hosts: self.hosts,
            links: self.links,
            seconds,
            seed,
            pace,
        }
    }

    /// How often a system exchanges packets when it keeps to the budget.
    fn pace(
        &self,
        lab: &dyn Lab,
        program: &Installed,
        spending: Spending,
        stop: &AtomicBool,
    ) -> Pace {
        match (spending, program.system) {
            (Spending::Default, _) => Pace::Default,
            (Spending::Budget, System::Parisync) => self.measured_pace(lab, program, stop),
            (Spending::Budget, _) => Pace::Every(star(self.hosts, 1.0) / self.packets_per_s),
        }
    }

    /// PariSync's poll: who asks whom is drawn at random, so the packets are counted in a short run
    /// and the poll is set by that.
    fn measured_pace(&self, lab: &dyn Lab, program: &Installed, stop: &AtomicBool) -> Pace {
        /// Neighbours a node chooses.
        const CHOSEN: f64 = 16.0;
        /// Polls in the short run.
        const POLLS: f64 = 30.0;
        let others = (self.hosts - 1) as f64;
        // A node is linked to those it chose and to those that chose it.
        let chosen = CHOSEN.min(others);
        let links = chosen * (2.0 - chosen / others);
        // Bursts of two, two packets an exchange, the pair takes turns.
        let guess = 2.0 * links / self.packets_per_s;
        if lab.in_real_time() {
            return Pace::Every(guess);
        }
        let seconds = (POLLS * guess).clamp(100.0, 1000.0) as u32;
        let seed = self.seeds.first().copied().unwrap_or_default();
        let observed = lab.run(program, &self.job(seed, Pace::Every(guess), seconds), stop);
        // If it fails here, it will again, and then be told.
        let rate = observed.ok().and_then(|observed| {
            let figures = observed.offsets.figures(observed.packets, observed.cost);
            figures.packets_per_s.filter(|rate| *rate > 0.0)
        });
        Pace::Every(rate.map_or(guess, |rate| guess * rate / self.packets_per_s))
    }
}

impl Outcome {
    fn empty(entry: Entry) -> Self {
        Self {
            entry,
            runs: Vec::new(),
            failures: Vec::new(),
        }
    }
}

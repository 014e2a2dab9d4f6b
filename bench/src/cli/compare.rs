//! `parisync-bench compare`.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use parisync::cli::complain;
use parisync::config::DurationText;

use super::BenchError;
use crate::compare::CompareError;
use crate::compare::daemons::System;
use crate::compare::lab::{Lab, admitted};
use crate::compare::links::Links;
use crate::compare::netns::Netns;
use crate::compare::plan::{Plan, Spending, star};
use crate::compare::record::record;
use crate::compare::sim::Sim;
use crate::compare::table::{Row, table};
use crate::compare::uml::Uml;
use crate::interrupt::interruptible;
use crate::output::{Format, show};
use crate::progress::Progress;
use crate::run::Run;

/// Options of `compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// What PariSync is compared with; `parisync` for itself alone
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "chrony,ptp4l,ntpd-rs,ntpsec"
    )]
    vs: Vec<System>,
    /// Number of hosts
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=64))]
    hosts: u8,
    /// Links and oscillators: lan (10 µs + exp(1 µs)), dc (10 µs + exp(0.1 µs)),
    /// wan (1 ms + exp(100 µs)) or a file
    #[arg(long, default_value = "lan", value_name = "lan|wan|dc|FILE")]
    links: String,
    /// How long each run takes; the first third is not judged
    ///
    /// By default 1000 s in `sim`, 120 s in `netns`, 300 s in `uml`.
    #[arg(long, value_parser = DurationText::parse_or_seconds)]
    seconds: Option<DurationText>,
    /// Where the daemons run
    #[arg(long, value_enum, default_value = "sim")]
    lab: LabName,
    /// Your copy of clknetsim, for the lab `sim`: a directory with `clknetsim` and `clknetsim.so`
    #[arg(long, value_name = "DIR")]
    clknetsim: Option<PathBuf>,
    /// Packets a second that a host may send; by default those of a star with one exchange a second
    #[arg(long, value_name = "R", value_parser = positive)]
    packets_per_second: Option<f64>,
    /// Whether each system keeps to that budget, or does as by default, or is run both ways
    #[arg(long, value_enum, value_delimiter = ',', default_value = "budget")]
    spending: Vec<Spending>,
    /// The first seed of oscillators and delays
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after the other
    ///
    /// By default 3 in `sim`, 1 elsewhere.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    seeds: Option<u8>,
    /// The program of a system, instead of the one in PATH; may be repeated
    #[arg(long, value_name = "NAME=PATH")]
    peer_bin: Vec<Named>,
    /// Folder for the run: configuration, true errors over time, figures
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A number of packets: some.
fn positive(text: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

/// Where the daemons run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LabName {
    /// Simulated clocks and links, in your copy of clknetsim
    Sim,
    /// Real packets between namespaces of this host, clock control off; needs root
    Netns,
    /// Real kernels with clocks of their own, in User-mode Linux; needs root
    Uml,
}

impl LabName {
    /// How long a run takes there unless told otherwise, s, and how many seeds there are.
    const fn usual(self) -> (u32, u8) {
        match self {
            Self::Sim => (1000, 3),
            Self::Netns => (120, 1),
            Self::Uml => (300, 1),
        }
    }

    fn build(self, options: &Options) -> Result<Box<dyn Lab>, CompareError> {
        Ok(match self {
            Self::Sim => Box::new(Sim::new(options.clknetsim.as_deref())?),
            Self::Netns => Box::new(Netns::new()?),
            Self::Uml => Box::new(Uml::new()?),
        })
    }
}

/// A system and its program.
#[derive(Debug, Clone)]
struct Named {
    system: System,
    program: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = text.split_once('=').ok_or("expected NAME=PATH")?;
        Ok(Self {
            system: System::from_str(name, false)?,
            program: program.into(),
        })
    }
}

/// Compares and prints; what there is if it is interrupted.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    interruptible(|stop| compare(options, format, stop))?
}

fn compare(options: &Options, format: Format, stop: &AtomicBool) -> Result<(), BenchError> {
    let hosts = usize::from(options.hosts);
    let (seconds, seeds) = options.lab.usual();
    let given = options.seconds.map(|s| s.span().as_secs_f64().round());
    let plan = Plan {
        hosts,
        links: Links::named(&options.links).map_err(CompareError::from)?,
        seconds: given.map_or(seconds, |seconds| seconds as u32),
        seeds: (options.seed..)
            .take(options.seeds.unwrap_or(seeds).into())
            .collect(),
        packets_per_s: options.packets_per_second.unwrap_or(star(hosts, 1.0)),
        spending: options.spending.clone(),
    };
    let lab = options.lab.build(options)?;
    let folder = options.out.as_deref();
    let mut folder = folder
        .map(|dir| Run::create(dir, "compare", &plan, Some(options.seed)))
        .transpose()?;
    let mut systems = vec![System::Parisync];
    systems.extend(
        options
            .vs
            .iter()
            .filter(|system| **system != System::Parisync),
    );
    let (programs, left_out) = admitted(lab.as_ref(), &systems, |system| {
        let named = options.peer_bin.iter().rev().find(|n| n.system == system);
        named.map(|named| named.program.as_path())
    });
    let say = |what: String| complain("parisync-bench", &what);
    for reason in left_out {
        say(format!("left out {reason}"));
    }
    let steps = programs.len() * plan.spending.len() * plan.seeds.len();
    let progress = Progress::new("compare", steps as u64);
    let outcomes = plan.run(lab.as_ref(), &programs, &progress, stop);
    progress.finish();
    let interrupted = stop.load(Ordering::Relaxed);
    for outcome in &outcomes {
        for (seed, error) in &outcome.failures {
            say(format!(
                "{}, seed {seed}: {error}",
                outcome.entry.program.version
            ));
        }
    }
    let rows: Vec<Row> = outcomes.iter().filter_map(Row::of).collect();
    if rows.is_empty() {
        return Err(match interrupted {
            true => CompareError::Interrupted.into(),
            false => CompareError::Nothing.into(),
        });
    }
    if interrupted {
        say("interrupted: these are the runs that were over".to_owned());
    }
    if let Some(run) = &mut folder {
        record(run, &outcomes, &rows, !interrupted)?;
    }
    Ok(show(format, &rows, |rows| {
        let (seconds, seeds) = (plan.seconds, plan.seeds.len());
        format!(
            "{hosts} hosts, {seconds} s, seeds: {seeds}; {}\n\n{}",
            lab.compares(&plan.links),
            table(rows)
        )
    })?)
}

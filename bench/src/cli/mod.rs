//! One file per subcommand; prints; no logic.

mod compare;
mod cost;
mod estimators;
mod limit;
mod observe;
mod precision;
mod replay;
mod report;
mod sim;
mod sweep;
mod throughput;
mod topology;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use parisync::cli::{CliError, Exit, complain, usage};

use crate::compare::CompareError;
use crate::cost::CostError;
use crate::crowd::{CheckpointError, SweepError};
use crate::limit::LimitError;
use crate::output::Format;
use crate::precision::PrecisionError;
use crate::precision::lane::PlanError;
use crate::replay::ReplayError;
use crate::report::ReportError;
use crate::run::RunError;
use crate::scenario::ScenarioError;

/// What every subcommand's exit code means; shown by `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the measurement failed
  2  used wrongly: arguments, files, folders";

/// Measurements of PariSync
#[derive(Debug, Parser)]
#[command(name = "parisync-bench", version, after_help = EXIT_CODES)]
struct Cli {
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t = Format::Text
    )]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
enum Command {
    /// Processor time, memory, wake-ups and cold start of one node among others on loopback
    Cost(crate::cost::Options),
    /// PariSync beside chrony, ptp4l and other daemons: the same clocks, links and packets
    Compare(compare::Options),
    /// Link estimators and combinations compared in simulated networks with exact truth
    Estimators(estimators::Options),
    /// How small the errors can be: limits of the whole network's estimation problem
    Limit(limit::Options),
    /// How the time sources of this host differ, now and over time; changes nothing
    Observe(observe::Options),
    /// How good the timestamp paths of this host are, against the same clock or another host
    Precision(precision::Options),
    /// Networks of up to millions of nodes under churn and attack, with exact truth
    Sim(Box<sim::Options>),
    /// A grid of such networks, to a table and a page
    Sweep(sweep::Options),
    /// Show runs as one page: errors over time, distributions, stability, bounds
    Report(report::Args),
    /// Live through what `parisync run --record` wrote: is it the same to the last bit, and what
    /// would other estimators have made of it?
    Replay(replay::Args),
    /// How many authenticated exchanges one processor answers, by UDP and AF_XDP
    Throughput(crate::throughput::Options),
    /// Link structures at message level: hops, churn, repair, draws of neighbours, eclipse
    Topology(topology::Options),
}

/// Why a subcommand did not do what it was asked; printed as one line.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// `cost` measured nothing.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// `compare` compared nothing.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A scenario cannot be read.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// There is no limit to tell.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The default strategies are not as good as they have to be.
    #[error("{count} figures are beyond their limits")]
    Limits {
        /// How many.
        count: usize,
    },
    /// `precision` measured nothing.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// Nothing that was asked for can be measured.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No source said anything.
    #[error("no source said anything")]
    Nothing,
    /// Threads, descriptors, signals.
    #[error("the system gives no thread or descriptor: {0}; raise its limits")]
    System(#[from] std::io::Error),
    /// Arguments that do not fit each other or this host.
    #[error("{0}")]
    Usage(String),
    /// There is no report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Records could not be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A replay did something else than had been recorded.
    #[error("{} was not replayed exactly: {why}", file.display())]
    NotExact {
        /// The record.
        file: PathBuf,
        /// What is known of why.
        why: &'static str,
    },
    /// A simulation cannot be resumed, or not be left.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A sweep cannot be made.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A run folder cannot be written or read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The result could not be printed.
    #[error(transparent)]
    Output(#[from] CliError),
}

impl BenchError {
    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cost(CostError::NoBinary { .. } | CostError::NoDhtInOneThread)
            | Self::Precision(PrecisionError::Sched(_))
            | Self::Plan(_)
            | Self::Usage(_)
            | Self::Report(_)
            | Self::Scenario(_)
            | Self::Limit(_)
            | Self::Sweep(_)
            | Self::Checkpoint(_)
            | Self::Run(_) => Exit::Misused,
            Self::Replay(ReplayError::Died) => Exit::Failed,
            Self::Replay(_) => Exit::Misused,
            Self::Compare(error) if error.is_misuse() => Exit::Misused,
            Self::Compare(_)
            | Self::Cost(_)
            | Self::Limits { .. }
            | Self::NotExact { .. }
            | Self::Precision(_)
            | Self::Nothing
            | Self::System(_) => Exit::Failed,
            Self::Output(error) => error.exit(),
        }
    }
}

/// Runs the command with these arguments, the first of which is the program's name; prints and
/// returns what the process should exit with.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &Cli::command()),
    };
    let result = match cli.command {
        Command::Compare(options) => compare::run(&options, cli.output),
        Command::Cost(options) => cost::run(&options, cli.output),
        Command::Estimators(options) => estimators::run(&options, cli.output),
        Command::Limit(options) => limit::run(&options, cli.output),
        Command::Observe(options) => observe::run(&options, cli.output),
        Command::Precision(options) => precision::run(&options, cli.output),
        Command::Sim(options) => sim::run(&options, cli.output),
        Command::Sweep(options) => sweep::run(&options, cli.output),
        Command::Report(args) => report::run(&args, cli.output),
        Command::Replay(args) => replay::run(&args, cli.output),
        Command::Throughput(options) => throughput::run(&options, cli.output),
        Command::Topology(options) => topology::run(&options, cli.output),
    };
    let exit = match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            if error.exit() != Exit::Done {
                complain("parisync-bench", &error.to_string());
            }
            error.exit()
        }
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

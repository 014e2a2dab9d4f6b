//! One file per subcommand; prints; no logic.

pub mod demo;
mod diag;
mod metrics;
mod nic;
mod now;
mod output;
mod peers;
mod run;
mod strategies;
mod text;
mod tracking;
mod validate;
mod waitsync;

pub use output::{CliError, Context, Exit, Format, complain, print, usage};

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// What every subcommand's exit code means; shown by `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done; `waitsync`: ready; `diag`: nothing is in the way
  1  failed: no daemon answers, no time with a bound, the daemon could not run;
     `waitsync`: timeout; `diag`: a problem keeps this host from synchronizing
  2  used wrongly: arguments or configuration; `waitsync`: it can never be ready
     (no daemon, no permission, nothing to synchronize with)";

/// Clock synchronisation without a master
#[derive(Debug, Parser)]
#[command(name = "parisync", version, after_help = EXIT_CODES)]
struct Cli {
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t = Format::Human
    )]
    output: Format,
    /// Control socket of the daemon
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: find peers, agree with them on the time, steer this host's clock
    Run(Box<run::Args>),
    /// Watch a swarm of nodes with bad clocks agree, on this host, without privileges
    Demo(demo::DemoOptions),
    /// Show the state of this node's clock
    Tracking,
    /// Show the neighbours: which are used, and if not why
    Peers(peers::Args),
    /// Wait until the clock is synchronized
    Waitsync(waitsync::Args),
    /// Check a configuration file without running
    Validate(validate::Args),
    /// Say what timestamps, privileges, clocks and other daemons this host has
    Diag,
    /// Say what network interfaces can stamp, what would be used of it, and what is missing
    Nic(nic::Args),
    /// Print the network's time, the earliest and latest it can be
    Now,
    /// Print what the daemon knows as metrics, in the text format of Prometheus
    Metrics,
}

/// Runs the command with these arguments, the first of which is the program's name; prints and
/// returns what the process should exit with.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &Cli::command()),
    };
    let context = Context::new(cli.output, cli.socket);
    output::finish(match cli.command {
        Command::Run(args) => run::run(*args, &context),
        Command::Demo(options) => demo::run(options, &context),
        Command::Tracking => tracking::run(&context),
        Command::Peers(args) => peers::run(&args, &context),
        Command::Waitsync(args) => waitsync::run(&args, &context),
        Command::Validate(args) => validate::run(&args, &context),
        Command::Diag => diag::run(&context),
        Command::Nic(args) => nic::run(&args, &context),
        Command::Now => now::run(&context),
        Command::Metrics => metrics::run(&context),
    })
}

#[cfg(test)]
pub(crate) use tests::tracking as example_tracking;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::status::{Counters, Stability, Tracking};
    use crate::topology::NodeId;
    use crate::wire::ClockState;

    /// A healthy node.
    pub(crate) fn tracking() -> Tracking {
        Tracking {
            id: NodeId::from_bytes([7; 32]),
            state: ClockState::Synchronized,
            reason: "7 of 8 neighbours agree".to_owned(),
            virtual_time_ns: 1_800_000_037_000_000_000,
            bound_ns: Some(1_200),
            statistical_ns: Some(280),
            estimated_error_ns: Some(85),
            sampled: 8,
            tolerated_liars: 2,
            liar_risk: Some(0.038_1),
            assumed_liars: 0.1,
            estimator: "default".to_owned(),
            combine: "w-msr".to_owned(),
            rate_ppm: 12.5,
            wander_ppb: Some(1.25),
            stability: vec![Stability {
                tau_s: 16.0,
                allan_deviation: 2.5e-9,
                terms: 20,
            }],
            last_offset_ns: -12.0,
            local_ns: 0.0,
            references: 0,
            excess_ppm: None,
            neighbours: 8,
            used: 7,
            discipline: "system".to_owned(),
            clock_state: None,
            clock_offset_ns: Some(20.0),
            clock_rate_ppm: Some(-3.25),
            sources: vec!["static: 3 peers".to_owned()],
            interfaces: vec!["eth0: hardware stamps by /dev/ptp0".to_owned()],
            latency: Vec::new(),
            warnings: Vec::new(),
            counters: Counters::default(),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        let parse = |text: &str| Cli::try_parse_from(text.split(' ')).unwrap();
        assert_eq!(parse("parisync peers -o json").output, Format::Json);
        assert_eq!(parse("parisync -o json peers").output, Format::Json);
        let socket = parse("parisync now --socket /s").socket;
        assert_eq!(socket, Some(PathBuf::from("/s")));
    }
}

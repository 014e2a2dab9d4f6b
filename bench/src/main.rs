//! `parisync-bench`: measurements of PariSync that are no tests.
//!
//! `cost` runs real daemons on loopback and tells what one of them costs its host.

mod cost;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Measurements of PariSync
#[derive(Debug, Parser)]
#[command(name = "parisync-bench", version)]
struct Cli {
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Human)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For programs: one JSON value on one line
    Json,
}

/// What to measure.
#[derive(Debug, Subcommand)]
enum Command {
    /// Processor time, memory, wake-ups and cold start of one node among others on loopback
    Cost(cost::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Cost(options) = cli.command;
    let shown = cost::run(&options).and_then(|reports| {
        let text = match cli.output {
            Format::Human => cost::table(&reports),
            Format::Json => {
                serde_json::to_string(&reports)
                    .map_err(|error| cost::CostError::Io(error.into()))?
                    + "\n"
            }
        };
        Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parisync-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

//! `parisync-bench replay`.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use parisync::cli::print;
use parisync::consensus::strategies::CombineKind;
use parisync::link::estimators::EstimatorKind;

use super::BenchError;
use crate::output::{Format, show};
use crate::progress::Progress;
use crate::replay::{self, Options, records_text, strategies_text};

/// Options of `parisync-bench replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `parisync run --record` wrote; of one network, a file for each node
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Link estimators to run over the recorded packets, or `all`
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "all"
    )]
    estimator: Vec<Choice<EstimatorKind>>,
    /// Combinations to run over them, or `all`
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "all"
    )]
    combine: Vec<Choice<CombineKind>>,
    /// The records are of daemons of one host since one boot: the true offset of their raw clocks
    /// is zero, so that true errors can be told
    #[arg(long)]
    same_host: bool,
    /// Keep everything in this new folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One of a kind, or all.
#[derive(Debug, Clone, Copy)]
enum Choice<K> {
    One(K),
    All,
}

impl<K: FromStr<Err: Display>> FromStr for Choice<K> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::One).map_err(|e| e.to_string()),
        }
    }
}

/// Those that were chosen, each once, in the order of `all`.
fn chosen<K: Copy + PartialEq>(choices: &[Choice<K>], all: &[K]) -> Vec<K> {
    let is_chosen = |kind: &K| {
        choices.iter().any(|choice| match choice {
            Choice::One(one) => one == kind,
            Choice::All => true,
        })
    };
    all.iter().copied().filter(is_chosen).collect()
}

/// Verifies, compares, prints; fails if a replay is not what was recorded.
pub(super) fn run(args: &Args, format: Format) -> Result<(), BenchError> {
    let options = Options {
        files: args.files.clone(),
        estimators: chosen(&args.estimator, &EstimatorKind::ALL),
        combines: chosen(&args.combine, &CombineKind::ALL),
        same_host: args.same_host,
    };
    let folder = args.out.as_deref();
    let mut folder = folder
        .map(|dir| replay::folder(dir, &options))
        .transpose()?;
    let progress = Progress::new("replay", 2 * options.files.len() as u64);
    let outcome = replay::run(&options, &progress);
    progress.finish();
    let outcome = outcome?;
    match format {
        Format::Text => print(&format!(
            "{}\n{}",
            records_text(&outcome.records),
            strategies_text(&outcome.strategies)
        ))?,
        Format::Json => show(format, std::slice::from_ref(&outcome), |_| String::new())?,
        Format::Csv => show(format, &outcome.strategies, strategies_text)?,
    }
    if let Some(run) = &mut folder {
        replay::keep(run, &outcome)?;
    }
    match outcome.records.iter().find(|record| !record.exact) {
        None => Ok(()),
        Some(record) => Err(BenchError::NotExact {
            file: record.file.clone(),
            why: match record.difference {
                Some(_) => "the release that recorded it, built for the same machine, should",
                None => "a part of it is missing",
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_names_or_all() {
        let one: Choice<EstimatorKind> = "kalman".parse().unwrap();
        let all: Choice<EstimatorKind> = "all".parse().unwrap();
        assert_eq!(
            chosen(&[one, one], &EstimatorKind::ALL),
            [EstimatorKind::Kalman]
        );
        assert_eq!(chosen(&[one, all], &EstimatorKind::ALL), EstimatorKind::ALL);
        let error = "karman".parse::<Choice<EstimatorKind>>().unwrap_err();
        assert!(error.contains("kalman"), "{error}");
    }
}

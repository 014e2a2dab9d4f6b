//! `parisync validate`: checks a configuration file without running.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{CliError, Context, Exit};
use crate::config::{Config, ConfigError};

/// Options of `parisync validate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file
    file: PathBuf,
}

/// What is printed with `-o json`.
#[derive(Debug, Serialize)]
struct Verdict {
    file: PathBuf,
    valid: bool,
    error: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    /// What is valid and has no effect.
    warnings: Vec<String>,
}

/// Reads the file and prints what is wrong with it, if anything.
pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let result = Config::load(&args.file);
    let error = result.as_ref().err();
    let place = error.and_then(ConfigError::place);
    let verdict = Verdict {
        file: args.file.clone(),
        valid: error.is_none(),
        error: error.map(ToString::to_string),
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        warnings: result.as_ref().map(Config::idle).unwrap_or_default(),
    };
    context.show(&verdict, |verdict| {
        if verdict.valid {
            let file = verdict.file.display();
            let warnings = verdict.warnings.iter();
            warnings.fold(format!("{file}: valid\n"), |text, warning| {
                text + &format!("{file}: warning: {warning}\n")
            })
        } else {
            String::new()
        }
    })?;
    // The error itself goes to standard error, as everywhere.
    result.map(|_| Exit::Done).map_err(CliError::Config)
}

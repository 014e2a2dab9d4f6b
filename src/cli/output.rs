//! How results and errors leave the command: formats, one-line errors, exit codes.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind as Usage;
use serde::Serialize;

use crate::config::{Config, ConfigError, SYSTEM_SOCKET};
use crate::export::client::{Client, ClientError};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Human,
    /// For programs: one JSON value on one line
    Json,
}

/// What the process exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: used wrongly, or impossible.
    Misused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Misused => Self::from(2),
        }
    }
}

/// Why a subcommand did not do what it was asked; printed as one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The daemon could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It ran and failed.
    #[error("{0}")]
    Failed(String),
    /// It cannot be done at all.
    #[error("{0}")]
    Impossible(String),
    /// The result could not be printed.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

impl CliError {
    /// What the process exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Impossible(_) => Exit::Misused,
            // Whoever reads us has had enough; that is no failure of ours.
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
            Self::Client(_) | Self::Failed(_) | Self::Output(_) => Exit::Failed,
        }
    }
}

/// The options that every subcommand has.
#[derive(Debug)]
pub struct Context {
    /// How results are printed.
    pub format: Format,
    /// The control socket that was named.
    pub socket: Option<PathBuf>,
}

impl Context {
    /// With the format and the socket from the command line.
    pub fn new(format: Format, socket: Option<PathBuf>) -> Self {
        Self { format, socket }
    }

    /// Connects to the daemon: by the socket that was named, or else this user's own, or else the
    /// system's.
    ///
    /// # Errors
    /// Nobody there, or no permission.
    pub fn client(&self) -> Result<Client, ClientError> {
        let paths = match &self.socket {
            Some(path) => vec![path.clone()],
            None => {
                let mut paths = vec![Config::default().control_socket];
                if paths[0] != Path::new(SYSTEM_SOCKET) {
                    paths.push(SYSTEM_SOCKET.into());
                }
                paths
            }
        };
        Client::connect(&paths)
    }

    /// Prints `value` as JSON, or what `human` makes of it.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn show<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        print(&match self.format {
            Format::Human => human(value),
            Format::Json => {
                let line = serde_json::to_string(value).map_err(io::Error::from);
                line.map_err(CliError::Output)? + "\n"
            }
        })
    }
}

/// Prints `text` as it is.
///
/// # Errors
/// Standard output is closed or full.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CliError::Output)
}

/// Prints the error, if any, and turns the result into the exit code.
pub(super) fn finish(result: Result<Exit, CliError>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            if error.exit() != Exit::Done {
                complain("parisync", &error.to_string());
            }
            error.exit()
        }
    };
    exit.into()
}

/// One line of `program` on standard error, whatever the text has in it.
pub fn complain(program: &str, text: &str) {
    let line: Vec<&str> = text.split_whitespace().collect();
    // If standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{program}: {}", line.join(" "));
}

/// Shows why the arguments of `command` were not taken: help and version as they are, anything else
/// as one line.
pub fn usage(error: &clap::Error, command: &clap::Command) -> ExitCode {
    let program = command.get_name();
    match error.kind() {
        Usage::DisplayHelp | Usage::DisplayVersion => {
            let text = error.render();
            return finish(print(&text.to_string()).map(|()| Exit::Done));
        }
        Usage::DisplayHelpOnMissingArgumentOrSubcommand | Usage::MissingSubcommand => {
            let commands: Vec<&str> = command
                .get_subcommands()
                .map(clap::Command::get_name)
                .filter(|name| *name != "help")
                .collect();
            let commands = commands.join(", ");
            let text =
                format!("say what to do: one of {commands}; `{program} --help` explains them");
            complain(program, &text);
        }
        _ => complain(program, &usage_line(&error.to_string())),
    }
    ExitCode::from(2)
}

/// What clap spreads over many lines, on one: the error, then its tips.
fn usage_line(text: &str) -> String {
    let parts = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty());
    let mut line = String::new();
    for part in parts {
        let part = part.strip_prefix("error: ").unwrap_or(part);
        let part = part.strip_prefix("tip: ").unwrap_or(part);
        if !line.is_empty() {
            line.push_str(if line.ends_with(':') { " " } else { "; " });
        }
        line.push_str(part);
    }
    line + "; see --help"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_errors_fit_on_a_line() {
        let text = "error: unexpected argument '--sed' found\n\n  tip: a similar argument exists: \
                    '--seed'\n\nUsage: parisync demo\n\nFor more information, try '--help'.\n";
        assert_eq!(
            usage_line(text),
            "unexpected argument '--sed' found; a similar argument exists: '--seed'; see --help"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = CliError::Output(io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Done);
        let error = CliError::Output(io::Error::from(ErrorKind::StorageFull));
        assert_eq!(error.exit(), Exit::Failed);
    }
}

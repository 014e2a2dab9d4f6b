//! The `parisync` command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    parisync::cli::main(std::env::args_os())
}

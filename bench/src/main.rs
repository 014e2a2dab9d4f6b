//! `parisync-bench`: arguments to one call into the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    parisync_bench::cli::main(std::env::args_os())
}

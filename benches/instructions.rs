//! Does one piece of work so many times, for `scripts/instructions` to count what that takes:
//!
//! ```sh
//! instructions NAME TIMES
//! instructions            # the names
//! ```

mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let pieces = work::pieces();
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(name) = arguments.next() else {
        pieces.iter().for_each(|piece| println!("{}", piece.name));
        return ExitCode::SUCCESS;
    };
    let times = arguments.next().and_then(|times| times.parse::<u32>().ok());
    let piece = pieces.iter().find(|piece| piece.name == name);
    let (Some(piece), Some(times)) = (piece, times) else {
        eprintln!("instructions NAME TIMES; without arguments it lists the names");
        return ExitCode::FAILURE;
    };
    let mut work = piece.settled();
    (0..times).for_each(|_| work());
    ExitCode::SUCCESS
}

//! One file per subcommand; prints; no logic.

pub mod demo;

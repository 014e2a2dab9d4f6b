//! One file per subcommand; prints; no logic.

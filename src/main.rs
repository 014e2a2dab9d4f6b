//! The `parisync` command.

#![forbid(unsafe_code)]

fn main() {}

//! A log of all that a node is told, and its replay.
//!
//! A [`Node`](crate::node::Node) does nothing but answer its inputs, so whoever writes those down
//! can have it live again, bit by bit. [`Taped`] is a node that writes down, [`Recorder`] the
//! thread that brings it to a file, [`Reader`] reads that back, and [`Replay`] lets a fresh node
//! live through it and compares every clock it shows with the one that was recorded.
//!
//! # The file
//!
//! Text, one JSON object a line: people and `jq` can read it, a file that was cut off is good up to
//! its last whole line, and at the rate of a node (some 60 packets a second with 16 neighbours,
//! 75 MB an hour, a fifth of that compressed) a binary form would save nothing that matters. All
//! times are integers, in nanoseconds, on the node's raw clock; numbers that are not whole are
//! written with as many digits as it takes to read the same number back; messages are the bytes
//! they have on the wire ([`crate::wire::encode`]) in hexadecimal.
//!
//! The first line is the [`Header`]: what the node was built from. Every other line is an
//! [`Entry`], named by `k`, in the order in which the node was told. A line `sum` follows every
//! clock: the FNV-1a hash (64 bits) of all bytes of the file before it, so that a digit that was
//! changed is noticed before it is believed. The last line is `end`, if the daemon got to write it.
//!
//! [`FORMAT`] changes when the meaning of a line does. The fields of `config` and of `view` are
//! those of the release that wrote the file; replaying needs a release that does the same
//! arithmetic.

mod entry;
mod error;
mod reader;
mod recorder;
mod replay;
mod sum;
mod taped;
#[cfg(test)]
mod tests;

pub use entry::{Entry, FORMAT, Header, RawScale};
pub use error::RecordError;
pub use reader::{Ending, Reader};
pub use recorder::{Recorder, write};
pub use replay::{Difference, Replay, Round, Verdict, apply, same};
pub use taped::{Tape, Taped};

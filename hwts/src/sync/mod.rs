//! Lock-free hand-over between threads.
//!
//! | what | between | keeps |
//! |---|---|---|
//! | [`Newest`] | many producers, many consumers | the newest items, each delivered once |
//! | [`seqlock`] | one writer, many readers | the latest state, read any number of times |
//!
//! Both are checked with loom: `RUSTFLAGS="--cfg loom" cargo test -p hwts --release --lib loom`.

mod newest;
mod seqlock;

pub use newest::Newest;
pub use seqlock::{SeqReader, SeqWriter, seqlock};

#[cfg(loom)]
pub(crate) use loom::{hint, sync::Arc, sync::atomic};
#[cfg(not(loom))]
pub(crate) use std::{hint, sync::Arc, sync::atomic};

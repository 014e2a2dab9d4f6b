//! How the time sources of a live host differ, from each other and from the system clock.
//!
//! Everything is compared with `CLOCK_REALTIME`, which is only read. Each source has a thread of its
//! own, so that one that hangs delays no other; all are asked at the same ticks.

pub mod chrony;
pub mod ntp;
pub mod parisync;
pub mod phc;
mod report;
mod source;
mod statistics;
mod watch;

pub use report::{differences_table, statistics_table, table};
pub use source::{Reading, Source, Trouble};
pub use statistics::{History, SourceStatistics};
pub use watch::{Difference, Observed, Snapshot, Watched, watch};

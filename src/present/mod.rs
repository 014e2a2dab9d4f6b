//! What results are shown with: numbers, dates, plots and pages as people read them, facts about
//! the machine.
//!
//! The commands, the demo's report and `parisync-bench` share it.

pub mod histogram;
pub mod host;
pub mod page;
pub mod svg;
pub mod text;
pub mod utc;

//! What results are shown with: numbers and dates as people read them, facts about the machine.
//!
//! The commands, the demo's report and `parisync-bench` share it.

pub mod host;
pub mod text;
pub mod utc;

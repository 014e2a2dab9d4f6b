//! Why a record cannot be written or read.

use std::io;
use std::path::PathBuf;

/// Why a record cannot be written or read. Each says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be made.
    #[error("cannot record to {}: {source}; name a file that is not there yet", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is another kind of file.
    #[error("{} is no record of `parisync run --record`: {what}", path.display())]
    NoRecord {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        what: String,
    },
    /// A later release wrote it.
    #[error("{} has format {found}, this release reads {}; use the release that recorded it ({version})", path.display(), super::FORMAT)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The release that wrote it.
        version: String,
    },
    /// A line does not say what it should.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The check sum is wrong.
    #[error("{}:{line}: the check sum is wrong: one of the lines {from} to {line} is not as it was recorded", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The first line that the sum covers and none before did.
        from: u64,
        /// The line of the sum.
        line: u64,
    },
}

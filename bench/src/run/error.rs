//! Why a run folder cannot be written or read.

use std::io;
use std::path::{Path, PathBuf};

/// Why a run folder cannot be written or read; each message is one line and names the file.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is something in the folder already.
    #[error("{} is not empty; name a new folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run in the folder.
    #[error("{} is no run folder: it has no {}", path.display(), super::META)]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A newer program wrote the folder.
    #[error(
        "{} has format {found}, this program knows {}; use the parisync-bench that wrote it",
        path.display(),
        super::FORMAT
    )]
    Newer {
        /// The description of the run.
        path: PathBuf,
        /// The format it says it has.
        found: u32,
    },
    /// A file does not hold what it should.
    #[error("{}, line {line}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The first line that is wrong, counted from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A name that cannot be a file's.
    #[error("{name:?} cannot name a file of a run: use lower-case letters, digits, - and _")]
    Name {
        /// The name.
        name: String,
    },
    /// The same name was given twice.
    #[error("the run has a {name} already")]
    Twice {
        /// The file.
        name: String,
    },
    /// A value that is no number cannot be written.
    #[error("{}: {what}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What cannot be written.
        what: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl RunError {
    pub(super) fn write(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Write {
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(super) fn read(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Read {
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(super) fn corrupt(path: &Path, line: u64, what: impl ToString) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            line,
            what: what.to_string(),
        }
    }

    /// The error of a JSON file.
    pub(super) fn json(path: &Path, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // The place is told once, by us.
        let what = text.split(" at line ").next().unwrap_or_default();
        Self::corrupt(path, error.line() as u64, what)
    }
}

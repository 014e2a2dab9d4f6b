//! How far a run came that was ended early.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// A run depends on its plan alone, so this is all there is to keep: the network of a million
/// nodes at that time would be twenty gigabytes. Who resumes lives through the rounds again, and
/// is told if they came out differently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What is simulated.
    pub plan: Plan,
    /// Rounds that were over.
    pub rounds: u32,
    /// What had been seen by then, [`Report::digest`](super::Report::digest).
    pub digest: String,
}

/// A checkpoint that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another program wrote it.
    #[error(
        "after round {rounds} the network is not where it was: \
         another version of this program left the checkpoint; start anew"
    )]
    Differs {
        /// Of the checkpoint.
        rounds: u32,
    },
}

impl Checkpoint {
    /// Read one.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let text = std::fs::read_to_string(path).map_err(|error| file(path, &error))?;
        serde_json::from_str(&text).map_err(|error| file(path, &error))
    }

    /// Write it.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| file(path, &error))?;
        std::fs::write(path, text + "\n").map_err(|error| file(path, &error))
    }
}

fn file(path: &Path, why: &impl ToString) -> CheckpointError {
    CheckpointError::File {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

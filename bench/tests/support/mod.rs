//! What the tests of commands have in common.

use std::fs;
use std::path::PathBuf;

/// A directory of its own, gone when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes one for the test `name`.
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir();
        let dir = dir.join(format!("parisync-test-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs in the temporary directory do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

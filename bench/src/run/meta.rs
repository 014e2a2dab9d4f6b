//! What a run was: enough to repeat it, and to judge whether two runs may be compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use parisync::present::host::{self, Host};
use parisync::present::utc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a run was, `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The folder's format, [`super::FORMAT`].
    pub format: u32,
    /// The subcommand: `compare`, `precision`, …
    pub command: String,
    /// The command line as one could type it again.
    pub command_line: String,
    /// When it began, UTC (RFC 3339).
    pub started: String,
    /// The seed of everything that was drawn; `None` if nothing was.
    pub seed: Option<u64>,
    /// The version of PariSync and its bench.
    pub parisync: String,
    /// `git describe` of the checkout that the program or its caller stood in; `None` outside of
    /// one.
    pub checkout: Option<String>,
    /// The machine it ran on.
    pub host: Host,
    /// Versions of the programs that took part.
    pub versions: BTreeMap<String, String>,
    /// All settings, as the command understood them.
    pub config: Value,
    /// Names of the series in the folder.
    pub series: Vec<String>,
    /// Names of the histograms in the folder.
    pub histograms: Vec<String>,
    /// Names of the tables in the folder.
    pub tables: Vec<String>,
}

impl Meta {
    /// Of a run that begins now.
    pub(super) fn now(command: &str, config: Value, seed: Option<u64>) -> Self {
        Self {
            format: super::FORMAT,
            command: command.to_owned(),
            command_line: host::command_line(),
            started: now(),
            seed,
            parisync: env!("CARGO_PKG_VERSION").to_owned(),
            checkout: checkout(),
            host: Host::read(),
            versions: BTreeMap::new(),
            config,
            series: Vec::new(),
            histograms: Vec::new(),
            tables: Vec::new(),
        }
    }
}

/// `2026-11-22T15:43:00Z`.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    let text = utc::rfc3339_of_unix((seconds as i64).saturating_mul(1_000_000_000));
    text.replace(".000000000", "")
}

/// `git describe` of PariSync's checkout around the program or the working directory.
fn checkout() -> Option<String> {
    let places = [std::env::current_exe(), std::env::current_dir()];
    let root = places.iter().flatten().find_map(|place| root_of(place))?;
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["describe", "--tags", "--always", "--dirty"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// The checkout that `place` is in.
fn root_of(place: &Path) -> Option<&Path> {
    place.ancestors().find(|folder| {
        folder.join(".git").exists() && folder.join("bench/src/run/meta.rs").exists()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_machine_and_date() {
        let meta = Meta::now("test", Value::Null, None);
        assert!(meta.host.kernel.starts_with("Linux "), "{meta:?}");
        assert_eq!(meta.started.len(), "2026-11-22T15:43:00Z".len());
        assert!(meta.started.as_str() > "2026-01-01T00:00:00Z");
        assert_eq!(meta.parisync, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_root_of_a_checkout_is_found_from_below() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/run");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        if root.is_some_and(|root| root.join(".git").exists()) {
            assert_eq!(root_of(&source), root);
        }
        assert_eq!(root_of(Path::new("/")), None);
    }
}

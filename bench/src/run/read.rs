//! A run, read back.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::histogram::Distribution;
use super::table::Rows;
use super::{META, Meta, PEERS, PeerRow, RunError, SUMMARY, Series, peers};

/// Everything that is in a run folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Where it is.
    pub dir: PathBuf,
    /// What the run was.
    pub meta: Meta,
    /// Errors over time.
    pub series: Vec<Series>,
    /// Distributions.
    pub histograms: Vec<Distribution>,
    /// What the command came to that no other file has a place for.
    pub tables: Vec<Table>,
    /// What each subject saw of its peers.
    pub peers: Vec<PeerRow>,
    /// What the run came to; `None` if it did not come to its end.
    pub summary: Option<Value>,
}

/// A table with columns of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The names of its columns, units in their ends: `rms_ns`.
    pub columns: Vec<String>,
    /// A cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Recorded {
    /// Reads a run folder.
    ///
    /// # Errors
    /// [`RunError`] with the file, and the line in it, that is not as it should be.
    pub fn open(dir: &Path) -> Result<Self, RunError> {
        let path = dir.join(META);
        let there = path.try_exists();
        if !there.map_err(|source| RunError::read(&path, source))? {
            // A folder that is not there at all should not be called a folder without a run.
            fs::read_dir(dir).map_err(|source| RunError::read(dir, source))?;
            return Err(RunError::NoRun {
                path: dir.to_owned(),
            });
        }
        let text: Value = json(&path)?;
        let found = text.get("format").and_then(Value::as_u64);
        match found.and_then(|format| u32::try_from(format).ok()) {
            Some(found) if found > super::FORMAT => return Err(RunError::Newer { path, found }),
            _ => {}
        }
        let meta: Meta = json(&path)?;
        let file = |name: &str, ending: &str| dir.join(format!("{name}.{ending}"));
        let series = meta.series.iter().map(|n| Series::read(n, &file(n, "csv")));
        let series = series.collect::<Result<_, _>>()?;
        let histograms = meta.histograms.iter();
        let histograms = histograms.map(|n| Distribution::read(n, &file(n, "hgrm")));
        let histograms = histograms.collect::<Result<_, _>>()?;
        let tables = meta.tables.iter().map(|n| Table::read(n, &file(n, "csv")));
        let tables = tables.collect::<Result<_, _>>()?;
        let peers_path = dir.join(PEERS);
        let peers = match peers_path.exists() {
            true => peers::read(&peers_path)?,
            false => Vec::new(),
        };
        let summary_path = dir.join(SUMMARY);
        let summary = match summary_path.exists() {
            true => Some(json(&summary_path)?),
            false => None,
        };
        Ok(Self {
            dir: dir.to_owned(),
            meta,
            series,
            histograms,
            tables,
            peers,
            summary,
        })
    }

    /// What to call the run: the name of its folder.
    pub fn name(&self) -> String {
        let path = fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

impl Table {
    fn read(name: &str, path: &Path) -> Result<Self, RunError> {
        let mut reader = Rows::open(path, &[])?;
        let mut rows = Vec::new();
        while let Some((_, row)) = reader.next()? {
            rows.push(row);
        }
        Ok(Self {
            name: name.to_owned(),
            columns: reader.columns(),
            rows,
        })
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        ErrorKind::InvalidData => RunError::corrupt(path, 1, "this is no text"),
        _ => RunError::read(path, source),
    })?;
    serde_json::from_str(&text).map_err(|error| RunError::json(path, &error))
}

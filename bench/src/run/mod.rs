//! The run folder: all that is needed to repeat a run and to show what it came to.
//!
//! | file | content |
//! |---|---|
//! | `run.json` | [`Meta`]: command line, configuration, seed, versions, machine, date |
//! | `NAME.csv` | [`Sample`]s of a series, or the rows of a table; `run.json` says which |
//! | `peers.csv` | [`PeerRow`]s |
//! | `NAME.hgrm` | a distribution in HdrHistogram's percentile format |
//! | `summary.json` | what the run came to; written last |
//!
//! `run.json` is there from the start and names what else there is, so that a run that was
//! interrupted can still be read.

mod error;
mod histogram;
mod meta;
mod peers;
mod read;
mod series;
mod table;
#[cfg(test)]
mod tests;

pub use error::RunError;
pub use histogram::{Distribution, Quantile};
pub use meta::Meta;
pub use peers::PeerRow;
pub use read::{Recorded, Table};
pub use series::{Point, Sample, Series, SeriesWriter, Track};

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::output;

/// The format of run folders that this program writes; it reads this and older ones.
pub const FORMAT: u32 = 1;

/// What the run was.
const META: &str = "run.json";
/// What each subject saw of its peers.
const PEERS: &str = "peers.csv";
/// What the run came to.
const SUMMARY: &str = "summary.json";

/// A run folder that is being written.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    meta: Meta,
}

impl Run {
    /// Makes the folder `dir` and writes `run.json`: what is run and on which machine.
    ///
    /// `command` is the subcommand, `config` all its settings as it understood them, `seed` what
    /// everything random came from.
    ///
    /// # Errors
    /// [`RunError::NotEmpty`] if something is there already, [`RunError::Write`] if it cannot be
    /// made.
    pub fn create(
        dir: &Path,
        command: &str,
        config: &impl Serialize,
        seed: Option<u64>,
    ) -> Result<Self, RunError> {
        match fs::read_dir(dir) {
            Ok(mut files) => {
                if files.next().is_some() {
                    return Err(RunError::NotEmpty {
                        path: dir.to_owned(),
                    });
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(dir).map_err(|source| RunError::write(dir, source))?;
            }
            Err(source) => return Err(RunError::write(dir, source)),
        }
        let config = serde_json::to_value(config).map_err(|error| RunError::write(dir, error))?;
        let run = Self {
            dir: dir.to_owned(),
            meta: Meta::now(command, config, seed),
        };
        run.put_meta()?;
        Ok(run)
    }

    /// Where it is, for a command that has files of its own to put there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts the series `name`, a file of errors over time.
    ///
    /// # Errors
    /// [`RunError::Name`], [`RunError::Twice`], [`RunError::Write`].
    pub fn series(&mut self, name: &str) -> Result<SeriesWriter, RunError> {
        let path = self.claim(name, "csv")?;
        let writer = SeriesWriter::create(path)?;
        self.meta.series.push(name.to_owned());
        self.put_meta()?;
        Ok(writer)
    }

    /// Writes what each subject saw of its peers.
    ///
    /// # Errors
    /// [`RunError::Unwritable`] for what is no number, [`RunError::Write`].
    pub fn peers(&mut self, rows: &[PeerRow]) -> Result<(), RunError> {
        let path = self.dir.join(PEERS);
        for row in rows {
            row.check().map_err(|what| RunError::Unwritable {
                path: path.clone(),
                what,
            })?;
        }
        let mut writer =
            csv::Writer::from_path(&path).map_err(|source| RunError::write(&path, source))?;
        for row in rows {
            writer
                .serialize(row)
                .map_err(|source| RunError::write(&path, source))?;
        }
        writer
            .flush()
            .map_err(|source| RunError::write(&path, source))
    }

    /// Writes the distribution `name`.
    ///
    /// # Errors
    /// [`RunError::Name`], [`RunError::Twice`], [`RunError::Write`].
    pub fn histogram(&mut self, name: &str, values: &Histogram<u64>) -> Result<(), RunError> {
        let path = self.claim(name, "hgrm")?;
        write(&path, &histogram::text(values))?;
        self.meta.histograms.push(name.to_owned());
        self.put_meta()
    }

    /// Writes the table `name`: the single values of each row, as `-o csv` prints them. Reports
    /// show every table as it is; give columns their unit at the end, as in `rms_ns`.
    ///
    /// # Errors
    /// [`RunError::Name`], [`RunError::Twice`], [`RunError::Write`].
    pub fn table<T: Serialize>(&mut self, name: &str, rows: &[T]) -> Result<(), RunError> {
        let path = self.claim(name, "csv")?;
        let text = output::csv(rows).map_err(|source| RunError::write(&path, source))?;
        write(&path, &text)?;
        self.meta.tables.push(name.to_owned());
        self.put_meta()
    }

    /// Writes the file `name`, a page that shows the run or a part of it.
    ///
    /// # Errors
    /// [`RunError::Name`], [`RunError::Twice`], [`RunError::Write`].
    pub fn page(&mut self, name: &str, html: &str) -> Result<(), RunError> {
        let path = self.claim(name, "html")?;
        write(&path, html)
    }

    /// Writes what the run came to. This is the last thing to do: a run without a summary counts
    /// as interrupted.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn summary(&mut self, summary: &impl Serialize) -> Result<(), RunError> {
        self.put(SUMMARY, summary)
    }

    /// Notes the version of a program that takes part.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn note_version(&mut self, program: &str, version: &str) -> Result<(), RunError> {
        let versions = &mut self.meta.versions;
        versions.insert(program.to_owned(), version.trim().to_owned());
        self.put_meta()
    }

    /// The file for `name`, which nothing has yet.
    fn claim(&self, name: &str, ending: &str) -> Result<PathBuf, RunError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(RunError::Name {
                name: name.to_owned(),
            });
        }
        let file = format!("{name}.{ending}");
        let path = self.dir.join(&file);
        if file == PEERS || path.exists() {
            return Err(RunError::Twice { name: file });
        }
        Ok(path)
    }

    fn put_meta(&self) -> Result<(), RunError> {
        self.put(META, &self.meta)
    }

    fn put(&self, name: &str, value: &impl Serialize) -> Result<(), RunError> {
        let path = self.dir.join(name);
        let text =
            serde_json::to_string_pretty(value).map_err(|error| RunError::write(&path, error))?;
        // Under another name first: whoever reads meanwhile sees the whole file or the old one.
        let new = self.dir.join(format!(".{name}.new"));
        write(&new, &(text + "\n"))?;
        fs::rename(&new, &path).map_err(|source| RunError::write(&path, source))
    }
}

fn write(path: &Path, text: &str) -> Result<(), RunError> {
    fs::write(path, text).map_err(|source| RunError::write(path, source))
}

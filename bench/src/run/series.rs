//! Errors over time, of every node or daemon: `NAME.csv`.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RunError;
use super::table::{self, Rows};

/// The columns, and the order they are in.
const COLUMNS: [&str; 5] = [
    "time_s",
    "subject",
    "error_ns",
    "guaranteed_ns",
    "statistical_ns",
];

/// The error of one clock at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the run began, s.
    pub time_s: f64,
    /// The node or daemon.
    pub subject: String,
    /// Its clock less the truth, ns.
    pub error_ns: f64,
    /// The bound it guaranteed, ns; `None` if it gave none.
    pub guaranteed_ns: Option<f64>,
    /// The bound it held for likely (99.9 %), ns; `None` if it gave none.
    pub statistical_ns: Option<f64>,
}

/// A series that is being written.
#[derive(Debug)]
pub struct SeriesWriter {
    path: PathBuf,
    rows: csv::Writer<BufWriter<File>>,
}

impl SeriesWriter {
    pub(super) fn create(path: PathBuf) -> Result<Self, RunError> {
        let file = File::create(&path).map_err(|source| RunError::write(&path, source))?;
        let mut rows = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(BufWriter::new(file));
        rows.write_record(COLUMNS)
            .map_err(|source| RunError::write(&path, source))?;
        Ok(Self { path, rows })
    }

    /// Adds a sample. Those of one subject come in the order of time.
    ///
    /// # Errors
    /// [`RunError::Unwritable`] for what is no number, [`RunError::Write`] if the file cannot grow.
    pub fn push(&mut self, sample: &Sample) -> Result<(), RunError> {
        check(sample).map_err(|what| RunError::Unwritable {
            path: self.path.clone(),
            what,
        })?;
        self.rows
            .serialize(sample)
            .map_err(|source| RunError::write(&self.path, source))
    }

    /// Writes what is still in memory. Without it that is done, too, but nobody hears of errors.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn finish(mut self) -> Result<(), RunError> {
        self.rows
            .flush()
            .map_err(|source| RunError::write(&self.path, source))
    }
}

/// Errors over time, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// What each subject did, in the order in which they first come.
    pub tracks: Vec<Track>,
}

/// The errors of one subject over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// The node or daemon.
    pub subject: String,
    /// In the order of time.
    pub points: Vec<Point>,
}

/// A [`Sample`] whose subject is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Since the run began, s.
    pub time_s: f64,
    /// Its clock less the truth, ns.
    pub error_ns: f64,
    /// The bound it guaranteed, ns.
    pub guaranteed_ns: Option<f64>,
    /// The bound it held for likely (99.9 %), ns.
    pub statistical_ns: Option<f64>,
}

impl Series {
    pub(super) fn read(name: &str, path: &Path) -> Result<Self, RunError> {
        let mut tracks: Vec<Track> = Vec::new();
        let mut rows = Rows::open(path, &COLUMNS)?;
        // Subjects mostly come in turns: the next is where the last one's successor is.
        let mut place = 0;
        while let Some((line, sample)) = rows.next::<Sample>()? {
            check(&sample).map_err(|what| RunError::corrupt(path, line, what))?;
            if tracks
                .get(place)
                .is_none_or(|t| t.subject != sample.subject)
            {
                let known = tracks.iter().position(|t| t.subject == sample.subject);
                place = known.unwrap_or(tracks.len());
                if known.is_none() {
                    tracks.push(Track {
                        subject: sample.subject,
                        points: Vec::new(),
                    });
                }
            }
            let points = &mut tracks[place].points;
            if points
                .last()
                .is_some_and(|last| last.time_s > sample.time_s)
            {
                let what = "the time is earlier than in the line before of the same subject";
                return Err(RunError::corrupt(path, line, what));
            }
            points.push(Point {
                time_s: sample.time_s,
                error_ns: sample.error_ns,
                guaranteed_ns: sample.guaranteed_ns,
                statistical_ns: sample.statistical_ns,
            });
            place = (place + 1) % tracks.len();
        }
        Ok(Self {
            name: name.to_owned(),
            tracks,
        })
    }
}

/// What is wrong with a sample.
fn check(sample: &Sample) -> Result<(), String> {
    table::finite("time_s", Some(sample.time_s))?;
    table::finite("error_ns", Some(sample.error_ns))?;
    for (name, bound) in [
        ("guaranteed_ns", sample.guaranteed_ns),
        ("statistical_ns", sample.statistical_ns),
    ] {
        table::finite(name, bound)?;
        if let Some(bound) = bound.filter(|&bound| bound < 0.0) {
            return Err(format!("{name} is {bound}, but a bound is not negative"));
        }
    }
    Ok(())
}

//! Grids of runs, their table, and what they come to together.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::plan::{Plan, PlanError};

/// A grid: every combination of the values that `grid` lists, the rest as in `base`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// What all runs have in common, by the names of [`Plan`]'s fields.
    #[serde(default)]
    base: Map<String, Value>,
    /// For each field its values.
    grid: Map<String, Value>,
}

/// A sweep that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no grid.
    #[error("{}: {why}; it has the tables [base] and [grid], with the options of sim as keys", path.display())]
    Grid {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A cell cannot be simulated.
    #[error("{cell}: {source}")]
    Cell {
        /// Which.
        cell: String,
        /// Why not.
        source: PlanError,
    },
    /// The results in the folder are of another grid.
    #[error("{}: line {line} is no result of a sweep; give another folder", path.display())]
    Foreign {
        /// Of what is there.
        path: PathBuf,
        /// From one.
        line: usize,
    },
}

/// One run of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What it has in place of what is common.
    pub values: Map<String, Value>,
    /// All of it.
    pub plan: Plan,
}

/// A result as it is kept: the cell, and the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What the cell has in place of what is common.
    pub cell: Map<String, Value>,
    /// What it came to.
    pub report: Map<String, Value>,
}

/// The file that results are added to, one on a line.
const RESULTS: &str = "cells.jsonl";

impl Grid {
    /// Read a grid.
    ///
    /// # Errors
    /// [`SweepError::File`], [`SweepError::Grid`].
    pub fn read(path: &Path) -> Result<Self, SweepError> {
        let text = fs::read_to_string(path).map_err(|source| SweepError::File {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| SweepError::Grid {
            path: path.to_owned(),
            why: error.message().to_owned(),
        })
    }

    /// Every run, those of the last field next to each other.
    ///
    /// # Errors
    /// [`SweepError::Grid`], [`SweepError::Cell`].
    pub fn cells(&self, path: &Path) -> Result<Vec<Cell>, SweepError> {
        let wrong = |why: String| SweepError::Grid {
            path: path.to_owned(),
            why,
        };
        let mut all = vec![Map::new()];
        for (name, values) in &self.grid {
            let values = match values {
                Value::Array(values) => values.clone(),
                one => vec![one.clone()],
            };
            let with = |cell: Map<String, Value>| {
                values.clone().into_iter().map(move |value| {
                    let mut cell = cell.clone();
                    cell.insert(name.clone(), value);
                    cell
                })
            };
            all = all.into_iter().flat_map(with).collect();
        }
        let cell = |values: Map<String, Value>| {
            let mut fields = self.base.clone();
            fields.extend(values.clone());
            let plan: Plan = serde_json::from_value(Value::Object(fields))
                .map_err(|error| wrong(error.to_string()))?;
            plan.check().map_err(|source| SweepError::Cell {
                cell: named(&values),
                source,
            })?;
            Ok(Cell { values, plan })
        };
        all.into_iter().map(cell).collect()
    }
}

/// A cell for people.
pub fn named(values: &Map<String, Value>) -> String {
    let parts = values.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The results in a folder.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    /// In the order in which they came.
    pub done: Vec<Done>,
}

impl Results {
    /// What is in `dir` already; it is made if it is not there.
    ///
    /// # Errors
    /// [`SweepError::File`], [`SweepError::Foreign`].
    pub fn open(dir: &Path) -> Result<Self, SweepError> {
        let path = dir.join(RESULTS);
        let file = |source| SweepError::File {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(dir).map_err(file)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(file(source)),
        };
        let mut done = Vec::new();
        // A line that ends nowhere was being written when the sweep was ended.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in whole.lines().enumerate() {
            done.push(serde_json::from_str(line).map_err(|_| SweepError::Foreign {
                path: path.clone(),
                line: number + 1,
            })?);
        }
        if whole.len() + 1 < text.len() {
            fs::write(&path, format!("{whole}\n")).map_err(file)?;
        }
        Ok(Self { path, done })
    }

    /// Whether this cell is done.
    pub fn has(&self, cell: &Cell) -> bool {
        self.done.iter().any(|done| done.cell == cell.values)
    }

    /// Keep what `cell` came to.
    ///
    /// # Errors
    /// [`SweepError::File`].
    pub fn add(&mut self, cell: &Cell, report: &impl Serialize) -> Result<(), SweepError> {
        let file = |source| SweepError::File {
            path: self.path.clone(),
            source,
        };
        let report = serde_json::to_value(report).map_err(|error| file(error.into()))?;
        let Value::Object(report) = report else {
            return Ok(());
        };
        let done = Done {
            cell: cell.values.clone(),
            report,
        };
        let line = serde_json::to_string(&done).map_err(|error| file(error.into()))? + "\n";
        let mut options = fs::OpenOptions::new();
        let opened = options.create(true).append(true).open(&self.path);
        opened
            .and_then(|mut f| f.write_all(line.as_bytes()))
            .map_err(file)?;
        self.done.push(done);
        Ok(())
    }
}

pub(super) fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_every_combination() {
        let grid: Grid = toml::from_str(
            "[base]\nrounds = 5\n[grid]\nnodes = [10, 20]\nattack = [\"split\", \"push\"]\nchurn = 0.1\n",
        )
        .unwrap();
        let cells = grid.cells(Path::new("grid.toml")).unwrap();
        assert_eq!(cells.len(), 4);
        assert!(
            cells
                .iter()
                .all(|c| c.plan.rounds == 5 && c.plan.churn == 0.1)
        );
        assert_eq!(named(&cells[0].values), "attack split, churn 0.1, nodes 10");
        let wrong: Grid = toml::from_str("[grid]\nnode = [1]\n").unwrap();
        assert!(matches!(
            wrong.cells(Path::new("x")),
            Err(SweepError::Grid { .. })
        ));
        let alone: Grid = toml::from_str("[grid]\nnodes = [1]\n").unwrap();
        assert!(matches!(
            alone.cells(Path::new("x")),
            Err(SweepError::Cell { .. })
        ));
    }
}

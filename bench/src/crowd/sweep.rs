//! Grids of runs, their table, and what they come to together.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parisync::present::page::{Row, document, escape, table};
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

    /// A page with the fits and the maps.
    pub fn page(&self) -> String {
        let mut body = fits(&self.done);
        for (figure, scale, unit) in [
            ("captured", 100.0, "% captured"),
            ("drag_ppm", 1.0, "ppm dragged"),
            ("sigma_ns", 1e-3, "us sigma"),
        ] {
            body += &heat(&self.done, figure, scale, unit);
        }
        document("PariSync: sweep", &body)
    }
}

/// `a + b·ln n`, and how much of the variance that explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// At one node.
    pub a: f64,
    /// For each factor of e.
    pub b: f64,
    /// Explained share of the variance.
    pub r2: f64,
}

/// The line through points (n, rounds) over the logarithm of n; `None` with fewer than two sizes.
pub fn log_fit(points: &[(f64, f64)]) -> Option<Fit> {
    let count = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0.ln()), mean(|p| p.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (n, rounds) in points {
        let (dx, dy) = (n.ln() - x, rounds - y);
        xx += dx * dx;
        xy += dx * dy;
        yy += dy * dy;
    }
    (xx > 0.0).then(|| Fit {
        a: y - xy / xx * x,
        b: xy / xx,
        r2: if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 },
    })
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}

/// Rounds to a millisecond over the size, for all that differs besides.
fn fits(done: &[Done]) -> String {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for one in done {
        let mut cell = one.cell.clone();
        let plan = one.report.get("plan");
        let dht = text(plan.and_then(|plan| plan.get("dht")));
        cell.remove("nodes");
        cell.insert("dht".to_owned(), Value::String(dht));
        let nodes = one.report.get("nodes").and_then(Value::as_f64);
        let rounds = one.report.get("rounds_to").and_then(|r| r.get("1ms"));
        if let (Some(nodes), Some(rounds)) = (nodes, rounds.and_then(Value::as_f64)) {
            lines.entry(named(&cell)).or_default().push((nodes, rounds));
        }
    }
    let rows: Vec<Row> = lines
        .iter()
        .filter_map(|(name, points)| {
            let fit = log_fit(points)?;
            let points = points.iter().map(|(n, r)| format!("{n}: {r}"));
            Some(Row {
                cells: vec![
                    escape(name).into_owned(),
                    points.collect::<Vec<_>>().join(", "),
                    format!("{:.2} + {:.2} ln n", fit.a, fit.b),
                    format!("{:.2}", fit.r2),
                ],
                marked: false,
            })
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads = ["network", "nodes: rounds to 1 ms", "fit", "R²"].map(str::to_owned);
    table("Rounds over size", &heads, &[0, 1, 2], &rows, "")
}

/// A figure over what differs: attacks and strategies down, shares of liars and churn across.
fn heat(done: &[Done], figure: &str, scale: f64, unit: &str) -> String {
    let across = ["malicious", "churn"];
    let split = |cell: &Map<String, Value>, wanted: bool| {
        let part = cell
            .iter()
            .filter(|(k, _)| across.contains(&k.as_str()) == wanted);
        named(&part.map(|(k, v)| (k.clone(), v.clone())).collect())
    };
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    let mut values = BTreeMap::new();
    for one in done {
        let (row, column) = (split(&one.cell, false), split(&one.cell, true));
        if !rows.contains(&row) {
            rows.push(row.clone());
        }
        if !columns.contains(&column) {
            columns.push(column.clone());
        }
        if let Some(value) = one.report.get(figure).and_then(Value::as_f64) {
            values.insert((row, column), scale * value);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let most = values.values().map(|v: &f64| v.abs()).fold(1e-12, f64::max);
    let html: Vec<Row> = rows
        .iter()
        .map(|row| {
            let cell = |column: &String| {
                values
                    .get(&(row.clone(), column.clone()))
                    .map_or(String::new(), |value| {
                        let shade = 0.7 * (value.abs() / most).sqrt();
                        format!(
                            "<span style=\"display:block;padding:.2em .4em;background:rgba(213,94,0,{shade:.2})\">{value:.3}</span>"
                        )
                    })
            };
            let name = std::iter::once(escape(row).into_owned());
            Row {
                cells: name.chain(columns.iter().map(cell)).collect(),
                marked: false,
            }
        })
        .collect();
    let heads: Vec<String> = std::iter::once(String::new()).chain(columns).collect();
    table(unit, &heads, &[0], &html, "")
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

    #[test]
    fn a_logarithm_is_found() {
        let points = [10.0, 100.0, 1_000.0].map(|n: f64| (n, 2.0 + 3.0 * n.ln()));
        let fit = log_fit(&points).unwrap();
        assert!((fit.a - 2.0).abs() < 1e-9 && (fit.b - 3.0).abs() < 1e-9 && fit.r2 > 0.999);
        assert_eq!(log_fit(&points[..1]), None);
    }
}

//! What a comparison came to, a row for each system.

use serde::Serialize;

use super::daemons::Pace;
use super::measure::Figures;
use super::plan::{Outcome, Spending};
use crate::stats::Moments;

/// A figure over several seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Its mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// One system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name and version.
    pub system: String,
    /// What it might spend.
    pub spending: Spending,
    /// The pace that was set for it, s; none if it went by its own.
    pub every_s: Option<f64>,
    /// Packets that a host sent in a second.
    pub packets_per_s: Option<Spread>,
    /// Deviation of a clock from the mean of all, rms, ns.
    pub rms_ns: Spread,
    /// Deviation of the other clocks from that of host 1, rms, ns.
    pub reference_rms_ns: Spread,
    /// Largest minus smallest offset at an instant: median, ns.
    pub worst_p50_ns: Spread,
    /// Its 99th percentile, ns.
    pub worst_p99_ns: Spread,
    /// Its maximum, ns.
    pub worst_max_ns: Spread,
    /// After when the worst pair stayed below 10 µs, s; none if it did not with every seed.
    pub settled_s: Option<Spread>,
    /// Processor time of a host's daemon for a second of the clocks, µs.
    pub cpu_us_per_s: Spread,
    /// The most memory of a daemon, KiB.
    pub peak_kib: Spread,
    /// How many runs are in it.
    pub runs: usize,
    /// The figures of each seed.
    pub seeds: Vec<Seed>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seed {
    /// Its seed.
    pub seed: u64,
    /// What it came to.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut moments = Moments::default();
        values.for_each(|value| moments.push(value));
        Some(Self {
            mean: moments.mean()?,
            min: moments.min()?,
            max: moments.max()?,
        })
    }

    /// `mean` or `mean (min–max)`, in units of `unit`.
    fn words(&self, unit: f64, digits: usize) -> String {
        let [mean, min, max] =
            [self.mean, self.min, self.max].map(|value| format!("{:.digits$}", value / unit));
        if min == max {
            mean
        } else {
            format!("{mean} ({min}–{max})")
        }
    }
}

impl Row {
    /// The row of an outcome; `None` if every run failed.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let spread = |figure: fn(&Figures) -> f64| {
            Spread::of(outcome.runs.iter().map(|(_, figures, _)| figure(figures)))
        };
        let optional = |figure: fn(&Figures) -> Option<f64>| {
            let figures = outcome.runs.iter().map(|(_, figures, _)| figure(figures));
            let all: Option<Vec<f64>> = figures.collect();
            all.and_then(|all| Spread::of(all.into_iter()))
        };
        Some(Self {
            system: outcome.entry.program.version.clone(),
            spending: outcome.entry.spending,
            every_s: match outcome.entry.pace {
                Pace::Default => None,
                Pace::Every(seconds) => Some(seconds),
            },
            packets_per_s: optional(|f| f.packets_per_s),
            rms_ns: spread(|f| f.rms_ns)?,
            reference_rms_ns: spread(|f| f.reference_rms_ns)?,
            worst_p50_ns: spread(|f| f.worst_p50_ns)?,
            worst_p99_ns: spread(|f| f.worst_p99_ns)?,
            worst_max_ns: spread(|f| f.worst_max_ns)?,
            settled_s: optional(|f| f.settled_s),
            cpu_us_per_s: spread(|f| f.cost.cpu_us_per_s)?,
            peak_kib: spread(|f| f.cost.peak_kib as f64)?,
            runs: outcome.runs.len(),
            seeds: outcome
                .runs
                .iter()
                .map(|(seed, figures, _)| Seed {
                    seed: *seed,
                    figures: figures.clone(),
                })
                .collect(),
        })
    }
}

/// The columns: a name, and how a row fills it.
type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: [Column; 9] = [
    ("system", |row| match row.spending {
        Spending::Budget => row.system.clone(),
        Spending::Default => format!("{}, by default", row.system),
    }),
    ("packets/s", |row| {
        row.packets_per_s
            .map_or("–".to_owned(), |p| format!("{:.2}", p.mean))
    }),
    ("rms, ns", |row| row.rms_ns.words(1.0, 0)),
    ("rms to host 1, ns", |row| {
        row.reference_rms_ns.words(1.0, 0)
    }),
    ("worst pair p50, ns", |row| {
        format!("{:.0}", row.worst_p50_ns.mean)
    }),
    ("p99, ns", |row| row.worst_p99_ns.words(1.0, 0)),
    ("max, ns", |row| format!("{:.0}", row.worst_max_ns.max)),
    ("< 10 µs after, s", |row| {
        row.settled_s.map_or("not".to_owned(), |s| s.words(1.0, 0))
    }),
    ("CPU, µs/s; memory, MiB", |row| {
        let (cpu, memory) = (row.cpu_us_per_s.mean, row.peak_kib.max / 1024.0);
        format!("{cpu:.0}; {memory:.1}")
    }),
];

/// The rows as a table for people.
pub fn table(rows: &[Row]) -> String {
    let names = COLUMNS.map(|(name, _)| name.to_owned());
    let mut lines = vec![names];
    lines.extend(rows.iter().map(|row| COLUMNS.map(|(_, cell)| cell(row))));
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                text += &format!("{cell:width$}");
            } else {
                text += &format!("  {cell:>width$}");
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::daemons::{Installed, System};
    use crate::compare::measure::{Cost, Offsets};
    use crate::compare::plan::Entry;

    fn outcome(offsets: &[&str]) -> Outcome {
        let cost = Cost {
            cpu_us_per_s: 120.0,
            peak_kib: 5120,
        };
        let runs = offsets.iter().enumerate().map(|(index, text)| {
            let offsets = Offsets::parse(text, 2, 1.0).unwrap();
            let figures = offsets.figures(Some(14), cost);
            (index as u64 + 1, figures, offsets)
        });
        Outcome {
            entry: Entry {
                program: Installed {
                    system: System::Chrony,
                    program: "chronyd".into(),
                    version: "chrony 4.3".to_owned(),
                },
                spending: Spending::Budget,
                pace: Pace::Every(1.0),
            },
            runs: runs.collect(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn a_row_is_the_mean_of_its_seeds_with_their_spread() {
        // 20 and 40 ns apart all the time: 10 and 20 ns from the mean.
        let near = "0.00000002 0\n".repeat(3);
        let far = "0.00000004 0\n".repeat(3);
        let row = Row::of(&outcome(&[&near, &far])).unwrap();
        assert_eq!(row.runs, 2);
        let text = table(&[row]);
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split("  ").collect();
        let cells: Vec<&str> = cells
            .iter()
            .map(|c| c.trim())
            .filter(|c| !c.is_empty())
            .collect();
        let expected = [
            "chrony 4.3",
            "3.50",
            "15 (10–20)",
            "30 (20–40)",
            "30",
            "30 (20–40)",
            "40",
            "0",
            "120; 5.0",
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn what_did_not_settle_once_has_not_settled() {
        let good = "0 0\n".repeat(3);
        let row = Row::of(&outcome(&[&good, "0 0\n0 0\n0 1\n"])).unwrap();
        assert_eq!(row.settled_s, None);
        assert!(table(&[row]).contains("  not  "));
        assert_eq!(Row::of(&outcome(&[])), None);
    }
}

//! Distributions in HdrHistogram's percentile format (`.hgrm`), which its plotters read.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use hdrhistogram::Histogram;

use super::RunError;

/// Steps in each halving of the distance to 100 %, as in HdrHistogram's own output.
const TICKS: u32 = 5;

/// A distribution, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Its name.
    pub name: String,
    /// Values at growing quantiles.
    pub quantiles: Vec<Quantile>,
}

/// One line of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// The value, in the unit that was recorded.
    pub value: f64,
    /// The share of all values that are not above it, from 0 to 1.
    pub quantile: f64,
    /// How many values are not above it.
    pub count: u64,
}

/// The histogram as text.
pub(super) fn text(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS) {
        count += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        // A string takes everything.
        let _ = write!(
            text,
            "{:>12.3} {quantile:2.12} {count:>10}",
            step.value_iterated_to() as f64
        );
        let _ = match 1.0 / (1.0 - quantile) {
            inverse if inverse.is_finite() => writeln!(text, " {inverse:>14.2}"),
            _ => writeln!(text),
        };
    }
    let precision = 2.0 * 10_f64.powi(histogram.sigfig().into());
    let _ = write!(
        text,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n\
         #[Max     = {:>12.3}, Total count    = {:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {:>12}]\n",
        histogram.mean(),
        histogram.stdev(),
        histogram.max() as f64,
        histogram.len(),
        histogram.buckets(),
        2_u64.pow(precision.log2().ceil() as u32),
    );
    text
}

impl Distribution {
    pub(super) fn read(name: &str, path: &Path) -> Result<Self, RunError> {
        let text = fs::read_to_string(path).map_err(|source| RunError::read(path, source))?;
        let mut quantiles: Vec<Quantile> = Vec::new();
        let mut ended = false;
        for (number, line) in (1..).zip(text.lines()) {
            let corrupt = |what| RunError::corrupt(path, number, what);
            ended |= line.starts_with('#');
            if number == 1 {
                if !line.trim_start().starts_with("Value") {
                    return Err(corrupt("this is no percentile distribution"));
                }
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                let step =
                    parse(line).ok_or_else(|| corrupt("value, percentile and count expected"))?;
                let grows =
                    |last: &Quantile| last.quantile <= step.quantile && last.count <= step.count;
                if !quantiles.last().is_none_or(grows) {
                    return Err(corrupt("the percentile is below the one before"));
                }
                quantiles.push(step);
            }
        }
        if !ended {
            let line = text.lines().count() as u64;
            return Err(RunError::corrupt(
                path,
                line,
                "the end of the file is missing",
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            quantiles,
        })
    }
}

fn parse(line: &str) -> Option<Quantile> {
    let mut cells = line.split_whitespace();
    let value: f64 = cells.next()?.parse().ok()?;
    let quantile: f64 = cells.next()?.parse().ok()?;
    let count = cells.next()?.parse().ok()?;
    (value.is_finite() && (0.0..=1.0).contains(&quantile)).then_some(Quantile {
        value,
        quantile,
        count,
    })
}

//! The outcome for people.

use parisync::present::text::columns;
use parisync::time::Span;

use super::{RecordRow, StrategyRow};

/// A line for each record.
pub fn records_text(rows: &[RecordRow]) -> String {
    let head = [
        "record",
        "node",
        "recorded with",
        "s",
        "rounds",
        "lines",
        "end",
        "replay",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let replay = match (&row.difference, row.gap) {
            (Some(difference), _) => format!("DIFFERS, {difference}"),
            (None, Some(line)) => {
                format!("exact as far as line {line}, where something is missing")
            }
            (None, None) => "exact to the last bit".to_owned(),
        };
        cells.push(vec![
            row.file.display().to_string(),
            row.node.clone(),
            format!("{} {}", row.estimator, row.combine),
            format!("{:.0}", row.seconds),
            row.rounds.to_string(),
            row.lines.to_string(),
            row.ending.to_owned(),
            replay,
        ]);
    }
    columns(&cells, &[3, 4, 5])
}

/// A line for each strategy, those nearest to the truth first, or where that is not known those
/// that foresaw best.
pub fn strategies_text(rows: &[StrategyRow]) -> String {
    let truth = rows.iter().any(|row| row.error_rms_ns.is_some());
    let mut head = vec![
        "estimator",
        "combination",
        "synced",
        "from recorded",
        "worst",
        "from median",
        "residual rms",
        "p50",
        ">3.29σ",
    ];
    if truth {
        head.extend([
            "link error",
            "p99",
            "true error",
            "p99",
            "guaranteed",
            "broken",
            "99.9 %",
            "beyond",
        ]);
    }
    let mut sorted: Vec<&StrategyRow> = rows.iter().collect();
    let key = |row: &StrategyRow| {
        let quality = if truth {
            row.error_rms_ns
        } else {
            row.residual_rms_ns
        };
        quality.unwrap_or(f64::INFINITY)
    };
    sorted.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let mut cells = vec![head.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()];
    for row in sorted {
        let mut line = vec![
            row.estimator.clone(),
            row.combine.clone(),
            percent(Some(row.synchronized)),
            span(row.from_recorded_rms_ns),
            span(row.from_recorded_max_ns),
            span(row.from_median_rms_ns),
            span(row.residual_rms_ns),
            span(row.residual_p50_ns),
            percent(row.residual_beyond),
        ];
        if truth {
            line.extend([
                span(row.link_error_rms_ns),
                span(row.link_error_p99_ns),
                span(row.error_rms_ns),
                span(row.error_p99_ns),
                span(row.guaranteed_p50_ns),
                row.guaranteed_violations
                    .map_or_else(dash, |n| n.to_string()),
                span(row.statistical_p50_ns),
                percent(row.statistical_beyond),
            ]);
        }
        cells.push(line);
    }
    let right: Vec<usize> = (2..head.len()).collect();
    columns(&cells, &right)
}

fn dash() -> String {
    "-".to_owned()
}

/// With a tenth of a nanosecond where that matters.
fn span(ns: Option<f64>) -> String {
    match ns {
        None => dash(),
        Some(ns) if ns.abs() < 99.95 => format!("{ns:.1}ns"),
        Some(ns) => Span::from_nanos_f64(ns).to_string(),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| format!("{:.1}%", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(span(Some(12.34)), "12.3ns");
        assert_eq!(span(Some(-1_250.0)), "-1.25µs");
        assert_eq!((span(None), percent(None)), (dash(), dash()));
        assert_eq!(percent(Some(0.0014)), "0.1%");
    }
}

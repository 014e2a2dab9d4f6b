//! Figures as people read them, on paper and on the terminal.

use parisync::present::text::{columns, count, fine};

use super::{Bound, Figures};

/// A span that may be unknown.
pub(super) fn maybe(ns: Option<f64>) -> String {
    ns.map_or_else(|| "–".to_owned(), fine)
}

/// Seconds that may never come.
pub(super) fn seconds(at: Option<f64>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| format!("{at:.1}s"))
}

/// How often a bound was broken.
pub(super) fn violations(bound: &Bound) -> String {
    match bound.violated_share {
        None => "–".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(share) => format!("{} ({:.2}%)", count(bound.violations), 100.0 * share),
    }
}

/// The figures as lines of text, a line for each series.
pub fn table(figures: &[Figures]) -> String {
    const HEADS: [&str; 13] = [
        "RUN",
        "SERIES",
        "CLOCKS",
        "RMS",
        "P50",
        "P99",
        "MAX",
        "PAIR-P99",
        "SETTLED",
        "GUARANTEED",
        "BROKEN",
        "99.9%",
        "BROKEN",
    ];
    let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
    rows.extend(figures.iter().map(|f| {
        vec![
            f.run.clone(),
            f.series.clone(),
            f.clocks.to_string(),
            maybe(f.rms_ns),
            maybe(f.error.p50_ns),
            maybe(f.error.p99_ns),
            maybe(f.error.max_ns),
            maybe(f.worst_pair.p99_ns),
            seconds(f.settled_s),
            maybe(f.guaranteed.p50_ns),
            violations(&f.guaranteed),
            maybe(f.statistical.p50_ns),
            violations(&f.statistical),
        ]
    }));
    columns(&rows, &(2..HEADS.len()).collect::<Vec<_>>())
}

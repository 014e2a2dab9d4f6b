//! Snapshots and statistics as tables for people.

use parisync::present::text::{columns, fine, maybe, signed, span};
use parisync::present::utc::rfc3339_of_unix;

use super::statistics::SourceStatistics;
use super::watch::Snapshot;

/// One line a source: how far it is from the system clock.
pub fn table(snapshot: &Snapshot) -> String {
    let heading = ["source", "offset", "guaranteed", "expected", "age", ""];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for shown in &snapshot.sources {
        let reading = &shown.reading;
        rows.push(vec![
            reading.source.clone(),
            signed(reading.offset_ns),
            bound(reading.guaranteed_ns),
            bound(reading.statistical_ns),
            format!("{:.1}s", shown.age_s),
            reading.detail.clone(),
        ]);
    }
    let mut text = format!("{}\n", rfc3339_of_unix(snapshot.system_ns));
    if rows.len() > 1 {
        text += &columns(&rows, &[1, 2, 3, 4]);
    }
    for trouble in &snapshot.troubles {
        text += &format!("{}: {}\n", trouble.source, trouble.what);
    }
    text
}

/// One line a pair; nothing of fewer than two sources.
pub fn differences_table(snapshot: &Snapshot) -> String {
    let rows = snapshot.differences.iter().map(|pair| {
        let verdict = match (pair.bound_ns, pair.contradicts) {
            (_, true) => "cannot both be right",
            (Some(_), false) => "agree within their bounds",
            (None, _) => "",
        };
        vec![
            format!("{} − {}", pair.of, pair.to),
            signed(pair.difference_ns),
            bound(pair.bound_ns),
            verdict.to_owned(),
        ]
    });
    columns(&rows.collect::<Vec<_>>(), &[1, 2])
}

/// One line a source over the whole time, and its stability at growing averaging times.
pub fn statistics_table(statistics: &[SourceStatistics]) -> String {
    let heading = [
        "source",
        "readings",
        "mean",
        "σ",
        "p99",
        "drift",
        "guaranteed",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut stability = vec![
        ["source", "τ", "ADEV", "TDEV", "MTIE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for of in statistics {
        rows.push(vec![
            of.source.clone(),
            of.readings.to_string(),
            signed(of.mean_ns),
            maybe(of.sigma_ns),
            span(of.p99_ns),
            of.drift_ppb
                .map_or_else(|| "–".to_owned(), |ppb| format!("{ppb:+.2}ppb")),
            bound(of.guaranteed_ns),
        ]);
        stability.extend(of.stability.iter().map(|at| {
            vec![
                of.source.clone(),
                format!("{}s", at.tau_s),
                at.adev
                    .map_or_else(|| "–".to_owned(), |adev| format!("{adev:.2e}")),
                at.tdev_ns.map_or_else(|| "–".to_owned(), fine),
                at.mtie_ns.map_or_else(|| "–".to_owned(), fine),
            ]
        }));
    }
    if statistics.is_empty() {
        return String::new();
    }
    let mut text = columns(&rows, &[1, 2, 3, 4, 5, 6]);
    if stability.len() > 1 {
        text += "\n";
        text += &columns(&stability, &[1, 2, 3, 4]);
    }
    text
}

fn bound(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |ns| format!("±{}", span(ns)))
}

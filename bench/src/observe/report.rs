//! Snapshots and statistics as tables for people.

use parisync::present::text::{columns, fine, maybe, signed, span};
use parisync::present::utc::rfc3339_of_unix;

use super::statistics::SourceStatistics;
use super::watch::Snapshot;

/// One line a source: how far it is from the system clock.
pub fn table(snapshot: &Snapshot) -> String {
    let heading = ["source", "offset", "guaranteed", "99.9 %", "age", ""];
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
        "99.9 %",
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
            bound(of.statistical_ns),
        ]);
        stability.extend(of.stability.iter().map(|at| {
            vec![
                of.source.clone(),
                tau(at.tau_s),
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
    let mut text = columns(&rows, &[1, 2, 3, 4, 5, 6, 7]);
    if stability.len() > 1 {
        text += "\n";
        text += &columns(&stability, &[1, 2, 3, 4]);
    }
    text
}

/// An averaging time to three digits: the clock it was measured with is not exact.
fn tau(seconds: f64) -> String {
    match seconds {
        t if t < 9.995 => format!("{t:.2}s"),
        t if t < 99.95 => format!("{t:.1}s"),
        t => format!("{t:.0}s"),
    }
}

fn bound(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |ns| format!("±{}", span(ns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::source::{Reading, Trouble};
    use crate::observe::watch::{Difference, Observed};

    fn snapshot() -> Snapshot {
        let reading = Reading {
            source: "a".to_owned(),
            offset_ns: -1_250.0,
            guaranteed_ns: Some(40.0),
            statistical_ns: None,
            detail: "stratum 1".to_owned(),
            at: 0,
        };
        let difference = |to: &str, bound_ns, contradicts| Difference {
            of: "a".to_owned(),
            to: to.to_owned(),
            difference_ns: 300.0,
            bound_ns,
            contradicts,
        };
        Snapshot {
            time_s: 1.0,
            system_ns: 0,
            sources: vec![Observed {
                reading,
                age_s: 0.25,
            }],
            differences: vec![
                difference("b", Some(200.0), true),
                difference("c", Some(400.0), false),
                difference("d", None, false),
            ],
            troubles: vec![Trouble {
                source: "e".to_owned(),
                what: "gone".to_owned(),
                forever: false,
            }],
        }
    }

    #[test]
    fn a_source_has_a_line_and_so_has_one_in_trouble() {
        let text = table(&snapshot());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "1970-01-01T00:00:00.000000000Z");
        let words: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(words[..4], ["a", "−1.25µs", "±40ns", "–"]);
        assert_eq!(lines[3], "e: gone");
    }

    #[test]
    fn pairs_say_whether_they_can_both_be_right() {
        let text = differences_table(&snapshot());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("cannot both be right"), "{text}");
        assert!(lines[1].ends_with("agree within their bounds"), "{text}");
        assert!(
            lines[2].starts_with("a − d") && lines[2].ends_with('–'),
            "{text}"
        );
    }

    #[test]
    fn averaging_times_have_three_digits() {
        let shown = [0.199_999_8, 12.799_99, 819.2].map(tau);
        assert_eq!(shown, ["0.20s", "12.8s", "819s"]);
    }
}

//! What runs were and came to, as terms and values side by side.

use parisync::present::page::{Row, escape, facts, host_facts, table};
use parisync::present::text::fine;
use serde_json::Value;

use super::Report;
use crate::run::Meta;

/// Lists longer than this are cut.
const MOST_ITEMS: usize = 16;

/// A term and its value, which is HTML, in each of several runs.
type Line = (String, Vec<String>);

/// What the runs came to by their own summaries; nothing if none has one.
pub(super) fn summaries(report: &Report) -> String {
    let values = report.runs.iter().map(|run| {
        let mut lines = Vec::new();
        if let Some(summary) = &run.summary {
            flatten("", summary, &mut lines);
        }
        lines
    });
    side_by_side(report, "What the runs say of themselves", &merged(values))
}

/// All settings.
pub(super) fn settings(report: &Report) -> String {
    let values = report.runs.iter().map(|run| {
        let mut lines = Vec::new();
        flatten("", &run.meta.config, &mut lines);
        lines
    });
    side_by_side(report, "Settings", &merged(values))
}

/// Command lines, versions, machines.
pub(super) fn circumstances(report: &Report) -> String {
    let values = report.runs.iter().map(|run| circumstances_of(&run.meta));
    let title = if report.runs.len() == 1 {
        "This run"
    } else {
        "These runs"
    };
    side_by_side(report, title, &merged(values))
}

fn circumstances_of(meta: &Meta) -> Vec<(String, String)> {
    let text = |text: &str| escape(text).into_owned();
    let none = || "–".to_owned();
    let mut lines = vec![
        (
            "command".to_owned(),
            format!("<code>{}</code>", escape(&meta.command_line)),
        ),
        ("date".to_owned(), text(&meta.started)),
        (
            "seed".to_owned(),
            meta.seed.map_or_else(none, |seed| seed.to_string()),
        ),
        ("PariSync".to_owned(), text(&meta.parisync)),
        (
            "checkout".to_owned(),
            meta.checkout.as_deref().map_or_else(none, text),
        ),
    ];
    let versions = meta.versions.iter();
    lines.extend(versions.map(|(program, version)| (program.clone(), text(version))));
    let host = host_facts(&meta.host).into_iter();
    lines.extend(host.map(|(term, fact)| (term.to_owned(), fact)));
    lines
}

/// Each term that any run has, with the values of all runs, in the order of the first that has it.
fn merged(runs: impl Iterator<Item = Vec<(String, String)>>) -> Vec<Line> {
    let runs: Vec<_> = runs.collect();
    let mut lines: Vec<Line> = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        for (term, value) in run {
            let known = lines.iter().position(|line| line.0 == *term);
            let place = known.unwrap_or_else(|| {
                lines.push((term.clone(), vec!["–".to_owned(); runs.len()]));
                lines.len() - 1
            });
            lines[place].1[number].clone_from(value);
        }
    }
    lines
}

/// A list for one run, a table for several, in which what differs is marked.
fn side_by_side(report: &Report, title: &str, lines: &[Line]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    if report.runs.len() == 1 {
        let lines = lines.iter();
        let lines: Vec<(&str, String)> = lines
            .map(|(term, values)| (term.as_str(), values.concat()))
            .collect();
        return facts(title, &lines);
    }
    let mut heads = vec![String::new()];
    heads.extend(report.names.iter().cloned());
    let rows = lines.iter().map(|(term, values)| {
        let mut cells = vec![escape(term).into_owned()];
        cells.extend(values.iter().cloned());
        Row {
            cells,
            marked: values.iter().any(|value| *value != values[0]),
        }
    });
    let left: Vec<usize> = (0..heads.len()).collect();
    table(
        title,
        &heads,
        &left,
        &rows.collect::<Vec<_>>(),
        "What differs is marked.",
    )
}

/// The single values in `value`, each with the way to it.
fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let below = |field: &str| match name {
        "" => field.to_owned(),
        _ => format!("{name}.{field}"),
    };
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                flatten(&below(field), value, lines);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (number, item) in (1..).zip(items.iter().take(MOST_ITEMS)) {
                flatten(&below(&format!("{number}")), item, lines);
            }
            if items.len() > MOST_ITEMS {
                let more = format!("and {} more", items.len() - MOST_ITEMS);
                lines.push((below("…"), more));
            }
        }
        Value::Array(items) => {
            let mut texts: Vec<String> = items.iter().take(MOST_ITEMS).map(plain).collect();
            if items.len() > MOST_ITEMS {
                texts.push(format!("and {} more", items.len() - MOST_ITEMS));
            }
            let text = texts.join(", ");
            lines.push((name.to_owned(), escape(&text).into_owned()));
        }
        _ => lines.push((name.to_owned(), cell(name, &plain(value)))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        _ => value.to_string(),
    }
}

/// A value as HTML: a span of time if its name says so, a rounded number, or text.
pub(super) fn cell(name: &str, text: &str) -> String {
    let Ok(number) = text.parse::<f64>() else {
        return escape(text).into_owned();
    };
    if name.ends_with("_ns") {
        fine(number)
    } else if number.fract() == 0.0 || text.len() <= 8 {
        text.to_owned()
    } else {
        rounded(number)
    }
}

/// Four digits that count.
fn rounded(number: f64) -> String {
    match number.abs() {
        a if (1e-3..1e6).contains(&a) => {
            let before = a.log10().floor() as i32;
            let places = usize::try_from(3 - before).unwrap_or(0);
            format!("{number:.places$}")
        }
        _ => format!("{number:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_by_their_unit() {
        assert_eq!(cell("rms_ns", "115.5"), "116ns");
        assert_eq!(cell("share", "0.1234567"), "0.1235");
        assert_eq!(cell("rate", "0.000012345678"), "1.235e-5");
        assert_eq!(cell("hosts", "8"), "8");
        assert_eq!(cell("seed", "18446744073709551615"), "18446744073709551615");
        assert_eq!(cell("name", "<b>"), "&lt;b&gt;");
    }

    #[test]
    fn nested_settings_become_lines() {
        let value = serde_json::json!({
            "links": {"delay_ns": 10_000, "loss": null},
            "vs": ["chrony", "ptp4l"],
            "hosts": [{"ppm": 3}, {"ppm": -4}],
        });
        let mut lines = Vec::new();
        flatten("", &value, &mut lines);
        let lines: Vec<_> = lines
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                ("links.delay_ns", "10.0µs"),
                ("links.loss", "–"),
                ("vs", "chrony, ptp4l"),
                ("hosts.1.ppm", "3"),
                ("hosts.2.ppm", "-4"),
            ]
        );
    }

    #[test]
    fn runs_are_merged_term_by_term() {
        let line = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let runs = [vec![line("x", "1"), line("y", "2")], vec![line("y", "3")]];
        let merged = merged(runs.into_iter());
        assert_eq!(
            merged[0],
            ("x".to_owned(), vec!["1".to_owned(), "–".to_owned()])
        );
        assert_eq!(
            merged[1],
            ("y".to_owned(), vec!["2".to_owned(), "3".to_owned()])
        );
    }
}

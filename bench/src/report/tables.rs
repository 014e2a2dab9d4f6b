//! The tables of the page.

use parisync::present::page::{Row, bad_cell, escape, table};
use parisync::present::text::{count, round};

use super::facts::cell;
use super::lines::{Line, bounded};
use super::text::{maybe, seconds, violations};
use super::{Bound, Report};
use crate::run::Table;

/// Rows of a table that are shown; the files have all.
const MOST_ROWS: usize = 300;

/// The name of a line with its colour.
fn name(line: &Line<'_>) -> String {
    let label = escape(&line.label);
    format!("<span class=\"key {}\">{label}</span>", line.colour_name)
}

/// A count of violations, marked if there are more than there should be.
fn broken(bound: &Bound, allowed: f64) -> String {
    match bound.violated_share {
        Some(share) if share > allowed => bad_cell(&violations(bound)),
        _ => violations(bound),
    }
}

const BOUND_HEADS: [&str; 5] = ["guaranteed, p50", "broken", "99.9%, p50", "× rms", "broken"];

/// The two bounds as cells below [`BOUND_HEADS`].
fn bound_cells(guaranteed: &Bound, statistical: &Bound) -> [String; 5] {
    let ratio = statistical.p50_to_rms.map(|ratio| format!("{ratio:.1}"));
    [
        maybe(guaranteed.p50_ns),
        broken(guaranteed, 0.0),
        maybe(statistical.p50_ns),
        ratio.unwrap_or_else(|| "–".to_owned()),
        broken(statistical, 0.001),
    ]
}

/// What the errors of each line come to.
pub(super) fn comparison(report: &Report, lines: &[Line<'_>]) -> String {
    let mut heads: Vec<String> = [
        "", "clocks", "rms", "mean", "p50", "p99", "p99.9", "max", "pair p50", "pair p99",
        "pair max",
    ]
    .map(str::to_owned)
    .to_vec();
    let limit = round(report.options.limit_ns);
    heads.push(format!("below {limit} from"));
    let rows = lines.iter().map(|line| {
        let f = line.figures;
        let cells = vec![
            name(line),
            count(f.clocks as u64),
            maybe(f.rms_ns),
            maybe(f.mean_ns),
            maybe(f.error.p50_ns),
            maybe(f.error.p99_ns),
            maybe(f.error.p999_ns),
            maybe(f.error.max_ns),
            maybe(f.worst_pair.p50_ns),
            maybe(f.worst_pair.p99_ns),
            maybe(f.worst_pair.max_ns),
            seconds(f.settled_s),
        ];
        Row {
            cells,
            marked: false,
        }
    });
    let mut from: Vec<String> = lines
        .iter()
        .map(|line| format!("{:.0}s", line.figures.from_s))
        .collect();
    from.dedup();
    table(
        "True errors",
        &heads,
        &[0],
        &rows.collect::<Vec<_>>(),
        &format!(
            "Of all clocks from {} on. p50 to max are of magnitudes; a pair is the two clocks that \
             differ most at an instant.",
            from.join(", ")
        ),
    )
}

/// What the bounds of each line come to; nothing if none has one.
pub(super) fn bound_table(lines: &[Line<'_>]) -> String {
    let mut heads = vec![String::new()];
    heads.extend(BOUND_HEADS.map(str::to_owned));
    let rows = bounded(lines).map(|line| {
        let mut cells = vec![name(line)];
        cells.extend(bound_cells(
            &line.figures.guaranteed,
            &line.figures.statistical,
        ));
        Row {
            cells,
            marked: false,
        }
    });
    let rows: Vec<Row> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    table(
        "Bounds",
        &heads,
        &[0],
        &rows,
        "Widths are of the time after settling, how often a bound was broken of the whole run.",
    )
}

/// A table that the run's command wrote.
pub(super) fn own_table(report: &Report, run: &str, recorded: &Table) -> String {
    let title = match report.runs.len() {
        1 => recorded.name.clone(),
        _ => format!("{}, {run}", recorded.name),
    };
    let numeric = |column: usize| {
        let cells = recorded.rows.iter().map(|row| row[column].as_str());
        let filled: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
        !filled.is_empty() && filled.iter().all(|cell| cell.parse::<f64>().is_ok())
    };
    let left: Vec<usize> = (0..recorded.columns.len())
        .filter(|&c| !numeric(c))
        .collect();
    let heads = recorded.columns.iter();
    let heads: Vec<String> = heads.map(|head| head.replace("_ns", "")).collect();
    let rows = recorded.rows.iter().take(MOST_ROWS).map(|row| Row {
        cells: row
            .iter()
            .zip(&recorded.columns)
            .map(|(text, column)| cell(column, text))
            .collect(),
        marked: false,
    });
    let note = cut(recorded.rows.len(), &format!("{}.csv", recorded.name));
    table(&title, &heads, &left, &rows.collect::<Vec<_>>(), &note)
}

/// Says that rows are missing, if they are.
fn cut(rows: usize, file: &str) -> String {
    match rows.checked_sub(MOST_ROWS) {
        None | Some(0) => String::new(),
        Some(more) => format!("{} more are in {file}.", count(more as u64)),
    }
}

/// Each clock of each line.
pub(super) fn clocks(lines: &[Line<'_>]) -> String {
    let mut heads = vec![String::new()];
    let first = ["clock", "samples", "rms", "mean", "p99", "max"];
    heads.extend(first.map(str::to_owned));
    heads.extend(BOUND_HEADS.map(str::to_owned));
    let all = lines
        .iter()
        .flat_map(|line| line.figures.subjects.iter().map(move |s| (line, s)));
    let rows: Vec<Row> = all
        .map(|(line, subject)| {
            let mut cells = vec![
                name(line),
                escape(&subject.name).into_owned(),
                count(subject.samples),
                maybe(subject.rms_ns),
                maybe(subject.mean_ns),
                maybe(subject.error.p99_ns),
                maybe(subject.error.max_ns),
            ];
            cells.extend(bound_cells(&subject.guaranteed, &subject.statistical));
            Row {
                cells,
                marked: false,
            }
        })
        .collect();
    let note = cut(rows.len(), "the run's files");
    let shown = &rows[..rows.len().min(MOST_ROWS)];
    table("Clocks", &heads, &[0, 1], shown, &note)
}

/// What each clock saw of its peers, a table for each run that knows.
pub(super) fn peers(report: &Report) -> String {
    const HEADS: [&str; 10] = [
        "clock",
        "peer",
        "exchanges",
        "lost",
        "least delay",
        "delay, p50",
        "mean offset",
        "its deviation",
        "used",
        "",
    ];
    let mut html = String::new();
    for (run, name) in report.runs.iter().zip(&report.names) {
        if run.peers.is_empty() {
            continue;
        }
        let rows = run.peers.iter().take(MOST_ROWS).map(|peer| Row {
            cells: vec![
                escape(&peer.subject).into_owned(),
                escape(&peer.peer).into_owned(),
                count(peer.exchanges),
                count(peer.lost),
                maybe(peer.delay_min_ns),
                maybe(peer.delay_p50_ns),
                maybe(peer.offset_mean_ns),
                maybe(peer.offset_stddev_ns),
                peer.used
                    .map_or_else(|| "–".to_owned(), |share| format!("{:.0}%", 100.0 * share)),
                escape(&peer.note).into_owned(),
            ],
            marked: false,
        });
        let title = match report.runs.len() {
            1 => "Peers".to_owned(),
            _ => format!("Peers, {name}"),
        };
        html += &table(
            &title,
            &HEADS.map(str::to_owned),
            &[0, 1, 9],
            &rows.collect::<Vec<_>>(),
            &cut(run.peers.len(), "peers.csv"),
        );
    }
    html
}

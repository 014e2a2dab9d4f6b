//! The page.

use parisync::present::page::{
    Card, Judgement, Row, bad_cell, cards, document, escape, figure, keys, table,
};
use parisync::present::svg::{self, ns_decade};
use parisync::present::text::{count, plural, power, round};

use super::facts::{self, cell};
use super::lines::{Line, legend, lines};
use super::text::{maybe, seconds, violations};
use super::{Bound, Report, plots};
use crate::run::{Distribution, Table};

/// Rows of a table that are shown; the files have all.
const MOST_ROWS: usize = 300;

/// The page of a report: one file, no scripts, nothing fetched.
pub fn html(report: &Report) -> String {
    let lines = lines(report);
    let mut page = header(report);
    if let [line] = &lines[..] {
        page += &cards(&single(line));
    }
    if !lines.is_empty() {
        page += &comparison(report, &lines);
        page += &over_time(report, &lines);
        page += &distributions(&lines);
        let mut figures = stability(&lines);
        figures.extend(bounds(&lines));
        page += &pair(&figures);
        page += &remarks(&lines);
        page += &bound_table(&lines);
    }
    page += &percentiles(report);
    for (name, run) in report.names.iter().zip(&report.runs) {
        for recorded in &run.tables {
            page += &own_table(report, name, recorded);
        }
    }
    if !lines.is_empty() {
        page += &clocks(&lines);
    }
    page += &peers(report);
    page += &facts::summaries(report);
    page += &facts::settings(report);
    page += &facts::circumstances(report);
    document(&format!("{} · PariSync", report.names.join(", ")), &page)
}

fn header(report: &Report) -> String {
    let interrupted: Vec<&str> = report
        .runs
        .iter()
        .zip(&report.names)
        .filter(|(run, _)| run.summary.is_none())
        .map(|(_, name)| name.as_str())
        .collect();
    let interrupted = match &interrupted[..] {
        [] => String::new(),
        names => format!(
            " <strong>Not come to its end: {}.</strong>",
            escape(&names.join(", "))
        ),
    };
    let title = report.names.join(" beside ");
    let commands: Vec<String> = report
        .runs
        .iter()
        .map(|run| format!("<code>parisync-bench {}</code>", escape(&run.meta.command)))
        .collect();
    let mut commands = commands;
    commands.dedup();
    format!(
        "<header>\n<h1>{}</h1>\n<p>Measured by {}, {}.{interrupted}</p>\n</header>\n",
        escape(&title),
        commands.join(", "),
        escape(&report.runs[0].meta.started),
    )
}

/// What is seen first of a single line.
fn single(line: &Line<'_>) -> Vec<Card> {
    let figures = line.figures;
    let mut cards = vec![
        Card {
            label: "rms error",
            value: maybe(figures.rms_ns),
            note: format!("mean {}", maybe(figures.mean_ns)),
            judgement: Judgement::Plain,
        },
        Card {
            label: "error, p99",
            value: maybe(figures.error.p99_ns),
            note: format!(
                "p50 {} · max {}",
                maybe(figures.error.p50_ns),
                maybe(figures.error.max_ns)
            ),
            judgement: Judgement::Plain,
        },
    ];
    if figures.worst_pair.p99_ns.is_some() {
        cards.push(Card {
            label: "worst pair, p99",
            value: maybe(figures.worst_pair.p99_ns),
            note: format!(
                "p50 {} · max {}",
                maybe(figures.worst_pair.p50_ns),
                maybe(figures.worst_pair.max_ns)
            ),
            judgement: Judgement::Plain,
        });
    }
    for (label, bound, allowed) in [
        ("guaranteed bound, p50", &figures.guaranteed, 0.0),
        ("99.9% bound, p50", &figures.statistical, 0.001),
    ] {
        if let Some(share) = bound.violated_share {
            let ratio = bound.p50_to_rms.map(|ratio| format!("{ratio:.1} × rms · "));
            cards.push(Card {
                label,
                value: maybe(bound.p50_ns),
                note: format!("{}broken {}", ratio.unwrap_or_default(), violations(bound)),
                judgement: (share <= allowed).into(),
            });
        }
    }
    cards
}

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

fn comparison(report: &Report, lines: &[Line<'_>]) -> String {
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
    let from: Vec<String> = lines
        .iter()
        .map(|line| format!("{:.0}s", line.figures.from_s))
        .collect();
    let mut from = from;
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

fn over_time(report: &Report, lines: &[Line<'_>]) -> String {
    let limit = round(report.options.limit_ns);
    let mut html = figure(
        "Error over time",
        &match lines {
            [line] if line.figures.clocks > 1 => format!(
                "The magnitude of the worst error of all clocks, single clocks behind it; {limit} \
                 is dashed."
            ),
            _ => format!("The magnitude of the worst error of all clocks; {limit} is dashed."),
        },
        &legend(lines),
        &plots::magnitude(lines, report.options.limit_ns),
    );
    html += &figure(
        "Error after settling",
        "With its sign: the mean of the clocks, and where all of them are. What does not fit is at \
         the edge.",
        &legend(lines),
        &plots::signed(lines),
    );
    let paired: Vec<Line<'_>> = lines
        .iter()
        .filter(|line| line.figures.worst_pair.max_ns.is_some())
        .cloned()
        .collect();
    if !paired.is_empty() {
        html += &figure(
            "Worst pair over time",
            "How far the two clocks that differ most are apart.",
            &legend(&paired),
            &plots::pairs(&paired),
        );
    }
    html
}

fn pair(figures: &[String]) -> String {
    format!("<div class=\"pair\">\n{}</div>\n", figures.concat())
}

fn distributions(lines: &[Line<'_>]) -> String {
    pair(&[
        figure(
            "Histogram of errors",
            "After settling; a percent or less may be beyond the scale.",
            &legend(lines),
            &plots::histogram(lines),
        ),
        figure(
            "Distribution of errors",
            "The share of errors whose magnitude is below a value.",
            &legend(lines),
            &plots::distribution(lines),
        ),
    ])
}

fn stability(lines: &[Line<'_>]) -> Vec<String> {
    if lines.iter().all(|line| line.figures.stability.is_empty()) {
        return Vec::new();
    }
    let allan = |row: f64| power(row.round() as i32);
    vec![
        figure(
            "Allan deviation (ADEV)",
            "How much the frequency differs from one averaging time to the next, overlapping.",
            &legend(lines),
            &plots::stability(lines, allan, |row| row.adev),
        ),
        figure(
            "Time deviation (TDEV)",
            "How much the time wanders at an averaging time, beside a constant rate.",
            &legend(lines),
            &plots::stability(lines, ns_decade, |row| row.tdev_ns),
        ),
        figure(
            "Maximum time interval error (MTIE)",
            "The most that the error changed within a time, of any clock.",
            &legend(lines),
            &plots::stability(lines, ns_decade, |row| row.mtie_ns),
        ),
    ]
}

/// What must be known to judge the stability.
fn remarks(lines: &[Line<'_>]) -> String {
    let mut html = String::new();
    for line in lines {
        for remark in &line.figures.remarks {
            let label = escape(&line.label);
            html += &format!("<p class=\"note\">{label}: {}.</p>\n", escape(remark));
        }
    }
    html
}

/// The lines that have a bound.
fn bounded<'a, 'b>(lines: &'a [Line<'b>]) -> impl Iterator<Item = &'a Line<'b>> {
    lines
        .iter()
        .filter(|line| line.figures.guaranteed.samples + line.figures.statistical.samples > 0)
}

fn bounds(lines: &[Line<'_>]) -> Vec<String> {
    bounded(lines)
        .map(|line| {
            let (guaranteed, statistical) = (&line.figures.guaranteed, &line.figures.statistical);
            let mut entries = vec![("blue", "worst error")];
            let mut broken = Vec::new();
            for (bound, key, label) in [
                (guaranteed, "green area", "guaranteed bound"),
                (statistical, "purple area", "99.9% bound"),
            ] {
                if bound.samples > 0 {
                    entries.push((key, label));
                    let times = plural(bound.violations, "time");
                    broken.push(format!("the {label} was broken {times}"));
                }
            }
            if guaranteed.violations + statistical.violations > 0 {
                entries.push(("vermilion", "errors beyond"));
            }
            figure(
                &match lines {
                    [_] => "Bounds against error".to_owned(),
                    _ => format!("Bounds against error, {}", line.label),
                },
                &format!(
                    "Bounds of all clocks, least to greatest; {}.",
                    broken.join(", ")
                ),
                &keys(&entries),
                &plots::bounds(line),
            )
        })
        .collect()
}

fn bound_table(lines: &[Line<'_>]) -> String {
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

/// The recorded distributions of all runs; those of one name share a plot.
fn percentiles(report: &Report) -> String {
    let mut names: Vec<&str> = Vec::new();
    for distribution in report.runs.iter().flat_map(|run| &run.histograms) {
        if !names.contains(&distribution.name.as_str()) {
            names.push(&distribution.name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let several = report.runs.len() > 1;
    let figures = names.iter().map(|name| {
        let of = |(number, run): (usize, &'_ crate::run::Recorded)| {
            let found = run.histograms.iter().position(|d| d.name == *name)?;
            Some((number, found))
        };
        let found: Vec<(usize, &Distribution)> = report
            .runs
            .iter()
            .enumerate()
            .filter_map(of)
            .map(|(number, place)| (number, &report.runs[number].histograms[place]))
            .collect();
        let entries: Vec<(&str, &str)> = found
            .iter()
            .map(|(number, _)| (svg::line(*number).0, report.names[*number].as_str()))
            .collect();
        let drawn: Vec<_> = found.iter().map(|(n, d)| (svg::line(*n).1, *d)).collect();
        figure(
            name,
            "By percentile; each step to the right is one more nine.",
            &if several {
                keys(&entries)
            } else {
                String::new()
            },
            &plots::percentiles(&drawn),
        )
    });
    pair(&figures.collect::<Vec<_>>())
}

/// A table that the run's command wrote.
fn own_table(report: &Report, run: &str, recorded: &Table) -> String {
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

fn clocks(lines: &[Line<'_>]) -> String {
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

fn peers(report: &Report) -> String {
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

//! The page.

use parisync::present::page::{Card, Judgement, cards, document, escape, figure, keys};
use parisync::present::svg::{self, ns_decade};
use parisync::present::text::{plural, power, round};

use super::facts;
use super::figures::Quantiles;
use super::lines::{Line, bounded, legend, lines};
use super::tables::{bound_table, clocks, comparison, own_table, peers};
use super::text::{maybe, violations};
use super::{Report, plots};
use crate::run::Distribution;

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
    let mut commands: Vec<String> = report
        .runs
        .iter()
        .map(|run| format!("<code>parisync-bench {}</code>", escape(&run.meta.command)))
        .collect();
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
    let p99 = |label, of: &Quantiles| Card {
        label,
        value: maybe(of.p99_ns),
        note: format!("p50 {} · max {}", maybe(of.p50_ns), maybe(of.max_ns)),
        judgement: Judgement::Plain,
    };
    let mut cards = vec![
        Card {
            label: "rms error",
            value: maybe(figures.rms_ns),
            note: format!("mean {}", maybe(figures.mean_ns)),
            judgement: Judgement::Plain,
        },
        p99("error, p99", &figures.error),
    ];
    if figures.worst_pair.p99_ns.is_some() {
        cards.push(p99("worst pair, p99", &figures.worst_pair));
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
        let runs = report.runs.iter().enumerate();
        let found: Vec<(usize, &Distribution)> = runs
            .filter_map(|(number, run)| {
                let found = run.histograms.iter().find(|d| d.name == *name);
                found.map(|distribution| (number, distribution))
            })
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

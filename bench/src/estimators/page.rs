//! The ablation as one self-contained HTML page: a heat map for each scenario.

use parisync::present::page::{self, document, escape};

use super::{LinkRow, Row};
use crate::scenario::Scenario;
use crate::units::shown;

/// A cell this many times the best is as red as can be.
const WORST: f64 = 8.0;

/// The longest bar, in the page's rem.
const LONGEST_BAR: f64 = 18.0;

/// The page on these rows. `command` is how to repeat it.
pub fn page(command: &str, scenarios: &[Scenario], rows: &[Row], links: &[LinkRow]) -> String {
    let mut body = format!(
        "<header>\n<h1>Link estimators × combinations</h1>\n<p>Deviation (rms) of the clocks from \
         the network's: true error in simulated time, mean over seeds. Colours go by how many times \
         the best of the scenario it is, from green (1) to red ({WORST} and more); the best is bold. \
         ! marks guaranteed bounds that did not hold. More is said where the pointer rests.</p>\n\
         <p><code>{}</code></p>\n</header>\n",
        escape(command)
    );
    for scenario in scenarios {
        let of_it: Vec<&Row> = rows
            .iter()
            .filter(|r| r.scenario == scenario.name)
            .collect();
        if !of_it.is_empty() {
            body += &heat_map(scenario, &of_it);
            body += &bars(scenario, &of_it);
        }
        let alone: Vec<&LinkRow> = links
            .iter()
            .filter(|r| r.scenario == scenario.name)
            .collect();
        if !alone.is_empty() {
            body += &one_link(scenario, &alone);
        }
    }
    document("PariSync: estimators", &body)
}

/// The names in `all`, each once: what a node uses first, then in the order in which they come.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| *name != "default");
    names
}

fn heat_map(scenario: &Scenario, rows: &[&Row]) -> String {
    let estimators = names(rows.iter().map(|r| r.estimator.as_str()));
    let combinations = names(rows.iter().map(|r| r.combine.as_str()));
    let best = least(rows.iter().map(|r| r.rms_ns.mean));
    let cell = |estimator: &str, combine: &str| {
        let mut found = rows.iter();
        let found = found.find(|r| r.estimator == estimator && r.combine == combine);
        found.map_or(String::new(), |row| heat(row, best))
    };
    let lines: Vec<page::Row> = estimators
        .iter()
        .map(|estimator| {
            let name = escape(estimator).into_owned();
            let cells = combinations.iter().map(|combine| cell(estimator, combine));
            page::Row {
                cells: std::iter::once(name).chain(cells).collect(),
                marked: false,
            }
        })
        .collect();
    let heads = std::iter::once("").chain(combinations.iter().copied());
    let heads: Vec<String> = heads.map(str::to_owned).collect();
    page::table(&scenario.name, &heads, &[0], &lines, &scenario.why)
}

/// One cell: the rms error before its colour, the rest in its title.
fn heat(row: &Row, best: f64) -> String {
    let rms = row.rms_ns;
    let about = format!(
        "worst pair p99 {}, settled after {:.1} s, guaranteed {} ({:.2} of the best), \
         synchronized {:.1} %{}",
        shown(row.worst_p99_ns),
        row.settled_s,
        shown(row.guaranteed_p50_ns),
        row.guaranteed_ratio,
        100.0 * row.synchronized,
        rms.plus_minus
            .map_or(String::new(), |p| format!(", rms ± {}", shown(p)))
    );
    let mut text = shown(rms.mean);
    if row.guaranteed_violations > 0 {
        text += " !";
    }
    if rms.mean == best {
        text = format!("<strong>{text}</strong>");
    }
    coloured(&text, rms.mean / best, &about)
}

/// The default beside the best that each other combination came to with any estimator.
fn bars(scenario: &Scenario, rows: &[&Row]) -> String {
    let own = |row: &Row| row.estimator == "default" && row.combine == "default";
    let Some(default) = rows.iter().find(|row| own(row)) else {
        return String::new();
    };
    let mut bars = vec![*default];
    for combine in names(rows.iter().map(|r| r.combine.as_str())) {
        let with = rows
            .iter()
            .filter(|row| row.combine == combine && !own(row));
        bars.extend(with.min_by(|a, b| a.rms_ns.mean.total_cmp(&b.rms_ns.mean)));
    }
    if bars.len() < 2 {
        return String::new();
    }
    let most = bars.iter().map(|r| r.rms_ns.mean).fold(0.0, f64::max);
    let longest = most.min(WORST * default.rms_ns.mean);
    let lines: Vec<page::Row> = bars
        .iter()
        .map(|row| {
            let width = LONGEST_BAR * (row.rms_ns.mean / longest).min(1.0);
            let colour = if own(row) { "green" } else { "faint" };
            page::Row {
                cells: vec![
                    format!("{} + {}", escape(&row.estimator), escape(&row.combine)),
                    format!(
                        "<span style=\"display:inline-block;height:.8em;width:{width:.1}rem;\
                         background:var(--{colour})\"></span>"
                    ),
                    shown(row.rms_ns.mean),
                ],
                marked: own(row),
            }
        })
        .collect();
    let title = format!(
        "{}: the default and the best with each combination",
        scenario.name
    );
    let heads = ["", "", "rms"].map(str::to_owned);
    page::table(&title, &heads, &[0, 1], &lines, "")
}

fn one_link(scenario: &Scenario, rows: &[&LinkRow]) -> String {
    let best = least(rows.iter().map(|r| r.rms_ns.mean));
    let lines: Vec<page::Row> = rows
        .iter()
        .map(|row| page::Row {
            cells: vec![
                escape(&row.estimator).into_owned(),
                coloured(&shown(row.rms_ns.mean), row.rms_ns.mean / best, ""),
                shown(row.p99_ns),
                shown(row.sigma_p50_ns),
                format!("{:.0} %", 100.0 * row.within_sigma),
                format!("{:.2} %", 100.0 * row.beyond_3_29_sigma),
                shown(row.interval_p50_ns),
            ],
            marked: false,
        })
        .collect();
    let heads = [
        "estimator",
        "rms",
        "p99",
        "says σ",
        "within σ",
        "beyond 3.29 σ",
        "interval ±",
    ];
    let title = format!("{}: one link alone, error of the offset", scenario.name);
    page::table(&title, &heads.map(str::to_owned), &[0], &lines, "")
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

/// `html` on a colour: green for 1 time the best, red for [`WORST`] and more, grey for no number.
fn coloured(html: &str, times: f64, title: &str) -> String {
    let colour = if times.is_finite() {
        let far = (times.ln() / WORST.ln()).clamp(0.0, 1.0);
        format!("hsl({:.0} 62% 72%)", 130.0 * (1.0 - far))
    } else {
        "#ddd".to_owned()
    };
    format!(
        "<mark style=\"background:{colour};color:#10151c;padding:.2em .5em\" title=\"{}\">{html}\
         </mark>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimators::Estimate;
    use crate::scenario::find;

    fn row(estimator: &str, combine: &str, rms: f64, violations: usize) -> Row {
        Row {
            scenario: "lan-exponential".to_owned(),
            estimator: estimator.to_owned(),
            combine: combine.to_owned(),
            seeds: 1,
            rms_ns: Estimate {
                mean: rms,
                plus_minus: None,
            },
            liars_ratio: None,
            liars_ratio_worst: None,
            worst_p50_ns: 1.0,
            worst_p99_ns: 2.0,
            worst_max_ns: 3.0,
            settled_s: 4.0,
            synchronized: 1.0,
            guaranteed_p50_ns: 5.0,
            guaranteed_ratio: 1.1,
            guaranteed_violations: violations,
            statistical_p50_ns: 6.0,
            statistical_ratio: 3.0,
            statistical_violations: 0.0,
            packets: 1.0,
            limit_ns: None,
            limit_kind: None,
            rms_over_limit: None,
        }
    }

    #[test]
    fn the_best_is_green_and_bold_and_false_bounds_are_marked() {
        let scenario = find("lan-exponential").unwrap();
        let rows = [
            row("default", "default", 30.0, 0),
            row("<kalman>", "default", 60.0, 2),
            row("default", "median", 600.0, 0),
        ];
        let page = page("parisync-bench", &[scenario], &rows, &[]);
        roxmltree::Document::parse_with_options(
            &page,
            roxmltree::ParsingOptions {
                allow_dtd: true,
                ..roxmltree::ParsingOptions::default()
            },
        )
        .unwrap();
        let best = page.find("<strong>30.0ns</strong>").unwrap();
        assert!(page[..best].rfind("hsl(130 62% 72%)").is_some());
        assert!(page.contains("hsl(0 62% 72%)"));
        assert!(page.contains(">60.0ns !</mark>"));
        assert!(page.contains("&lt;kalman&gt; + default") && !page.contains("<kalman>"));
        assert!(!page.contains("http"), "nothing is fetched");
        // An estimator with a combination that was not run.
        assert!(page.contains("<td></td>"));
    }

    #[test]
    fn colours_go_by_the_logarithm() {
        for (times, colour) in [
            (1.0, "hsl(130 62% 72%)"),
            (8f64.sqrt(), "hsl(65 62% 72%)"),
            (100.0, "hsl(0 62% 72%)"),
            (f64::NAN, "#ddd"),
        ] {
            assert!(coloured("x", times, "").contains(colour), "{times}");
        }
    }
}

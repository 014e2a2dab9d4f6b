//! The ablation as one self-contained HTML page: a heat map for each scenario.

use std::fmt::Write;

use super::{LinkRow, Row};
use crate::scenario::Scenario;
use crate::units::shown;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;\
color:#1c2430;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2.2rem 0 .2rem}p{margin:.2rem 0 .7rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th{font-weight:500;text-align:left;padding:.2rem .5rem}thead th{text-align:right}
td{text-align:right;padding:.2rem .5rem;border:1px solid #fff;color:#10151c}
td.best{font-weight:700;outline:2px solid #10151c;outline-offset:-2px}
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:.1rem .6rem;\
font-size:13px;max-width:50rem;margin-top:.7rem}
.bar{background:#9db4c8;height:1em;align-self:center}.own{background:#1f6f4a}
.wide{overflow-x:auto}small{color:#5a6675}";

/// A cell this many times the best is as red as can be.
const WORST: f64 = 8.0;

/// The page on these rows. `command` is how to repeat it.
pub fn page(command: &str, scenarios: &[Scenario], rows: &[Row], links: &[LinkRow]) -> String {
    let mut body = format!(
        "<h1>Link estimators × combinations</h1><p>Deviation (rms) of the clocks from the \
         network's, mean over seeds, true error in simulated time. Colour: times the best of the \
         scenario, green 1 to red {WORST} and more; the best has a frame. <b>!</b> marks guaranteed \
         bounds that did not hold.</p><p><small><code>{}</code></small></p>",
        escaped(command)
    );
    for scenario in scenarios {
        let of_it: Vec<&Row> = rows
            .iter()
            .filter(|r| r.scenario == scenario.name)
            .collect();
        let alone: Vec<&LinkRow> = links
            .iter()
            .filter(|r| r.scenario == scenario.name)
            .collect();
        if of_it.is_empty() && alone.is_empty() {
            continue;
        }
        let (name, why) = (escaped(&scenario.name), escaped(&scenario.why));
        let _ = write!(body, "<h2>{name}</h2><p>{why}</p>");
        if !of_it.is_empty() {
            heat_map(&mut body, &of_it);
            bars(&mut body, &of_it);
        }
        if !alone.is_empty() {
            one_link(&mut body, &alone);
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>PariSync: estimators</title>\
         <style>{STYLE}</style><body>{body}</body></html>\n"
    )
}

/// The names in `all`, each once, in the order in which they come.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn heat_map(body: &mut String, rows: &[&Row]) {
    let estimators = names(rows.iter().map(|r| r.estimator.as_str()));
    let combinations = names(rows.iter().map(|r| r.combine.as_str()));
    let best = least(rows.iter().map(|r| r.rms_ns.mean));
    *body += "<div class=\"wide\"><table><thead><tr><th></th>";
    for combine in &combinations {
        let _ = write!(body, "<th>{}</th>", escaped(combine));
    }
    *body += "</tr></thead>";
    for estimator in estimators {
        let _ = write!(body, "<tr><th>{}</th>", escaped(estimator));
        for combine in &combinations {
            let found = rows
                .iter()
                .find(|r| r.estimator == estimator && r.combine == *combine);
            let Some(row) = found else {
                *body += "<td></td>";
                continue;
            };
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
            let _ = write!(
                body,
                "<td{} style=\"background:{}\" title=\"{about}\">{}{}</td>",
                if rms.mean == best {
                    " class=\"best\""
                } else {
                    ""
                },
                colour(rms.mean / best),
                shown(rms.mean),
                if row.guaranteed_violations > 0 {
                    " <b>!</b>"
                } else {
                    ""
                }
            );
        }
        *body += "</tr>";
    }
    *body += "</table></div>";
}

/// The default beside the best of each estimator and of each combination.
fn bars(body: &mut String, rows: &[&Row]) {
    let of = |row: &Row| format!("{} + {}", row.estimator, row.combine);
    let own = |row: &Row| row.estimator == "default" && row.combine == "default";
    let Some(default) = rows.iter().find(|row| own(row)) else {
        return;
    };
    let mut bars = vec![*default];
    for estimator in names(rows.iter().map(|r| r.estimator.as_str())) {
        let with = rows
            .iter()
            .filter(|row| row.estimator == estimator && !own(row));
        let best = with.min_by(|a, b| a.rms_ns.mean.total_cmp(&b.rms_ns.mean));
        bars.extend(best);
    }
    if bars.len() < 2 {
        return;
    }
    let most = bars
        .iter()
        .map(|r| r.rms_ns.mean)
        .fold(default.rms_ns.mean, f64::max);
    let most = most.min(WORST * default.rms_ns.mean);
    *body += "<div class=\"bars\">";
    for row in bars {
        let width = (100.0 * row.rms_ns.mean / most).min(100.0);
        let class = if own(row) { "bar own" } else { "bar" };
        let _ = write!(
            body,
            "<span>{}</span><span class=\"{class}\" style=\"width:{width:.1}%\"></span>\
             <span>{}</span>",
            escaped(&of(row)),
            shown(row.rms_ns.mean)
        );
    }
    *body += "</div>";
}

fn one_link(body: &mut String, rows: &[&LinkRow]) {
    let best = least(rows.iter().map(|r| r.rms_ns.mean));
    *body += "<p><small>One link alone: error of the offset</small></p><table><thead><tr><th></th>\
              <th>rms</th><th>p99</th><th>says σ</th><th>within σ</th><th>beyond 3.29 σ</th>\
              <th>interval ±</th></tr></thead>";
    for row in rows {
        let _ = write!(
            body,
            "<tr><th>{}</th><td style=\"background:{}\">{}</td><td>{}</td><td>{}</td>\
             <td>{:.0} %</td><td>{:.2} %</td><td>{}</td></tr>",
            escaped(&row.estimator),
            colour(row.rms_ns.mean / best),
            shown(row.rms_ns.mean),
            shown(row.p99_ns),
            shown(row.sigma_p50_ns),
            100.0 * row.within_sigma,
            100.0 * row.beyond_3_29_sigma,
            shown(row.interval_p50_ns)
        );
    }
    *body += "</table>";
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

/// Green for 1, red for [`WORST`] and more, grey for what is no number.
fn colour(times: f64) -> String {
    if !times.is_finite() {
        return "#ddd".to_owned();
    }
    let far = (times.ln() / WORST.ln()).clamp(0.0, 1.0);
    format!("hsl({:.0} 62% 72%)", 130.0 * (1.0 - far))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
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
    fn the_best_is_green_and_framed_and_false_bounds_are_marked() {
        let scenario = find("lan-exponential").unwrap();
        let rows = [
            row("default", "default", 30.0, 0),
            row("<kalman>", "default", 60.0, 2),
            row("default", "median", 600.0, 0),
        ];
        let page = page("parisync-bench", &[scenario], &rows, &[]);
        assert!(page.contains("<td class=\"best\" style=\"background:hsl(130 62% 72%)\""));
        assert!(page.contains("hsl(0 62% 72%)"));
        assert!(page.contains("60.0ns <b>!</b></td>"));
        assert!(page.contains("&lt;kalman&gt; + default") && !page.contains("<kalman>"));
        assert!(!page.contains("http"), "nothing is fetched");
        // Estimator × combination that was not run.
        assert!(page.contains("<td></td>"));
    }

    #[test]
    fn colours_go_by_the_logarithm() {
        assert_eq!(colour(1.0), "hsl(130 62% 72%)");
        assert_eq!(colour(8f64.sqrt()), "hsl(65 62% 72%)");
        assert_eq!(colour(100.0), "hsl(0 62% 72%)");
        assert_eq!(colour(f64::NAN), "#ddd");
    }
}

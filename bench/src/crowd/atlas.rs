//! The page of a sweep: how rounds grow with the size, and maps of what went wrong where.

use std::collections::BTreeMap;

use parisync::present::page::{Row, document, escape, figure, keys, table};
use parisync::present::svg::{
    self, AMBER, Axis, BLUE, BROWN, GREEN, OLIVE, PURPLE, VERMILION, VIOLET, WIDE, draw,
};
use plotters::prelude::*;
use serde_json::{Map, Value};

use super::sweep::{Done, named, text};

/// A line is laid through so many sizes at least: it goes through any two.
const FITTED: usize = 3;

/// Names and colours of the lines that can be told apart.
const COLOURS: [(&str, &RGBColor); 8] = [
    ("blue", &BLUE),
    ("vermilion", &VERMILION),
    ("green", &GREEN),
    ("purple", &PURPLE),
    ("amber", &AMBER),
    ("brown", &BROWN),
    ("violet", &VIOLET),
    ("olive", &OLIVE),
];

/// Sizes, and the rounds to a millisecond at each; `None`: never.
type Points = Vec<(f64, Option<f64>)>;

/// The fits and the maps.
pub fn atlas(done: &[Done]) -> String {
    let mut body = format!(
        "<header>\n<h1>Sweep</h1>\n<p>{} networks. Rounds are those until 99 % of the honest hosts \
         are, and stay, within 1 ms of their median.</p>\n</header>\n",
        done.len()
    );
    let lines = lines(done);
    body += &plot(&lines);
    body += &fits(&lines);
    for (figure, scale, unit) in [
        ("captured", 100.0, "Captured, %"),
        ("drag_ppm", 1.0, "Dragged, ppm"),
        ("sigma_ns", 1e-3, "Sigma, µs"),
    ] {
        body += &heat(done, figure, scale, unit);
    }
    document("PariSync: sweep", &body)
}

/// `a + b·ln n`, and how much of the variance that explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// At one node.
    pub a: f64,
    /// For each factor of e.
    pub b: f64,
    /// Explained share of the variance.
    pub r2: f64,
}

/// The line through points (n, rounds) over the logarithm of n; `None` with fewer than two sizes.
pub fn log_fit(points: &[(f64, f64)]) -> Option<Fit> {
    let count = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0.ln()), mean(|p| p.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (n, rounds) in points {
        let (dx, dy) = (n.ln() - x, rounds - y);
        xx += dx * dx;
        xy += dx * dy;
        yy += dy * dy;
    }
    (xx > 0.0).then(|| Fit {
        a: y - xy / xx * x,
        b: xy / xx,
        r2: if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 },
    })
}

/// Rounds to a millisecond over the size, for all that differs besides.
fn lines(done: &[Done]) -> BTreeMap<String, Points> {
    let mut lines: BTreeMap<String, Points> = BTreeMap::new();
    for one in done {
        let mut cell = one.cell.clone();
        let plan = one.report.get("plan");
        let dht = text(plan.and_then(|plan| plan.get("dht")));
        cell.remove("nodes");
        cell.insert("dht".to_owned(), Value::String(dht));
        let rounds = one.report.get("rounds_to").and_then(|r| r.get("1ms"));
        if let Some(nodes) = one.report.get("nodes").and_then(Value::as_f64) {
            let point = (nodes, rounds.and_then(Value::as_f64));
            lines.entry(named(&cell)).or_default().push(point);
        }
    }
    for points in lines.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

fn reached(points: &Points) -> Vec<(f64, f64)> {
    let reached = points
        .iter()
        .filter_map(|(n, rounds)| Some((*n, (*rounds)?)));
    reached.collect()
}

/// Rounds over the size: every network's line, the first few in colours of their own.
fn plot(lines: &BTreeMap<String, Points>) -> String {
    let sizes = || lines.values().flatten().map(|(n, _)| *n);
    let rounds = || lines.values().flatten().filter_map(|(_, rounds)| *rounds);
    if rounds().next().is_none() {
        return String::new();
    }
    let drawn = draw(WIDE, |area| {
        let x = Axis::decades(sizes(), 1.0, "nodes", |log| {
            format!("{:.0}", 10_f64.powf(log))
        });
        let most = rounds().fold(1.0, f64::max);
        let y = Axis::linear(0.0..1.1 * most, "rounds to 1 ms", |rounds| {
            format!("{rounds:.0}")
        });
        let mut chart = svg::chart(area, x, y)?;
        for (k, points) in lines.values().enumerate() {
            let colour = COLOURS.get(k).map_or(&BLACK, |(_, colour)| *colour);
            let points = reached(points);
            let points: Vec<_> = points.iter().map(|(n, r)| (n.log10(), *r)).collect();
            let dots = points.iter().map(|at| Circle::new(*at, 7, colour.filled()));
            chart.draw_series(dots)?;
            chart.draw_series([PathElement::new(points, colour.stroke_width(3))])?;
        }
        Ok(())
    });
    let names: Vec<(&str, &str)> = COLOURS
        .iter()
        .zip(lines.keys())
        .map(|((class, _), name)| (*class, name.as_str()))
        .collect();
    let rest = if lines.len() > COLOURS.len() {
        "All others are black; the table has them."
    } else {
        ""
    };
    figure("Rounds over size", rest, &keys(&names), &drawn)
}

fn fits(lines: &BTreeMap<String, Points>) -> String {
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, points)| {
            let met = reached(points);
            let fit = log_fit(&met).filter(|_| met.len() >= FITTED);
            let points = points.iter().map(|(n, rounds)| {
                let rounds = rounds.map_or("never".to_owned(), |rounds| rounds.to_string());
                format!("{n}: {rounds}")
            });
            Row {
                cells: vec![
                    escape(name).into_owned(),
                    points.collect::<Vec<_>>().join(", "),
                    fit.map_or("–".to_owned(), |f| {
                        format!("{:.2} + {:.2} ln n", f.a, f.b)
                    }),
                    fit.map_or("–".to_owned(), |f| format!("{:.2}", f.r2)),
                ],
                marked: false,
            }
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads = ["network", "nodes: rounds to 1 ms", "fit", "R²"].map(str::to_owned);
    table(
        "Fits",
        &heads,
        &[0, 1, 2],
        &rows,
        "A fit takes three sizes.",
    )
}

/// A figure over what differs: attacks and strategies down, shares of liars and churn across.
fn heat(done: &[Done], figure: &str, scale: f64, title: &str) -> String {
    let across = ["malicious", "churn"];
    let split = |cell: &Map<String, Value>, wanted: bool| {
        let part = cell
            .iter()
            .filter(|(k, _)| across.contains(&k.as_str()) == wanted);
        named(&part.map(|(k, v)| (k.clone(), v.clone())).collect())
    };
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    let mut values = BTreeMap::new();
    for one in done {
        let (row, column) = (split(&one.cell, false), split(&one.cell, true));
        if !rows.contains(&row) {
            rows.push(row.clone());
        }
        if !columns.contains(&column) {
            columns.push(column.clone());
        }
        if let Some(value) = one.report.get(figure).and_then(Value::as_f64) {
            values.insert((row, column), scale * value);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let most = values.values().map(|v: &f64| v.abs()).fold(1e-12, f64::max);
    let shaded = |value: &f64| {
        let shade = 0.7 * (value.abs() / most).sqrt();
        format!(
            "<span style=\"display:block;padding:.1em .4em;background:rgba(213,94,0,{shade:.2})\">\
             {value:.3}</span>"
        )
    };
    let html: Vec<Row> = rows
        .iter()
        .map(|row| {
            let value = |column: &String| values.get(&(row.clone(), column.clone()));
            let cell = |column: &String| value(column).map_or("–".to_owned(), shaded);
            let name = std::iter::once(escape(row).into_owned());
            Row {
                cells: name.chain(columns.iter().map(cell)).collect(),
                marked: false,
            }
        })
        .collect();
    let heads: Vec<String> = std::iter::once(String::new()).chain(columns).collect();
    table(title, &heads, &[0], &html, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithm_is_found() {
        let points = [10.0, 100.0, 1_000.0].map(|n: f64| (n, 2.0 + 3.0 * n.ln()));
        let fit = log_fit(&points).unwrap();
        assert!((fit.a - 2.0).abs() < 1e-9 && (fit.b - 3.0).abs() < 1e-9 && fit.r2 > 0.999);
        assert_eq!(log_fit(&points[..1]), None);
    }

    #[test]
    fn sizes_that_never_met_are_said_and_not_fitted() {
        let done = |nodes: u32, rounds: Value| Done {
            cell: Map::from_iter([("nodes".to_owned(), nodes.into())]),
            report: Map::from_iter([
                ("nodes".to_owned(), nodes.into()),
                ("rounds_to".to_owned(), serde_json::json!({ "1ms": rounds })),
            ]),
        };
        let page = atlas(&[
            done(100, 3.into()),
            done(10, Value::Null),
            done(1_000, 4.into()),
        ]);
        assert!(page.contains("10: never, 100: 3, 1000: 4"), "{page}");
        assert!(!page.contains(" ln n"));
    }
}

//! The page of a run.

use parisync::present::page::{document, facts, figure, keys};
use parisync::present::svg::{self, Axis, BLUE, GREEN, VERMILION, WIDE, draw, log, ns_decade};
use plotters::prelude::*;

use super::result::{Report, Round};

/// Class and words of its key, colour, and what it shows.
type Line = (
    &'static str,
    &'static str,
    &'static RGBColor,
    fn(&Round) -> f64,
);

/// How the clocks came together, round by round, and what the run came to.
pub fn page(report: &Report, rounds: &[Round]) -> String {
    let lines: [Line; 3] = [
        (
            "blue",
            "one standard deviation of the synchronized",
            &BLUE,
            |r| r.sigma_ns,
        ),
        ("vermilion", "the worst of them", &VERMILION, |r| r.worst_ns),
        (
            "green",
            "99 % of all honest clocks are closer",
            &GREEN,
            |r| r.p99_ns,
        ),
    ];
    let plot = draw(WIDE, |area| {
        let values = rounds.iter().flat_map(|r| lines.map(|line| (line.3)(r)));
        let y = Axis::decades(
            values.filter(|v| *v >= 1.0),
            2.0,
            "distance from the median",
            ns_decade,
        );
        let end = rounds.last().map_or(1.0, |r| f64::from(r.round));
        let x = Axis::linear(0.0..end, "round", |round| format!("{round:.0}"));
        let mut chart = svg::chart(area, x, y)?;
        for (_, _, colour, value) in lines {
            let some = rounds.iter().filter(|r| value(r) > 0.0);
            let points: Vec<_> = some.map(|r| (f64::from(r.round), log(value(r)))).collect();
            let points = svg::thinned(&points, |new, best| new > best);
            chart.draw_series([PathElement::new(points, colour.stroke_width(4))])?;
        }
        Ok(())
    });
    let names: Vec<(&str, &str)> = lines.iter().map(|line| (line.0, line.1)).collect();
    let told = serde_json::to_value(report).unwrap_or_default();
    let told: Vec<(String, String)> = told
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = value.to_string();
            (
                name.clone(),
                parisync::present::page::escape(&text).into_owned(),
            )
        })
        .collect();
    document(
        "PariSync: simulated network",
        &(figure(
            "Clocks over rounds",
            "Honest clocks against their median.",
            &keys(&names),
            &plot,
        ) + &facts("What it came to", &told)),
    )
}

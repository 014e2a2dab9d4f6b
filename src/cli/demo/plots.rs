//! The plots of the report.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::summary::{CONVERGED_NS, Record};
use super::text;
use crate::present::histogram::Histogram;
use crate::present::svg::{
    self, AMBER, Area, Axis, BLUE, Chart, FAINT, Failure, GREEN, HALF, INK, PURPLE, VERMILION,
    WIDE, draw, log, ns_decade, small,
};

/// Nodes drawn one by one; of larger swarms every so manieth.
const MOST_LINES: usize = 24;

/// The worst pair over time on a log axis, with the single nodes behind it.
pub(super) fn skew(record: &Record, converged_s: Option<f64>) -> String {
    draw(WIDE, |area| {
        let worst = points(record, |tick| {
            record.truths()[tick].worst_ns.map(|ns| ns as f64)
        });
        let values = worst.iter().map(|point| 10_f64.powf(point.1));
        let axis = magnitudes(values.chain([10.0, CONVERGED_NS as f64]));
        let bottom = axis.ends().start;
        let mut chart = over_time(area, record, axis)?;
        let end = record.seconds();
        let top = chart.as_coord_spec().get_y_range().end;

        chart.draw_series([Rectangle::new(
            [(end / 2.0, bottom), (end, top)],
            FAINT.mix(0.10).filled(),
        )])?;
        chart.plotting_area().draw(
            &(EmptyElement::at((end / 2.0, top))
                + Text::new(
                    "second half: what the statistics are of",
                    (14, 12),
                    small(&INK, HPos::Left, VPos::Top),
                )),
        )?;
        let nodes = record.roster().len();
        let stride = nodes.div_ceil(MOST_LINES).max(1);
        // Many lines over each other must not make a wall.
        let honest = FAINT
            .mix(1.4 / (nodes as f64).sqrt().max(2.8))
            .stroke_width(2);
        let liar = PURPLE.stroke_width(4);
        for node in (0..nodes).filter(|&node| node % stride == 0 || !record.honest(node)) {
            let line = points(record, |tick| record.truths()[tick].errors_ns[node]);
            let style = if record.honest(node) { honest } else { liar };
            chart.draw_series([PathElement::new(line, style)])?;
        }
        let limit = log(CONVERGED_NS as f64);
        chart.draw_series(DashedLineSeries::new(
            [(0.0, limit), (end, limit)],
            14,
            10,
            VERMILION.stroke_width(3),
        ))?;
        chart.draw_series([PathElement::new(worst, BLUE.stroke_width(5))])?;
        if let Some(at) = converged_s {
            let start = (at, limit);
            chart.draw_series([Circle::new(start, 11, VERMILION.filled())])?;
            chart.plotting_area().draw(
                &(EmptyElement::at(start)
                    + Text::new(
                        format!("below 10µs from {at:.1}s"),
                        (20, -14),
                        small(&VERMILION, HPos::Left, VPos::Bottom),
                    )),
            )?;
        }
        Ok(())
    })
}

/// The largest true error and the bounds over time on a log axis.
pub(super) fn bounds(record: &Record) -> String {
    draw(HALF, |area| {
        // Who promises nothing cannot break a promise: only nodes with a bound count here.
        let promises = |tick: usize| {
            let nodes = record.samples()[tick].nodes.iter().enumerate();
            nodes.filter_map(move |(node, seen)| {
                let error = record.truths()[tick].errors_ns[node]?;
                record.honest(node).then_some((error.abs(), seen.bound_ns?))
            })
        };
        let bound = |tick: usize| promises(tick).map(|(_, bound)| bound);
        let worst = points(record, |tick| {
            promises(tick)
                .map(|(error, _)| error)
                .max_by(f64::total_cmp)
        });
        let broken = points(record, |tick| {
            let broken = promises(tick).filter(|(error, bound)| *error > *bound as f64);
            broken.map(|(error, _)| error).max_by(f64::total_cmp)
        });
        let most = points(record, |tick| bound(tick).max().map(|ns| ns as f64));
        let least = lowest_points(record, |tick| bound(tick).min().map(|ns| ns as f64));
        let likely = points(record, |tick| {
            let nodes = record.samples()[tick].nodes.iter().enumerate();
            nodes
                .filter_map(|(node, seen)| seen.statistical_ns.filter(|_| record.honest(node)))
                .max()
                .map(|ns| ns as f64)
        });
        let values = worst.iter().chain(&most).chain(&least).chain(&likely);
        let axis = magnitudes(values.map(|point| 10_f64.powf(point.1)));
        let mut chart = over_time(area, record, axis)?;

        let band: Vec<_> = most.iter().chain(least.iter().rev()).copied().collect();
        chart.draw_series([Polygon::new(band, GREEN.mix(0.25).filled())])?;
        chart.draw_series([PathElement::new(least, GREEN.stroke_width(4))])?;
        chart.draw_series([PathElement::new(likely, AMBER.stroke_width(4))])?;
        chart.draw_series([PathElement::new(worst, BLUE.stroke_width(4))])?;

        let dot = |point| Circle::new(point, 9, VERMILION.filled());
        chart.draw_series(broken.into_iter().map(dot))?;
        Ok(())
    })
}

/// The distribution of the true errors.
pub(super) fn errors(histogram: &Histogram, rms_ns: Option<f64>) -> String {
    draw(HALF, |area| {
        let limit = histogram.limit_ns;
        let total = histogram.total().max(1) as f64;
        let share = |count: u64| 100.0 * count as f64 / total;
        let top = histogram
            .counts
            .iter()
            .max()
            .map_or(1.0, |&n| share(n))
            .max(1.0)
            * 1.12;
        let x = Axis::linear(-limit..limit, "", text::signed);
        let y = Axis::linear(0.0..top, "", |share| format!("{share:.0}%"));
        let mut chart = svg::chart(area, x, y)?;
        let width = 2.0 * limit / histogram.counts.len() as f64;
        chart.draw_series(histogram.counts.iter().enumerate().map(|(bin, &count)| {
            let left = -limit + bin as f64 * width;
            let mut bar = Rectangle::new(
                [(left, 0.0), (left + width, share(count))],
                BLUE.mix(0.85).filled(),
            );
            bar.set_margin(0, 0, 2, 2);
            bar
        }))?;
        if let Some(rms) = rms_ns.filter(|&rms| rms < limit) {
            for x in [-rms, rms] {
                let line = [(x, 0.0), (x, top)];
                chart.draw_series(DashedLineSeries::new(
                    line,
                    12,
                    8,
                    VERMILION.stroke_width(3),
                ))?;
            }
            chart.plotting_area().draw(
                &(EmptyElement::at((rms, top))
                    + Text::new(
                        format!("rms {}", text::span(rms)),
                        (12, 4),
                        small(&VERMILION, HPos::Left, VPos::Top),
                    )),
            )?;
        }
        Ok(())
    })
}

/// A logarithmic axis of spans of time.
fn magnitudes(ns: impl IntoIterator<Item = f64>) -> Axis {
    let ns = ns.into_iter().map(|ns| ns.abs().max(1.0));
    Axis::decades(ns, 3.0, "", ns_decade)
}

/// A chart of time against magnitude, with its grid.
fn over_time<'a, 'b>(
    area: &'a Area<'b>,
    record: &Record,
    axis: Axis,
) -> Result<Chart<'a, 'b>, Failure<'b>> {
    let time = Axis::linear(0.0..record.seconds(), "", |s| format!("{s:.0}s"));
    svg::chart(area, time, axis)
}

/// Seconds and logarithm of a magnitude at each tick where there is one; of a long run the
/// greatest in each stretch, so that nothing bad is thinned away.
fn points(record: &Record, value: impl Fn(usize) -> Option<f64>) -> Vec<(f64, f64)> {
    extreme_points(record, value, |best, new| new > best)
}

/// The same with the least of each stretch.
fn lowest_points(record: &Record, value: impl Fn(usize) -> Option<f64>) -> Vec<(f64, f64)> {
    extreme_points(record, value, |best, new| new < best)
}

fn extreme_points(
    record: &Record,
    value: impl Fn(usize) -> Option<f64>,
    better: impl Fn(f64, f64) -> bool,
) -> Vec<(f64, f64)> {
    let truths = record.truths().iter().enumerate();
    let points = truths.filter_map(|(tick, truth)| Some((truth.at_s, log(value(tick)?))));
    svg::thinned(&points.collect::<Vec<_>>(), better)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn an_empty_run_draws_empty_plots() {
        let record = Record::new(testing::roster(2));
        for svg in [skew(&record, None), bounds(&record)] {
            assert!(svg.ends_with("</svg>\n"), "{svg}");
        }
    }
}

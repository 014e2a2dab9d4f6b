//! The plots of the report, as SVG.
//!
//! They are drawn at twice the size they are shown at, since `plotters` rounds to whole pixels,
//! and in a few known colours, which the page replaces to suit a light or a dark background.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::histogram::Histogram;
use super::summary::{CONVERGED_NS, Record};
use super::text;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(0x4b, 0x55, 0x63);
/// Grid lines, shades and lines in the background.
pub(super) const FAINT: RGBColor = RGBColor(0x9c, 0xa3, 0xaf);
/// The truth. Blue, orange, green and purple are Okabe and Ito's, told apart by everyone.
pub(super) const TRUTH: RGBColor = RGBColor(0x00, 0x72, 0xb2);
/// Thresholds and what is beyond them.
pub(super) const LIMIT: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// What nodes guarantee.
pub(super) const BOUND: RGBColor = RGBColor(0x00, 0x9e, 0x73);
/// What most errors stay within.
pub(super) const STATISTICAL: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
/// Liars.
pub(super) const LIAR: RGBColor = RGBColor(0xcc, 0x79, 0xa7);

/// A full row of the page.
const WIDE: (u32, u32) = (2080, 760);
/// Half a row.
const HALF: (u32, u32) = (1030, 700);
/// More points than this in a line cannot be seen.
const MOST_POINTS: usize = 1000;
/// Nodes drawn one by one; of larger swarms every so manieth.
const MOST_LINES: usize = 24;

type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, Decades>>;

/// A logarithmic axis in nanoseconds: coordinates are decimal logarithms, labels spans of time.
struct Decades(RangedCoordf64, Range<f64>);

impl Decades {
    /// Whole decades that hold the magnitudes, three at least.
    fn around(magnitudes: impl Iterator<Item = f64>) -> Self {
        let (low, high) = magnitudes
            .map(log)
            .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let low = if low > high { 0.0 } else { low.floor() };
        let high = high.ceil().max(low + 3.0);
        Self((low..high).into(), low..high)
    }
}

impl Ranged for Decades {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.0.map(&value.clamp(self.1.start, self.1.end), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        (self.1.start as i32..=self.1.end as i32)
            .map(f64::from)
            .collect()
    }

    fn range(&self) -> Range<f64> {
        self.1.clone()
    }
}

/// Decimal logarithm of a magnitude; below 1 ns nothing is told apart.
fn log(ns: f64) -> f64 {
    ns.abs().max(1.0).log10()
}

/// The worst pair over time on a log axis, with the single nodes behind it.
pub(super) fn skew(record: &Record, converged_s: Option<f64>) -> String {
    draw(WIDE, |area| {
        let worst = points(record, |tick| {
            record.truths()[tick].worst_ns.map(|ns| ns as f64)
        });
        let values = worst.iter().map(|point| 10_f64.powf(point.1));
        let axis = Decades::around(values.chain([10.0, CONVERGED_NS as f64]));
        let bottom = axis.1.start;
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
        let liar = LIAR.stroke_width(4);
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
            LIMIT.stroke_width(3),
        ))?;
        chart.draw_series([PathElement::new(worst, TRUTH.stroke_width(5))])?;
        if let Some(at) = converged_s {
            let start = (at, limit);
            chart.draw_series([Circle::new(start, 11, LIMIT.filled())])?;
            chart.plotting_area().draw(
                &(EmptyElement::at(start)
                    + Text::new(
                        format!("below 10µs from {at:.1}s"),
                        (20, -14),
                        small(&LIMIT, HPos::Left, VPos::Bottom),
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
        let axis = Decades::around(values.map(|point| 10_f64.powf(point.1)));
        let mut chart = over_time(area, record, axis)?;

        let band: Vec<_> = most.iter().chain(least.iter().rev()).copied().collect();
        chart.draw_series([Polygon::new(band, BOUND.mix(0.25).filled())])?;
        chart.draw_series([PathElement::new(least, BOUND.stroke_width(4))])?;
        chart.draw_series([PathElement::new(likely, STATISTICAL.stroke_width(4))])?;
        chart.draw_series([PathElement::new(worst, TRUTH.stroke_width(4))])?;

        let dot = |point| Circle::new(point, 9, LIMIT.filled());
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
        let mut chart = ChartBuilder::on(area)
            .margin_right(64)
            .margin_top(16)
            .x_label_area_size(60)
            .y_label_area_size(96)
            .build_cartesian_2d(-limit..limit, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT.mix(0.30))
            .axis_style(FAINT.mix(0.6))
            .label_style(label())
            .x_labels(5)
            .y_labels(6)
            .x_label_formatter(&|ns| text::signed(*ns))
            .y_label_formatter(&|share| format!("{share:.0}%"))
            .draw()?;
        let width = 2.0 * limit / histogram.counts.len() as f64;
        chart.draw_series(histogram.counts.iter().enumerate().map(|(bin, &count)| {
            let left = -limit + bin as f64 * width;
            let mut bar = Rectangle::new(
                [(left, 0.0), (left + width, share(count))],
                TRUTH.mix(0.85).filled(),
            );
            bar.set_margin(0, 0, 2, 2);
            bar
        }))?;
        if let Some(rms) = rms_ns.filter(|&rms| rms < limit) {
            for x in [-rms, rms] {
                let line = [(x, 0.0), (x, top)];
                chart.draw_series(DashedLineSeries::new(line, 12, 8, LIMIT.stroke_width(3)))?;
            }
            chart.plotting_area().draw(
                &(EmptyElement::at((rms, top))
                    + Text::new(
                        format!("rms {}", text::span(rms)),
                        (12, 4),
                        small(&LIMIT, HPos::Left, VPos::Top),
                    )),
            )?;
        }
        Ok(())
    })
}

/// Draws one plot; what goes wrong takes the plot away, never the report.
fn draw(
    size: (u32, u32),
    plot: impl for<'a> FnOnce(
        &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    ) -> Result<(), Failure<'a>>,
) -> String {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        plot(&area).and_then(|()| area.present())
    };
    match drawn {
        Ok(()) => svg,
        Err(_) => String::new(),
    }
}

/// A chart of time against magnitude, with its grid.
fn over_time<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    record: &Record,
    axis: Decades,
) -> Result<Chart<'a, 'b>, Failure<'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin_right(64)
        .margin_top(16)
        .x_label_area_size(60)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..record.seconds().max(1.0), axis)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT.mix(0.30))
        .axis_style(FAINT.mix(0.6))
        .label_style(label())
        .x_labels(8)
        .x_label_formatter(&|s| format!("{s:.0}s"))
        .y_label_formatter(&|decade| decade_label(*decade))
        .draw()?;
    Ok(chart)
}

/// `1ns`, `10ns`, … without the digits after the point that other spans have.
fn decade_label(decade: f64) -> String {
    let decade = decade.round().max(0.0) as usize;
    let unit = ["ns", "µs", "ms", "s"].get(decade / 3).unwrap_or(&"");
    format!("1{}{unit}", "0".repeat(decade % 3))
}

fn label() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 31)).color(&INK)
}

fn small(colour: &'static RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 30))
        .color(colour)
        .pos(Pos::new(h, v))
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
    let ticks = record.truths().len();
    let stretch = ticks.div_ceil(MOST_POINTS).max(1);
    (0..ticks)
        .step_by(stretch)
        .filter_map(|start| {
            let mut best: Option<(f64, f64)> = None;
            for tick in start..(start + stretch).min(ticks) {
                let Some(ns) = value(tick) else { continue };
                let y = log(ns);
                if best.is_none_or(|(_, so_far)| better(so_far, y)) {
                    best = Some((record.truths()[tick].at_s, y));
                }
            }
            best
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn decades_read_as_people_write_them() {
        let labels: Vec<String> = (0..=9).map(|d| decade_label(d.into())).collect();
        assert_eq!(
            labels,
            [
                "1ns", "10ns", "100ns", "1µs", "10µs", "100µs", "1ms", "10ms", "100ms", "1s"
            ]
        );
    }

    #[test]
    fn an_axis_holds_its_values_and_an_empty_one_is_still_an_axis() {
        assert_eq!(Decades::around([150.0, 4e8].into_iter()).1, 2.0..9.0);
        assert_eq!(Decades::around([0.0].into_iter()).1, 0.0..3.0);
        assert_eq!(Decades::around(std::iter::empty()).1, 0.0..3.0);
    }

    #[test]
    fn an_empty_run_draws_empty_plots() {
        let record = Record::new(testing::roster(2));
        for svg in [skew(&record, None), bounds(&record)] {
            assert!(svg.ends_with("</svg>\n"), "{svg}");
        }
    }

    #[test]
    fn long_runs_are_thinned_but_keep_their_peaks() {
        let mut record = Record::new(testing::roster(2));
        for ms in 0..5_000 {
            let mut sample = testing::sample(crate::time::Span::from_millis(ms), 2);
            sample.nodes[0].clock_ns = Some(0);
            sample.nodes[1].clock_ns = Some(if ms == 3_333 { 1_000_000 } else { 100 });
            record.push(sample);
        }
        let line = points(&record, |tick| {
            record.truths()[tick].worst_ns.map(|ns| ns as f64)
        });
        assert_eq!(line.len(), MOST_POINTS);
        let peak = line.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        assert_eq!(peak, Some((3.333, 6.0)));
    }
}

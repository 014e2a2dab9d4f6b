//! The plots of the page.

use parisync::present::histogram::Histogram;
use parisync::present::svg::{
    self, Axis, BLUE, Chart, FAINT, Failure, GREEN, HALF, MOST_POINTS, PURPLE, VERMILION, WIDE,
    draw, ns_decade, s_decade,
};
use parisync::present::text;
use plotters::prelude::*;

use super::figures::spreads;
use super::lines::Line;
use crate::run::{Distribution, Point};
use crate::stats::{Moments, Stability, quantile, sort};

/// Clocks drawn one by one; of more every so manieth.
const MOST_CLOCKS: usize = 24;

/// Nothing below this is told apart on a logarithmic axis, ns.
const LEAST_NS: f64 = 0.01;

/// Values that differ by a greater factor are shown on a logarithmic axis.
const MOST_LINEAR: f64 = 50.0;

/// Lines of the distribution functions have so many points.
const STEPS: usize = 400;

/// Which clocks of a line a plot is of.
fn counted<'a>(line: &'a Line<'_>) -> impl Iterator<Item = &'a Point> {
    let points = line.series.tracks.iter().flat_map(|track| &track.points);
    points.filter(|point| point.time_s >= line.figures.from_s)
}

fn logarithm(ns: f64) -> f64 {
    ns.abs().max(LEAST_NS).log10()
}

/// A logarithmic axis of time errors. The lowest few values do not count: errors that change their
/// sign pass zero, and nobody wants to see how near.
fn magnitudes(points: impl IntoIterator<Item = f64>, title: &'static str) -> Axis {
    let mut values: Vec<f64> = points.into_iter().collect();
    sort(&mut values);
    let low = quantile(&values, 0.02);
    let high = values.last().copied();
    Axis::decades(
        low.into_iter().chain(high).map(|v| 10_f64.powf(v)),
        2.0,
        title,
        ns_decade,
    )
}

/// The end of all lines, s.
fn time_axis(lines: &[Line<'_>], from: f64) -> Axis {
    let points = lines.iter().flat_map(|line| &line.series.tracks);
    let ends = points.filter_map(|track| track.points.last());
    let end = ends.map(|point| point.time_s).fold(from, f64::max);
    Axis::linear(from..end, "time since the start", |s| match s {
        s if s.fract() == 0.0 => format!("{s:.0}s"),
        _ => format!("{s:.1}s"),
    })
}

/// The magnitude of the worst error over time; of a single line its clocks as well.
pub(super) fn magnitude(lines: &[Line<'_>], limit_ns: f64) -> String {
    draw(WIDE, |area| {
        let worst: Vec<_> = lines.iter().map(|line| worst_over_time(line)).collect();
        let values = worst.iter().flatten().map(|point| point.1);
        let axis = magnitudes(values.chain([logarithm(limit_ns)]), "worst error");
        let mut chart = svg::chart(area, time_axis(lines, 0.0), axis)?;
        let ends = chart.as_coord_spec().get_x_range();
        if let [line] = lines {
            let tracks = &line.series.tracks;
            let stride = tracks.len().div_ceil(MOST_CLOCKS).max(1);
            let faint = FAINT.mix(1.4 / (tracks.len() as f64).sqrt().max(2.8));
            for track in tracks.iter().step_by(stride) {
                let points = track.points.iter();
                let points: Vec<_> = points.map(|p| (p.time_s, logarithm(p.error_ns))).collect();
                let points = svg::thinned(&points, |new, best| new > best);
                chart.draw_series([PathElement::new(points, faint.stroke_width(2))])?;
            }
        }
        let limit = logarithm(limit_ns);
        chart.draw_series(DashedLineSeries::new(
            [(ends.start, limit), (ends.end, limit)],
            14,
            10,
            FAINT.stroke_width(3),
        ))?;
        for (line, points) in lines.iter().zip(worst) {
            chart.draw_series([PathElement::new(points, line.colour.stroke_width(4))])?;
        }
        Ok(())
    })
}

/// The logarithm of the greatest error of any clock at each instant.
fn worst_over_time(line: &Line<'_>) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = line
        .series
        .tracks
        .iter()
        .flat_map(|track| &track.points)
        .map(|point| (point.time_s, logarithm(point.error_ns)))
        .collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let greatest = |part: &[(f64, f64)]| {
        let values = part.iter().map(|point| point.1);
        (part[0].0, values.fold(f64::MIN, f64::max))
    };
    let instants: Vec<_> = all.chunk_by(|a, b| a.0 == b.0).map(greatest).collect();
    svg::thinned(&instants, |new, best| new > best)
}

/// Errors with their sign after settling: the mean of each line's clocks and where all of them are.
pub(super) fn signed(lines: &[Line<'_>]) -> String {
    draw(WIDE, |area| {
        let all: Vec<f64> = lines.iter().flat_map(counted).map(|p| p.error_ns).collect();
        let limit = Histogram::limit(&all, 0.999);
        let from = lines.iter().map(|line| line.figures.from_s);
        let from = from.fold(f64::MAX, f64::min);
        let from = if from == f64::MAX { 0.0 } else { from };
        let y = Axis::linear(-limit..limit, "error", text::signed);
        let mut chart = svg::chart(area, time_axis(lines, from), y)?;
        let shade = if lines.len() > 2 { 0.18 } else { 0.28 };
        for line in lines {
            let parts = stretches(line);
            let within = |ns: Option<f64>| ns.unwrap_or(0.0).clamp(-limit, limit);
            let edge = |pick: fn(&Moments) -> Option<f64>| {
                let points = parts
                    .iter()
                    .map(move |(at, part)| (*at, within(pick(part))));
                points.collect::<Vec<_>>()
            };
            let mut band = edge(Moments::max);
            band.extend(edge(Moments::min).into_iter().rev());
            chart.draw_series([Polygon::new(band, line.colour.mix(shade).filled())])?;
            let mean = edge(Moments::mean);
            chart.draw_series([PathElement::new(mean, line.colour.stroke_width(3))])?;
        }
        Ok(())
    })
}

/// All errors of all clocks in short stretches of time, each with the time of its middle.
fn stretches(line: &Line<'_>) -> Vec<(f64, Moments)> {
    let mut points: Vec<(f64, f64)> = counted(line).map(|p| (p.time_s, p.error_ns)).collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let (start, width) = (first.0, (last.0 - first.0) / (MOST_POINTS / 2) as f64);
    let place = |at: f64| ((at - start) / width.max(f64::MIN_POSITIVE)).floor();
    points
        .chunk_by(|a, b| place(a.0) == place(b.0))
        .map(|part| {
            let middle = (part[0].0 + part[part.len() - 1].0) / 2.0;
            (middle, part.iter().map(|point| point.1).collect())
        })
        .collect()
}

/// How errors are distributed.
pub(super) fn histogram(lines: &[Line<'_>]) -> String {
    draw(HALF, |area| {
        let errors: Vec<Vec<f64>> = lines
            .iter()
            .map(|line| counted(line).map(|point| point.error_ns).collect())
            .collect();
        let limit = Histogram::limit(&errors.concat(), 0.99);
        let counts: Vec<Histogram> = errors
            .iter()
            .map(|errors| Histogram::within(errors, limit))
            .collect();
        let share = |histogram: &Histogram, count: u64| {
            100.0 * count as f64 / histogram.total().max(1) as f64
        };
        let shares = counts
            .iter()
            .flat_map(|h| h.counts.iter().map(|&n| share(h, n)));
        let top = shares.fold(1.0, f64::max) * 1.12;
        let x = Axis::linear(-limit..limit, "error", text::signed);
        let y = Axis::linear(0.0..top, "share of samples", |share| format!("{share:.0}%"));
        let mut chart = svg::chart(area, x, y)?;
        for (line, histogram) in lines.iter().zip(&counts) {
            let width = 2.0 * limit / histogram.counts.len() as f64;
            let mut outline = vec![(-limit, 0.0)];
            for (bin, &count) in histogram.counts.iter().enumerate() {
                let (left, height) = (-limit + bin as f64 * width, share(histogram, count));
                outline.extend([(left, height), (left + width, height)]);
            }
            outline.push((limit, 0.0));
            let fill = line.colour.mix(if lines.len() > 2 { 0.12 } else { 0.3 });
            chart.draw_series([Polygon::new(outline.clone(), fill.filled())])?;
            chart.draw_series([PathElement::new(outline, line.colour.stroke_width(3))])?;
        }
        Ok(())
    })
}

/// The share of errors whose magnitude is not above a value.
pub(super) fn distribution(lines: &[Line<'_>]) -> String {
    draw(HALF, |area| {
        let sorted: Vec<Vec<f64>> = lines
            .iter()
            .map(|line| {
                let mut errors: Vec<f64> = counted(line)
                    .map(|point| logarithm(point.error_ns))
                    .collect();
                sort(&mut errors);
                errors
            })
            .collect();
        let x = magnitudes(sorted.iter().flatten().copied(), "magnitude of the error");
        let y = Axis::linear(0.0..100.0, "share below", |share| format!("{share:.0}%"));
        let start = x.ends().start;
        let mut chart = svg::chart(area, x, y)?;
        for (line, errors) in lines.iter().zip(&sorted) {
            let points = (0..=STEPS).filter_map(|step| {
                let share = step as f64 / STEPS as f64;
                Some((quantile(errors, share)?.max(start), 100.0 * share))
            });
            let points: Vec<_> = points.collect();
            chart.draw_series([PathElement::new(points, line.colour.stroke_width(4))])?;
        }
        Ok(())
    })
}

/// One measure of stability against the averaging time.
pub(super) fn stability(
    lines: &[Line<'_>],
    label: fn(f64) -> String,
    pick: fn(&Stability) -> Option<f64>,
) -> String {
    draw(HALF, |area| {
        let of = |line: &Line<'_>| {
            let rows = line.figures.stability.iter();
            let points = rows.filter_map(|row| Some((row.tau_s, pick(row).filter(|&v| v > 0.0)?)));
            points.collect::<Vec<_>>()
        };
        let all: Vec<Vec<(f64, f64)>> = lines.iter().map(of).collect();
        let values = |pick: fn(&(f64, f64)) -> f64| all.iter().flatten().map(pick);
        let x = Axis::decades(values(|p| p.0), 1.0, "averaging time τ", s_decade);
        let y = Axis::decades(values(|p| p.1), 1.0, "", label);
        let mut chart = svg::chart(area, x, y)?;
        for (line, points) in lines.iter().zip(&all) {
            let points: Vec<_> = points.iter().map(|p| (p.0.log10(), p.1.log10())).collect();
            let dot = |point: &(f64, f64)| Circle::new(*point, 7, line.colour.filled());
            chart.draw_series(points.iter().map(dot))?;
            chart.draw_series([PathElement::new(points, line.colour.stroke_width(3))])?;
        }
        Ok(())
    })
}

/// The bounds of one line and its worst error over time; errors beyond a bound are dots.
pub(super) fn bounds(line: &Line<'_>) -> String {
    draw(HALF, |area| {
        let guaranteed = |point: &Point| point.guaranteed_ns;
        let statistical = |point: &Point| point.statistical_ns;
        let worst = worst_over_time(line);
        let edges = [guaranteed as fn(&Point) -> Option<f64>, statistical].map(|bound| {
            let greatest = extremes(line, bound, |new, best| new > best);
            (greatest, extremes(line, bound, |new, best| new < best))
        });
        let ends = edges.iter().flat_map(|(high, low)| high.iter().chain(low));
        let values = worst.iter().chain(ends).map(|point| point.1);
        let axis = magnitudes(values, "error, bound");
        let floor = axis.ends().start;
        let time = time_axis(std::slice::from_ref(line), 0.0);
        let mut chart = svg::chart(area, time, axis)?;
        for ((high, low), colour) in edges.into_iter().zip([GREEN, PURPLE]) {
            band(&mut chart, high, low, colour)?;
        }
        chart.draw_series([PathElement::new(worst, BLUE.stroke_width(3))])?;
        let broken = |point: &&Point| {
            let beyond = |bound: Option<f64>| bound.is_some_and(|b| point.error_ns.abs() > b);
            beyond(point.guaranteed_ns) || beyond(point.statistical_ns)
        };
        let points = line.series.tracks.iter().flat_map(|track| &track.points);
        let broken: Vec<_> = points
            .filter(broken)
            .map(|point| (point.time_s, logarithm(point.error_ns).max(floor)))
            .collect();
        let broken = svg::thinned(&broken, |new, best| new > best);
        let dot = |point| Circle::new(point, 6, VERMILION.filled());
        chart.draw_series(broken.into_iter().map(dot))?;
        Ok(())
    })
}

/// The extreme bounds of all clocks over time.
fn extremes(
    line: &Line<'_>,
    bound: impl Fn(&Point) -> Option<f64>,
    better: impl Fn(f64, f64) -> bool,
) -> Vec<(f64, f64)> {
    let points = line.series.tracks.iter().flat_map(|track| &track.points);
    let mut all: Vec<(f64, f64)> = points
        .filter_map(|point| Some((point.time_s, logarithm(bound(point)?))))
        .collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    svg::thinned(&all, better)
}

fn band<'b>(
    chart: &mut Chart<'_, 'b>,
    high: Vec<(f64, f64)>,
    low: Vec<(f64, f64)>,
    colour: RGBColor,
) -> Result<(), Failure<'b>> {
    let area: Vec<_> = high.iter().chain(low.iter().rev()).copied().collect();
    chart.draw_series([Polygon::new(area, colour.mix(0.25).filled())])?;
    chart.draw_series([PathElement::new(low, colour.stroke_width(3))])?;
    Ok(())
}

/// How far the two clocks of a line that differ most are apart, over time.
pub(super) fn pairs(lines: &[Line<'_>]) -> String {
    draw(WIDE, |area| {
        let all: Vec<Vec<(f64, f64)>> = lines
            .iter()
            .map(|line| {
                let points = spreads(&line.series.tracks).into_iter();
                let points: Vec<_> = points.map(|(at, ns)| (at, logarithm(ns))).collect();
                svg::thinned(&points, |new, best| new > best)
            })
            .collect();
        let axis = magnitudes(all.iter().flatten().map(|point| point.1), "difference");
        let mut chart = svg::chart(area, time_axis(lines, 0.0), axis)?;
        for (line, points) in lines.iter().zip(all) {
            chart.draw_series([PathElement::new(points, line.colour.stroke_width(4))])?;
        }
        Ok(())
    })
}

/// Recorded distributions by percentile, in the manner of HdrHistogram's plots: each decade to the
/// right is one more nine.
pub(super) fn percentiles(distributions: &[(RGBColor, &Distribution)]) -> String {
    draw(HALF, |area| {
        let of = |distribution: &Distribution| {
            let steps = distribution.quantiles.iter();
            let inner = steps.filter(|step| step.quantile < 1.0);
            let points = inner.map(|step| (-(1.0 - step.quantile).log10(), step.value));
            points.collect::<Vec<_>>()
        };
        let mut all: Vec<_> = distributions.iter().map(|(_, d)| of(d)).collect();
        let ends = |pick: fn(&(f64, f64)) -> f64| {
            let values = all.iter().flatten().map(pick);
            values.fold((f64::MAX, 0.0), |(low, high), v| (v.min(low), v.max(high)))
        };
        let nines_end = ends(|point| point.0).1;
        let x = Axis::decades([1.0, 10_f64.powf(nines_end)], 1.0, "percentile", nines);
        let (low, high) = ends(|point| point.1);
        let y = if high > MOST_LINEAR * low.max(LEAST_NS) {
            all.iter_mut()
                .flatten()
                .for_each(|point| point.1 = logarithm(point.1));
            magnitudes(all.iter().flatten().map(|point| point.1), "")
        } else {
            Axis::linear(0.0..1.05 * high, "", text::span)
        };
        let mut chart = svg::chart(area, x, y)?;
        for ((colour, _), points) in distributions.iter().zip(all) {
            chart.draw_series([PathElement::new(points, colour.stroke_width(4))])?;
        }
        Ok(())
    })
}

/// `0%`, `90%`, `99%`, `99.9%`, …
fn nines(decade: f64) -> String {
    let decade = decade.round().max(0.0) as usize;
    let places = decade.saturating_sub(2);
    format!("{:.places$}%", 100.0 - 100.0 / 10_f64.powi(decade as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_written_as_nines() {
        let labels: Vec<String> = (0..5).map(|d| nines(f64::from(d))).collect();
        assert_eq!(labels, ["0%", "90%", "99%", "99.9%", "99.99%"]);
    }

    #[test]
    fn values_that_pass_zero_do_not_stretch_the_axis() {
        let mut values = vec![2.0; 1000];
        values[17] = -2.0;
        assert_eq!(magnitudes(values, "").ends(), 2.0..4.0);
    }
}

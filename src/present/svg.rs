//! Plots as SVG.
//!
//! They are drawn at twice the size they are shown at, since `plotters` rounds to whole pixels,
//! and in a few known colours, which the page replaces to suit a light or a dark background.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::text;

/// Text and axes.
pub const INK: RGBColor = RGBColor(0x4b, 0x55, 0x63);
/// Grid lines, shades and lines in the background.
pub const FAINT: RGBColor = RGBColor(0x9c, 0xa3, 0xaf);
/// What is shown first of all. The first four colours are Okabe and Ito's, told apart by everyone.
pub const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
/// Thresholds and what is beyond them; the second of several lines.
pub const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// Promises; the third of several lines.
pub const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
/// Liars; the fourth of several lines.
pub const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);
/// The fifth of several lines.
pub const AMBER: RGBColor = RGBColor(0xb8, 0x86, 0x0b);
/// The sixth of several lines.
pub const BROWN: RGBColor = RGBColor(0x7a, 0x4a, 0x21);
/// The seventh of several lines.
pub const VIOLET: RGBColor = RGBColor(0x6a, 0x51, 0xa3);
/// The eighth of several lines.
pub const OLIVE: RGBColor = RGBColor(0x6b, 0x7a, 0x1a);

/// The colours with the names that the page knows them by; those of lines first, in the order in
/// which lines take them.
pub const COLOURS: [(&str, RGBColor); 10] = [
    ("blue", BLUE),
    ("vermilion", VERMILION),
    ("green", GREEN),
    ("purple", PURPLE),
    ("amber", AMBER),
    ("brown", BROWN),
    ("violet", VIOLET),
    ("olive", OLIVE),
    ("muted", INK),
    ("faint", FAINT),
];

/// Colours that lines take in turns, the first of [`COLOURS`].
const LINES: usize = 8;

/// The name and colour of line `number`, counted from 0.
pub const fn line(number: usize) -> (&'static str, RGBColor) {
    COLOURS[number % LINES]
}

/// A full row of the page.
pub const WIDE: (u32, u32) = (2080, 760);
/// Half a row.
pub const HALF: (u32, u32) = (1030, 700);
/// More points than this in a line cannot be seen.
pub const MOST_POINTS: usize = 1000;

/// Where a plot is drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A plot with its axes.
pub type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
/// Why a plot cannot be drawn.
pub type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// An axis: its range, its title (empty for none) and how its values are written.
///
/// On a logarithmic one coordinates are decimal logarithms.
#[derive(Clone)]
pub struct Axis {
    inner: RangedCoordf64,
    range: Range<f64>,
    logarithmic: bool,
    title: &'static str,
    label: fn(f64) -> String,
}

impl Axis {
    /// A linear one; `label` writes a value.
    pub fn linear(range: Range<f64>, title: &'static str, label: fn(f64) -> String) -> Self {
        // Nothing can be drawn on no width.
        let end = if range.end > range.start {
            range.end
        } else {
            range.start + 1.0
        };
        let range = range.start..end;
        Self {
            inner: range.clone().into(),
            range,
            logarithmic: false,
            title,
            label,
        }
    }

    /// A logarithmic one over whole decades that hold all values, `least` decades or more; `label`
    /// writes a decimal logarithm. Values without a logarithm are left out.
    pub fn decades(
        values: impl IntoIterator<Item = f64>,
        least: f64,
        title: &'static str,
        label: fn(f64) -> String,
    ) -> Self {
        let logarithms = values.into_iter().map(f64::log10).filter(|v| v.is_finite());
        let (low, high) = logarithms.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        // 0.1 is a hair below a decade as often as above.
        let low = if low > high {
            0.0
        } else {
            (low + 1e-3).floor()
        };
        let high = (high - 1e-3).ceil().max(low + least);
        Self {
            inner: (low..high).into(),
            range: low..high,
            logarithmic: true,
            title,
            label,
        }
    }

    /// From the first value to the last.
    pub fn ends(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl Ranged for Axis {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let value = if self.logarithmic {
            value.clamp(self.range.start, self.range.end)
        } else {
            *value
        };
        self.inner.map(&value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if !self.logarithmic {
            return self.inner.key_points(hint);
        }
        (self.range.start as i32..=self.range.end as i32)
            .map(f64::from)
            .collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        value.to_string()
    }

    fn format_ext(&self, value: &f64) -> String {
        (self.label)(*value)
    }
}

/// A decimal logarithm of nanoseconds as a label.
pub fn ns_decade(logarithm: f64) -> String {
    text::decade(logarithm.round() as i32)
}

/// A decimal logarithm of seconds as a label.
pub fn s_decade(logarithm: f64) -> String {
    text::decade(logarithm.round() as i32 + 9)
}

/// Decimal logarithm of a magnitude in nanoseconds; below 1 ns nothing is told apart.
pub fn log(ns: f64) -> f64 {
    ns.abs().max(1.0).log10()
}

/// Draws one plot; what goes wrong takes the plot away, never the report.
pub fn draw(
    size: (u32, u32),
    plot: impl for<'a> FnOnce(&Area<'a>) -> Result<(), Failure<'a>>,
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

/// The axes with their labels, and a grid line for each label of the upright one; of both if the
/// other is logarithmic.
///
/// # Errors
/// What the backend says.
pub fn chart<'a, 'b>(area: &'a Area<'b>, x: Axis, y: Axis) -> Result<Chart<'a, 'b>, Failure<'b>> {
    let titled = |axis: &Axis, size| if axis.title.is_empty() { 0 } else { size };
    let (x_title, y_title, x_grid) = (x.title, y.title, x.logarithmic);
    let mut chart = ChartBuilder::on(area)
        .margin_right(64)
        .margin_top(16)
        .x_label_area_size(60 + titled(&x, 28))
        .y_label_area_size(114 + titled(&y, 40))
        .build_cartesian_2d(x, y)?;
    let mut mesh = chart.configure_mesh();
    if !x_grid {
        mesh.disable_x_mesh();
    }
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(FAINT.mix(0.30))
        .axis_style(FAINT.mix(0.6))
        .label_style(TextStyle::from(("sans-serif", 31)).color(&INK))
        .axis_desc_style(TextStyle::from(("sans-serif", 31)).color(&INK))
        .x_labels(8)
        .y_labels(6)
        .x_desc(x_title)
        .y_desc(y_title)
        .draw()?;
    Ok(chart)
}

/// Text within a plot, with the place of its anchor.
pub fn small(colour: &'static RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 30))
        .color(colour)
        .pos(Pos::new(h, v))
}

/// Thins points to what can be seen: of each stretch of a long line the one that is `better` than
/// the others in it, so that nothing bad is thinned away.
pub fn thinned(points: &[(f64, f64)], better: impl Fn(f64, f64) -> bool) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(MOST_POINTS).max(1);
    let best = |part: &[(f64, f64)]| {
        let first = part[0];
        part.iter().copied().fold(
            first,
            |best, point| {
                if better(point.1, best.1) { point } else { best }
            },
        )
    };
    points.chunks(stretch).map(best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_its_values_and_an_empty_one_is_still_an_axis() {
        let ends =
            |values: &[f64]| Axis::decades(values.iter().copied(), 3.0, "", ns_decade).ends();
        assert_eq!(ends(&[150.0, 4e8]), 2.0..9.0);
        assert_eq!(ends(&[1.0, 0.0, -5.0]), 0.0..3.0);
        assert_eq!(ends(&[0.02]), -2.0..1.0);
        assert_eq!(ends(&[0.099_999, 1000.001]), -1.0..3.0);
        assert_eq!(ends(&[]), 0.0..3.0);
        assert_eq!(Axis::linear(5.0..5.0, "", ns_decade).ends(), 5.0..6.0);
    }

    #[test]
    fn a_logarithmic_axis_is_labelled_at_decades() {
        let svg = draw(HALF, |area| {
            let x = Axis::decades([0.5, 900.0], 1.0, "averaging time", s_decade);
            let y = Axis::linear(0.0..1.0, "share", |share| format!("{:.0}%", 100.0 * share));
            chart(area, x, y).map(|_| ())
        });
        for label in ["100ms", "1s", "1000s", "averaging time", "share", "100%"] {
            assert!(svg.contains(label), "{label}");
        }
    }

    #[test]
    fn long_lines_are_thinned_but_keep_their_peaks() {
        let points: Vec<_> = (0..5_000)
            .map(|i| (f64::from(i), if i == 3_333 { 6.0 } else { 2.0 }))
            .collect();
        let line = thinned(&points, |new, best| new > best);
        assert_eq!(line.len(), MOST_POINTS);
        assert!(line.contains(&(3_333.0, 6.0)));
        assert_eq!(thinned(&points[..7], |new, best| new > best), points[..7]);
        assert_eq!(thinned(&[], |new, best| new > best), []);
    }
}

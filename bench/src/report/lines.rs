//! The lines of the plots: a colour and a name for each series of each run.

use parisync::present::svg;
use plotters::style::RGBColor;

use super::{Figures, Report};
use crate::run::Series;

/// A series with what is needed to draw it beside others.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    /// What it is called beside the others.
    pub label: String,
    /// The colour by its name on the page.
    pub colour_name: &'static str,
    /// The colour it is drawn in.
    pub colour: RGBColor,
    /// The errors.
    pub series: &'a Series,
    /// What they come to.
    pub figures: &'a Figures,
}

/// The lines of a report, those without a sample left out.
pub(super) fn lines(report: &Report) -> Vec<Line<'_>> {
    let series = report.runs.iter().flat_map(|run| &run.series);
    let drawn = series
        .zip(&report.figures)
        .filter(|(series, _)| !series.tracks.is_empty());
    let several_runs = report.runs.len() > 1;
    let several_series = report.runs.iter().any(|run| run.series.len() > 1);
    drawn
        .enumerate()
        .map(|(number, (series, figures))| {
            let (colour_name, colour) = svg::line(number);
            let label = match (several_runs, several_series) {
                (true, true) => format!("{} · {}", figures.run, figures.series),
                (true, false) => figures.run.clone(),
                (false, _) => figures.series.clone(),
            };
            Line {
                label,
                colour_name,
                colour,
                series,
                figures,
            }
        })
        .collect()
}

/// The legend of these lines.
pub(super) fn legend(lines: &[Line<'_>]) -> String {
    if lines.len() < 2 {
        return String::new();
    }
    let entries = lines.iter().map(|l| (l.colour_name, l.label.as_str()));
    parisync::present::page::keys(&entries.collect::<Vec<_>>())
}

/// The lines that have a bound.
pub(super) fn bounded<'a, 'b>(lines: &'a [Line<'b>]) -> impl Iterator<Item = &'a Line<'b>> {
    lines
        .iter()
        .filter(|line| line.figures.guaranteed.samples + line.figures.statistical.samples > 0)
}

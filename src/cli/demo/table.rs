//! The table of nodes, as lines of text.

use super::ink::{Line, Style};
use super::options::DemoOptions;
use super::summary::{CONVERGED_NS, Record};
use super::swarm::NodeSample;
use super::text::{self, BarPart};
use super::truth::{Truth, is_beyond};
use crate::wire::ClockState;

/// Space to draw on, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Across.
    pub width: usize,
    /// Down.
    pub height: usize,
}

/// Lines of a frame that are not nodes.
const FURNITURE: usize = 8;

/// Everything the live view shows at one moment.
pub(super) fn frame(record: &Record, options: &DemoOptions, size: Size) -> Vec<Line> {
    let mut lines = vec![title(options), Line::default()];
    let room = size.height.saturating_sub(FURNITURE).max(1);
    lines.extend(nodes(record, size.width, room));
    lines.push(Line::default());
    lines.push(worst_pair(record, options, size.width));
    lines.push(verdict(record));
    lines
}

fn title(options: &DemoOptions) -> Line {
    let mut line = Line::default();
    line.push(Style::Bold, " PariSync demo");
    line.push(
        Style::Dim,
        format!(
            " · {} nodes · clocks off by up to {} and {}ppm · seed {}",
            options.nodes, options.max_offset, options.max_ppm, options.seed
        ),
    );
    line
}

/// Which columns fit, and how wide those are that vary.
struct Columns {
    index: usize,
    bar: usize,
    state: usize,
    clock: bool,
    statistical: bool,
}

impl Columns {
    fn fit(nodes: usize, width: usize) -> Self {
        let index = text::width(&nodes.to_string());
        // Margin, node, error, bound, peers and the spaces between them.
        let fixed = 1 + index + 1 + 8 + 2 + 8 + 2 + 7 + 2 + PEERS + 2;
        let clock = 2 + CLOCK;
        let full = width.checked_sub(fixed + STATE_LONG + clock);
        let short = width.checked_sub(fixed + STATE_SHORT + clock);
        let bare = width.saturating_sub(fixed + STATE_SHORT);
        let bar = |free: usize| if free >= 11 { (free - 2).min(36) } else { 0 };
        let (free, state, clock, statistical) = match (full, short) {
            (Some(free), _) if free >= 20 + STATISTICAL => {
                (free - STATISTICAL, STATE_LONG, true, true)
            }
            (_, Some(free)) if free >= 11 + STATISTICAL => {
                (free - STATISTICAL, STATE_SHORT, true, true)
            }
            (_, Some(free)) if free >= 11 => (free, STATE_SHORT, true, false),
            _ => (bare, STATE_SHORT, false, false),
        };
        Self {
            index,
            bar: bar(free),
            state,
            clock,
            statistical,
        }
    }
}

/// The column of the statistical bound and the space before it.
const STATISTICAL: usize = 9;
const PEERS: usize = 5;
const CLOCK: usize = 16;
const STATE_LONG: usize = 14;
const STATE_SHORT: usize = 8;

/// The heading and a line for each node, `room` of them at most, the rest only counted.
pub(super) fn nodes(record: &Record, width: usize, room: usize) -> Vec<Line> {
    let columns = Columns::fit(record.roster().len(), width);
    let mut lines = vec![heading(&columns)];
    let (Some(sample), Some(truth)) = (record.samples().last(), record.truths().last()) else {
        return lines;
    };
    let all = record.roster().len();
    let mut line = |node: usize| row(record, node, &sample.nodes[node], truth, &columns);
    if all <= room {
        lines.extend((0..all).map(&mut line));
        return lines;
    }
    // The liars come last in the roster, and they are what one wants to see.
    let liars: Vec<usize> = (0..all).filter(|&node| !record.honest(node)).collect();
    let tail = &liars[liars.len() - liars.len().min(room / 2)..];
    let head = room.saturating_sub(1 + tail.len());
    lines.extend((0..head).map(&mut line));
    let mut rest = Line::default();
    let hidden = all - head - tail.len();
    rest.push(Style::Dim, format!(" … and {hidden} more"));
    lines.push(rest);
    lines.extend(tail.iter().copied().map(&mut line));
    lines
}

fn heading(columns: &Columns) -> Line {
    let index = columns.index + 9;
    let mut text = format!(" {:<index$}  {:>8}", "node", "error");
    if columns.statistical {
        text += &format!("  {:>7}", "99.9%");
    }
    text += &format!("  {:>7}", "bound");
    if columns.bar > 0 {
        text += &format!("  {}", text::scale(columns.bar));
    }
    text += &format!("  {:>PEERS$}  {:<2$}", "peers", "state", columns.state);
    if columns.clock {
        text += &format!("  {:>CLOCK$}", "own clock off by");
    }
    let mut line = Line::default();
    line.push(Style::Dim, text);
    line
}

fn row(record: &Record, node: usize, seen: &NodeSample, truth: &Truth, columns: &Columns) -> Line {
    let info = &record.roster()[node];
    let liar = info.clock.lie.is_some();
    let error = truth.errors_ns[node];
    let bound = seen.bound_ns.map(|ns| ns as f64);
    let broken = |bound| is_beyond(error, bound) && !liar;

    let mut line = Line::default();
    let name = format!(" {:>2$} {}", node + 1, info.id.short(), columns.index);
    line.push(if liar { Style::Liar } else { Style::Plain }, name);
    let error_text = error.map_or_else(|| "–".to_owned(), text::signed);
    line.push(Style::Bold, format!("  {error_text:>8}"));
    if columns.statistical {
        let beyond = broken(seen.statistical_ns);
        let style = if beyond { Style::Fair } else { Style::Plain };
        let statistical = text::maybe(seen.statistical_ns.map(|ns| ns as f64));
        line.push(style, format!("  {statistical:>7}"));
    }
    let broken = broken(seen.bound_ns);
    let bound_style = if broken { Style::Bad } else { Style::Plain };
    line.push(bound_style, format!("  {:>7}", text::maybe(bound)));
    if columns.bar > 0 {
        line.push(Style::Plain, "  ");
        let fill = if liar { Style::Liar } else { nearness(error) };
        for part in text::bar(error, bound, columns.bar) {
            match part {
                BarPart::Filled(text) => line.push(fill, text),
                BarPart::Empty(text) => line.push(Style::Dim, text),
                BarPart::Mark(text) => line.push(bound_style, text),
            }
        }
    }
    let peers = format!("{}/{}", seen.used, seen.neighbours);
    line.push(Style::Plain, format!("  {peers:>PEERS$}"));
    let (style, state) = if liar {
        (Style::Liar, "liar")
    } else {
        state(seen.state, columns.state >= STATE_LONG)
    };
    line.push(style, format!("  {state:<0$}", columns.state));
    if columns.clock {
        let start = text::signed(info.clock.offset.as_nanos_f64());
        let ppm = text::ppm(info.clock.ppm);
        line.push(Style::Dim, format!("  {start:>7} {ppm:>8}"));
    }
    line
}

fn nearness(error: Option<f64>) -> Style {
    match error.map(f64::abs) {
        Some(ns) if ns < CONVERGED_NS as f64 => Style::Good,
        Some(ns) if ns < 1e6 => Style::Fair,
        _ => Style::Bad,
    }
}

/// The name of a state and how it looks.
pub(super) fn state(state: ClockState, long: bool) -> (Style, &'static str) {
    let (style, full, short) = match state {
        ClockState::Unsynchronized => (Style::Dim, "unsynchronized", "unsynced"),
        ClockState::Joining => (Style::Fair, "joining", "joining"),
        ClockState::Synchronized => (Style::Good, "synchronized", "synced"),
        ClockState::Holdover => (Style::Fair, "holdover", "holdover"),
        ClockState::FreeRunning => (Style::Bad, "free-running", "free-run"),
    };
    (style, if long { full } else { short })
}

/// The worst pair now, and over the run so far.
fn worst_pair(record: &Record, options: &DemoOptions, width: usize) -> Line {
    let worst = record.truths().last().and_then(|truth| truth.worst_ns);
    let mut line = Line::default();
    line.push(Style::Plain, " worst pair ");
    line.push(
        Style::Bold,
        format!("{:>7}", text::maybe(worst.map(|ns| ns as f64))),
    );
    line.push(Style::Plain, "  ");
    let clock = format!("  {:.0} of {}s", record.seconds().floor(), options.seconds);
    let cells = width.saturating_sub(21 + text::width(&clock) + 1).min(72);
    let history = history(record, f64::from(options.seconds), cells);
    let future = "·".repeat(cells - history.len());
    for worst in history {
        let worst = worst.map(|ns| ns as f64);
        line.push(nearness(worst), text::spark(worst).to_string());
    }
    line.push(Style::Dim, future);
    line.push(Style::Dim, clock);
    line
}

/// The worst pair over the run so far, as the greatest in each of the cells that have begun;
/// `cells` make the whole run.
fn history(record: &Record, seconds: f64, cells: usize) -> Vec<Option<i64>> {
    let mut history: Vec<Option<i64>> = Vec::new();
    for truth in record.truths() {
        let cell = (truth.at_s / seconds * cells as f64) as usize;
        let begun = (cell + 1).min(cells);
        if begun > history.len() {
            history.resize(begun, history.last().copied().flatten());
            history[begun - 1] = None;
        }
        if let Some(last) = history.last_mut() {
            *last = (*last).max(truth.worst_ns);
        }
    }
    history
}

fn verdict(record: &Record) -> Line {
    let mut line = Line::default();
    match record.converged_s() {
        Some(at) => line.push(Style::Good, format!(" all within 10µs since {at:.1}s")),
        None => line.push(Style::Dim, " not yet within 10µs of each other"),
    }
    let rms = record.truths().last().and_then(|truth| truth.variance_ns2);
    if let Some(variance) = rms {
        line.push(
            Style::Dim,
            format!(" · rms {}", text::span(variance.sqrt())),
        );
    }
    match record.violations() {
        0 => line.push(Style::Dim, " · every guaranteed bound held"),
        n => line.push(
            Style::Bad,
            format!(" · {}", text::plural(n, "broken bound")),
        ),
    }
    if let Some(share) = record.statistical_share() {
        line.push(
            Style::Dim,
            format!(" · {} beyond 99.9%", text::percent(share)),
        );
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::ink::Ink;
    use super::super::swarm::Swarm;
    use super::super::testing;
    use super::*;
    use crate::time::Span;

    fn drawn(options: &DemoOptions, until_ms: i64, size: Size) -> Vec<String> {
        let mut swarm = testing::Synthetic::new(options);
        let mut record = Record::new(swarm.roster());
        for ms in (0..=until_ms).step_by(100) {
            record.push(swarm.sample(Span::from_millis(ms)));
        }
        frame(&record, options, size)
            .iter()
            .map(|line| line.paint(Ink::new(false), size.width))
            .collect()
    }

    #[test]
    fn every_width_fits_and_shows_what_it_has_room_for() {
        let options = testing::options();
        for width in [20, 40, 58, 70, 80, 100, 140, 250] {
            let lines = drawn(&options, 5_000, Size { width, height: 40 });
            assert!(lines.iter().all(|l| text::width(l) <= width), "{lines:#?}");
            let all = lines.join("\n");
            assert_eq!(all.contains("ppm\n"), width >= 80, "{all}");
            assert_eq!(all.contains("synchronized"), width >= 100, "{all}");
            assert_eq!(all.contains('│'), width >= 58, "{all}");
        }
    }

    #[test]
    fn columns_of_all_rows_are_aligned() {
        let mut options = testing::options();
        options.nodes = 12;
        let lines = drawn(
            &options,
            500,
            Size {
                width: 100,
                height: 40,
            },
        );
        let ends: Vec<usize> = lines[3..15].iter().map(|l| text::width(l)).collect();
        assert!(ends.iter().all(|&end| end == ends[0]), "{lines:#?}");
    }

    #[test]
    fn a_low_terminal_shows_the_first_nodes_and_counts_the_rest() {
        let mut options = testing::options();
        options.nodes = 32;
        let size = Size {
            width: 80,
            height: 24,
        };
        let lines = drawn(&options, 500, size);
        assert!(lines.len() < size.height);
        assert!(
            lines.iter().any(|line| line == " … and 17 more"),
            "{lines:#?}"
        );
        let tiny = drawn(
            &options,
            500,
            Size {
                width: 80,
                height: 3,
            },
        );
        assert!(
            tiny.iter().any(|line| line == " … and 32 more"),
            "{tiny:#?}"
        );
    }

    #[test]
    fn liars_are_shown_even_where_others_have_no_room() {
        let mut options = testing::options();
        options.nodes = 32;
        options.liars = 2;
        let size = Size {
            width: 80,
            height: 24,
        };
        let lines = drawn(&options, 500, size);
        let rest = lines.iter().position(|line| line.starts_with(" … and "));
        let rest = rest.unwrap();
        assert!(lines[rest + 1].starts_with(" 31 ") && lines[rest + 2].starts_with(" 32 "));
        assert!(lines[rest - 1].starts_with(" 13 ") && lines[rest].contains("17 more"));
    }

    #[test]
    fn liars_are_named_and_history_fills_with_time() {
        let mut options = testing::options();
        options.liars = 1;
        let lines = drawn(
            &options,
            15_000,
            Size {
                width: 100,
                height: 24,
            },
        );
        assert!(lines[10].contains("liar") && !lines[9].contains("liar"));
        let sparks = lines.iter().find(|l| l.starts_with(" worst pair")).unwrap();
        assert!(sparks.ends_with("15 of 30s"), "{sparks}");
        let future = sparks.chars().filter(|&c| c == '·').count();
        assert!((30..40).contains(&future), "{sparks}");
    }
}

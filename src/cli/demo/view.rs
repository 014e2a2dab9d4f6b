//! The live view: a table that redraws in place on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};

use super::ink::{Ink, Line, Style};
use super::options::DemoOptions;
use super::summary::{Record, Summary};
use super::table::{self, Size, state};
use super::text;
use crate::time::Span;
use crate::wire::ClockState;

/// Redraws no faster than people can read.
const REDRAW: Span = Span::from_millis(200);
/// Width of what is printed where there is no terminal.
const PLAIN_WIDTH: usize = 100;

/// Where the view is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Standard output.
    Stdout,
    /// Standard error, while standard output carries JSON.
    Stderr,
}

impl Target {
    /// A view that suits the target: its table if it is a terminal, lines if not.
    pub(super) fn view(self) -> View<Box<dyn Write>> {
        let (out, terminal): (Box<dyn Write>, _) = match self {
            Self::Stdout => (Box::new(io::stdout()), io::stdout().is_terminal()),
            Self::Stderr => (Box::new(io::stderr()), io::stderr().is_terminal()),
        };
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let ink = Ink::new(terminal && !dumb && !set("NO_COLOR"));
        let size = (terminal && !dumb).then_some(self);
        let mut view = View::new(out, ink, size);
        if terminal {
            view.plain_width = self.size().width;
        }
        view
    }

    fn size(self) -> Size {
        let size = match self {
            Self::Stdout => terminal_size::terminal_size_of(io::stdout()),
            Self::Stderr => terminal_size::terminal_size_of(io::stderr()),
        };
        size.map_or(
            Size {
                width: 80,
                height: 24,
            },
            |(width, height)| Size {
                width: width.0.into(),
                height: height.0.into(),
            },
        )
    }
}

/// The live view. Puts the terminal back as it was when it is dropped.
#[derive(Debug)]
pub(super) struct View<W: Write> {
    out: W,
    ink: Ink,
    terminal: Option<Target>,
    plain_width: usize,
    due: Span,
    drawn: Option<(usize, Size)>,
}

impl<W: Write> View<W> {
    fn new(out: W, ink: Ink, terminal: Option<Target>) -> Self {
        Self {
            out,
            ink,
            terminal,
            plain_width: PLAIN_WIDTH,
            due: Span::ZERO,
            drawn: None,
        }
    }

    /// Plain lines without colour.
    #[cfg(test)]
    pub(super) fn plain(out: W) -> Self {
        Self::new(out, Ink::new(false), None)
    }

    /// Says what is about to happen, where a table does not say it all the time.
    pub(super) fn begin(&mut self, options: &DemoOptions) -> io::Result<()> {
        if self.terminal.is_some() {
            return Ok(());
        }
        write!(
            self.out,
            "PariSync demo: {} nodes for {}s, clocks off by up to {} and {}ppm, seed {}",
            options.nodes, options.seconds, options.max_offset, options.max_ppm, options.seed
        )?;
        if let Some(strategies) = options.strategies.words() {
            write!(self.out, ", {strategies}")?;
        }
        writeln!(self.out)?;
        self.out.flush()
    }

    /// Shows the newest sample, if it is time to.
    pub(super) fn show(&mut self, record: &Record, options: &DemoOptions) -> io::Result<()> {
        let at = record.samples().last().map_or(Span::ZERO, |s| s.at);
        if at < self.due {
            return Ok(());
        }
        match self.terminal {
            Some(target) => {
                self.due = at + REDRAW;
                self.redraw(record, options, target.size())
            }
            None => {
                self.due = Span::from_secs(at.as_nanos() / 1_000_000_000 + 1);
                writeln!(self.out, "{}", progress(record))?;
                self.out.flush()
            }
        }
    }

    fn redraw(&mut self, record: &Record, options: &DemoOptions, size: Size) -> io::Result<()> {
        let lines = table::frame(record, options, size);
        // One write for each frame, so that it does not flicker.
        let mut frame = String::new();
        match self.drawn {
            // Lines drawn in another width have wrapped: nobody knows where they start.
            Some((_, before)) if before != size => frame.push_str("\x1b[2J\x1b[H"),
            Some((0, _)) | None => {}
            Some((lines, _)) => frame.push_str(&format!("\r\x1b[{lines}A")),
        }
        frame.push_str("\x1b[?25l\x1b[?7l");
        for line in &lines {
            // Erased first: after a full line the cursor stands on its last character.
            frame.push_str("\x1b[2K");
            frame.push_str(&line.paint(self.ink, size.width));
            frame.push_str("\r\n");
        }
        frame.push_str("\x1b[J");
        self.drawn = Some((lines.len(), size));
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }

    /// Shows the last sample and gives the terminal back.
    pub(super) fn end(&mut self, record: &Record, options: &DemoOptions) -> io::Result<()> {
        if let Some(target) = self.terminal {
            if !record.samples().is_empty() {
                self.redraw(record, options, target.size())?;
            }
            return self.restore();
        }
        writeln!(self.out)?;
        self.print(&table::nodes(record, self.plain_width, usize::MAX))
    }

    /// The summary in words.
    pub(super) fn summarize(&mut self, summary: &Summary, liars: usize) -> io::Result<()> {
        writeln!(self.out)?;
        self.print(&summary_lines(summary, liars))?;
        self.out.flush()
    }

    /// A line under the summary.
    pub(super) fn note(&mut self, label: &str, text: &str) -> io::Result<()> {
        self.print(&[labelled(label, Style::Plain, text.to_owned())])
    }

    fn print(&mut self, lines: &[Line]) -> io::Result<()> {
        for line in lines {
            writeln!(self.out, "{}", line.paint(self.ink, usize::MAX))?;
        }
        self.out.flush()
    }

    fn restore(&mut self) -> io::Result<()> {
        if self.drawn.take().is_some() {
            self.out.write_all(b"\x1b[?7h\x1b[?25h\r\x1b[J")?;
        }
        self.out.flush()
    }
}

impl<W: Write> Drop for View<W> {
    fn drop(&mut self) {
        // Nothing is left to do if the terminal is gone.
        let _ = self.restore();
    }
}

/// The state of the swarm in one line of plain text.
fn progress(record: &Record) -> String {
    let (Some(sample), Some(truth)) = (record.samples().last(), record.truths().last()) else {
        return String::new();
    };
    let bound = sample
        .nodes
        .iter()
        .enumerate()
        .filter(|(node, _)| record.honest(*node))
        .filter_map(|(_, seen)| seen.bound_ns)
        .max();
    let used: usize = sample.nodes.iter().map(|node| node.used).sum();
    let known: usize = sample.nodes.iter().map(|node| node.neighbours).sum();
    let states: Vec<String> = [
        ClockState::Unsynchronized,
        ClockState::Joining,
        ClockState::Synchronized,
        ClockState::Holdover,
        ClockState::FreeRunning,
    ]
    .into_iter()
    .filter_map(|wanted| {
        let nodes = sample.nodes.iter().filter(|n| n.state == wanted).count();
        (nodes > 0).then(|| format!("{nodes} {}", state(wanted, true).1))
    })
    .collect();
    format!(
        "{:>6.1}s  worst pair {:>7}  rms {:>7}  bounds up to {:>7}  peers {used}/{known}  {}",
        truth.at_s,
        text::maybe(truth.worst_ns.map(|ns| ns as f64)),
        text::maybe(truth.variance_ns2.map(f64::sqrt)),
        text::maybe(bound.map(|ns| ns as f64)),
        states.join(", "),
    )
}

fn labelled(label: &str, style: Style, text: String) -> Line {
    let mut line = Line::default();
    line.push(Style::Dim, format!(" {label:<12}"));
    line.push(style, text);
    line
}

fn summary_lines(summary: &Summary, liars: usize) -> Vec<Line> {
    let ns = |value: Option<i64>| text::maybe(value.map(|ns| ns as f64));
    let mut heading = Line::default();
    heading.push(
        Style::Bold,
        format!(" {} nodes, {:.0}s", summary.nodes, summary.seconds),
    );
    let without = match liars {
        0 => String::new(),
        n => format!(", without {}", text::plural(n as u64, "liar")),
    };
    heading.push(
        Style::Dim,
        format!(" · true errors of the second half{without}"),
    );
    let (converged_style, converged) = match summary.converged_s {
        Some(at) => (
            Style::Good,
            format!("after {at:.1}s; from then on no two clocks were 10µs apart"),
        ),
        None => (
            Style::Bad,
            "never: the clocks did not stay within 10µs of each other".to_owned(),
        ),
    };
    let (held_style, held) = match summary.bound_violations {
        0 => (Style::Plain, "never broken".to_owned()),
        n => (
            Style::Bad,
            format!(
                "broken {}",
                if n == 1 {
                    "once".to_owned()
                } else {
                    format!("{} times", text::count(n))
                }
            ),
        ),
    };
    let skew = summary.skew_ns;
    let bound = summary.bound_ns;
    let mut bound_line = labelled(
        "guaranteed",
        Style::Plain,
        format!("p50 {} · p99 {} · ", ns(bound.p50), ns(bound.p99)),
    );
    bound_line.push(held_style, held);
    let statistical = summary.statistical_ns;
    let statistical_line = labelled(
        "statistical",
        Style::Plain,
        format!(
            "p50 {} · p99 {} · {}",
            ns(statistical.p50),
            ns(statistical.p99),
            summary.statistical_share.map_or_else(
                || "never published".to_owned(),
                |share| format!("{} beyond it, of 0.1% allowed", text::percent(share)),
            )
        ),
    );
    let stamps = summary.stamps;
    let mut places: Vec<String> = [
        (stamps.hardware, "by the network card"),
        (stamps.kernel, "by the kernel"),
        (stamps.user, "in user space"),
        (stamps.lost, "lost"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, place)| format!("{} {place}", text::count(n)))
    .collect();
    if places.is_empty() {
        places.push("none".to_owned());
    }
    vec![
        heading,
        labelled("converged", converged_style, converged),
        labelled(
            "worst pair",
            Style::Plain,
            format!(
                "p50 {} · p99 {} · max {}",
                ns(skew.p50),
                ns(skew.p99),
                ns(skew.max)
            ),
        ),
        labelled(
            "rms",
            Style::Plain,
            format!("{} from the mean of all", text::maybe(summary.rms_ns)),
        ),
        bound_line,
        statistical_line,
        labelled("exchanges", Style::Plain, text::count(summary.exchanges)),
        labelled("stamps", Style::Plain, places.join(", ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::swarm::Swarm;
    use super::super::testing;
    use super::*;

    fn played(terminal: bool) -> String {
        let options = testing::options();
        let mut swarm = testing::Synthetic::new(&options);
        let mut record = Record::new(swarm.roster());
        let mut out = Vec::new();
        let mut view = View::new(&mut out, Ink::new(terminal), None);
        view.begin(&options).unwrap();
        for ms in (0..=30_000).step_by(100) {
            record.push(swarm.sample(Span::from_millis(ms)));
            if terminal {
                let size = Size {
                    width: 100,
                    height: 30,
                };
                view.redraw(&record, &options, size).unwrap();
            } else {
                view.show(&record, &options).unwrap();
            }
        }
        view.end(&record, &options).unwrap();
        view.summarize(&record.summary(swarm.totals()), 0).unwrap();
        drop(view);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_text_has_a_line_a_second_and_no_escapes() {
        let text = played(false);
        assert!(!text.contains('\x1b'));
        let seconds = text
            .lines()
            .filter(|line| line.contains("s  worst pair"))
            .count();
        assert_eq!(seconds, 31, "{text}");
        assert!(text.contains("converged   after "), "{text}");
        assert!(text.contains("never broken"), "{text}");
    }

    #[test]
    fn the_terminal_is_given_back() {
        let text = played(true);
        let hidden = text.rfind("\x1b[?25l").unwrap();
        let shown = text.rfind("\x1b[?25h").unwrap();
        assert!(shown > hidden);
        assert!(text.rfind("\x1b[?7h").unwrap() > text.rfind("\x1b[?7l").unwrap());
    }

    #[test]
    fn the_summary_says_what_went_wrong() {
        let mut summary = Record::new(testing::roster(3)).summary(Default::default());
        summary.bound_violations = 2;
        let text: String = summary_lines(&summary, 1)
            .iter()
            .map(|line| line.paint(Ink::new(false), usize::MAX) + "\n")
            .collect();
        assert!(text.contains("never: the clocks did not stay"), "{text}");
        assert!(text.contains("broken 2 times"), "{text}");
        assert!(text.contains("without 1 liar"), "{text}");
        assert!(text.contains("p50 – · p99 –"), "{text}");
    }
}

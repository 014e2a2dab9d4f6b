//! `parisync demo`: a swarm of real nodes with bad clocks agrees before your eyes.
//!
//! The swarm itself is behind [`Swarm`]; here are its options, the live view, the statistics
//! against the truth, and the report.

mod ink;
mod live;
mod nodes;
mod options;
mod page;
mod plots;
mod report;
mod summary;
mod swarm;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod truth;
mod view;

pub(super) use live::run;
pub use options::{ClockPlan, DemoOptions, Lie};
pub use summary::{BoundStats, Record, SkewStats, Summary};
pub use swarm::{NodeInfo, NodeSample, Sample, Stamps, Swarm, Totals};
pub use truth::Truth;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::time::Span;
use report::Report;
use view::{Target, View};

/// What standard output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The live view and the summary in words.
    Human,
    /// The summary as JSON and nothing else; the live view goes to standard error.
    Json,
}

/// A demo that can run: its options are checked and its report can be written.
#[derive(Debug)]
pub struct Demo {
    options: DemoOptions,
    output: Output,
    report: Option<Report>,
}

impl Demo {
    /// Checks the options and makes the report's directory, so that what is wrong shows before
    /// anything starts.
    ///
    /// # Errors
    /// [`DemoError::Option`] for a value out of range, [`DemoError::Report`] for a directory that
    /// cannot be written.
    pub fn prepare(options: DemoOptions, output: Output) -> Result<Self, DemoError> {
        options.check()?;
        let report = options.report.as_deref().map(Report::prepare).transpose()?;
        Ok(Self {
            options,
            output,
            report,
        })
    }

    /// The options, checked.
    pub fn options(&self) -> &DemoOptions {
        &self.options
    }

    /// Watches the swarm until the time is over or `stop` is set, shows it live, prints the
    /// summary and writes the report. A run that was stopped is judged by what it had.
    ///
    /// # Errors
    /// [`DemoError::Print`] if standard output is gone, [`DemoError::Report`] if a file of the
    /// report cannot be written; the summary is printed before that.
    pub fn run(self, swarm: &mut impl Swarm, stop: &AtomicBool) -> Result<Summary, DemoError> {
        let target = match self.output {
            Output::Human => Target::Stdout,
            Output::Json => Target::Stderr,
        };
        self.watch(swarm, stop, target.view(), &mut io::stdout())
    }

    fn watch(
        &self,
        swarm: &mut impl Swarm,
        stop: &AtomicBool,
        mut view: View<impl Write>,
        json: &mut impl Write,
    ) -> Result<Summary, DemoError> {
        let options = &self.options;
        let mut record = Record::new(swarm.roster());
        view.begin(options).map_err(DemoError::Print)?;
        let end = Span::from_secs(options.seconds.into());
        let mut due = Span::ZERO;
        while due <= end && !stop.load(Ordering::Relaxed) {
            record.push(swarm.sample(due));
            view.show(&record, options).map_err(DemoError::Print)?;
            // A late sample must not be made up for by a crowd of early ones.
            let at = record.samples().last().map_or(due, |sample| sample.at);
            due = next_tick(at, options.tick());
        }
        view.end(&record, options).map_err(DemoError::Print)?;

        let summary = record.summary(swarm.totals());
        view.summarize(&summary, options.liars)
            .map_err(DemoError::Print)?;
        if self.output == Output::Json {
            writeln!(json, "{}", report::json(&summary)).map_err(DemoError::Print)?;
        }
        if let Some(report) = &self.report {
            report.write(options, &record, &summary)?;
            let index = report.index();
            view.note("report", &index.display().to_string())
                .map_err(DemoError::Print)?;
        }
        Ok(summary)
    }
}

/// The next multiple of `tick` after `at`.
fn next_tick(at: Span, tick: Span) -> Span {
    tick * (at.as_nanos().div_euclid(tick.as_nanos()) + 1)
}

/// Why the demo could not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An option is out of its range.
    #[error("{option} is {found}; it can be {range}")]
    Option {
        /// The option as it is written on the command line.
        option: &'static str,
        /// The value given.
        found: String,
        /// What it can be.
        range: String,
    },
    /// A file of the report cannot be written.
    #[error("cannot write {}: {source}; choose another directory with --report", path.display())]
    Report {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The terminal or pipe the demo prints to is gone.
    #[error("cannot print: {0}")]
    Print(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_multiples_and_late_ones_are_skipped() {
        let tick = Span::from_millis(100);
        let ms = Span::from_millis;
        assert_eq!(next_tick(ms(0), tick), ms(100));
        assert_eq!(next_tick(ms(100), tick), ms(200));
        assert_eq!(next_tick(ms(457), tick), ms(500));
    }

    fn watched(options: DemoOptions, stopped: bool) -> (Summary, String, String) {
        let (mut seen, mut json) = (Vec::new(), Vec::new());
        let mut swarm = testing::Synthetic::new(&options);
        let demo = Demo::prepare(options, Output::Json).unwrap();
        let view = View::plain(&mut seen);
        let summary = demo
            .watch(&mut swarm, &AtomicBool::new(stopped), view, &mut json)
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (summary, text(seen), text(json))
    }

    #[test]
    fn a_run_goes_to_its_end_and_json_is_alone_on_its_stream() {
        let (summary, seen, json) = watched(testing::options(), false);
        assert_eq!(summary.seconds, 30.0);
        assert!(summary.converged_s.is_some_and(|at| at < 8.0));
        assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
        assert!(seen.contains("worst pair"));
    }

    #[test]
    fn a_stop_ends_the_run_and_what_was_seen_is_summed_up() {
        let (summary, _, json) = watched(testing::options(), true);
        assert_eq!((summary.nodes, summary.seconds), (8, 0.0));
        assert_eq!(summary.converged_s, None);
        assert!(json.contains("\"converged_s\": null"));
    }
}

//! The report: a page with plots, the summary as JSON and every sample as CSV.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::DemoError;
use super::options::DemoOptions;
use super::page;
use super::summary::{Record, Summary};
use super::table::state;
use crate::present::host::{self, Host};

/// Everything a report tells of.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// What was asked for.
    pub options: &'a DemoOptions,
    /// What was seen.
    pub record: &'a Record,
    /// What it comes to.
    pub summary: &'a Summary,
    /// The command that ran it.
    pub command: String,
    /// The machine it ran on.
    pub host: Host,
}

/// A directory that a report can be written into.
#[derive(Debug)]
pub(super) struct Report {
    dir: PathBuf,
}

impl Report {
    /// Makes the directory and tries to write there, so that nobody waits for a report that
    /// cannot be.
    ///
    /// # Errors
    /// [`DemoError::Report`] if that fails.
    pub(super) fn prepare(dir: &Path) -> Result<Self, DemoError> {
        let probe = dir.join(".parisync-report");
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&probe, b""))
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|source| failed(dir, source))?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// Where the page is.
    pub(super) fn index(&self) -> PathBuf {
        self.dir.join("index.html")
    }

    /// Writes all files.
    ///
    /// # Errors
    /// [`DemoError::Report`] with the file that could not be written.
    pub(super) fn write(
        &self,
        options: &DemoOptions,
        record: &Record,
        summary: &Summary,
    ) -> Result<(), DemoError> {
        let run = Run {
            options,
            record,
            summary,
            command: host::command_line(),
            host: Host::read(),
        };
        self.put("index.html", page::html(&run))?;
        self.put("summary.json", json(summary) + "\n")?;
        self.put("samples.csv", csv(record))
    }

    fn put(&self, name: &str, text: String) -> Result<(), DemoError> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|source| failed(&path, source))
    }
}

fn failed(path: &Path, source: io::Error) -> DemoError {
    DemoError::Report {
        path: path.to_owned(),
        source,
    }
}

/// The summary as JSON that people can read too.
pub(super) fn json(summary: &Summary) -> String {
    // Numbers and nulls only: there is nothing that JSON could refuse.
    serde_json::to_string_pretty(summary).unwrap_or_default()
}

/// Every node at every sample, a line each.
fn csv(record: &Record) -> String {
    let mut text =
        String::from("at_s,node,id,liar,error_ns,bound_ns,statistical_ns,state,neighbours,used\n");
    for (sample, truth) in record.samples().iter().zip(record.truths()) {
        for (node, seen) in sample.nodes.iter().enumerate() {
            let error = truth.errors_ns[node].map(|ns| ns.to_string());
            let bound = seen.bound_ns.map(|ns| ns.to_string());
            let statistical = seen.statistical_ns.map(|ns| ns.to_string());
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:.3},{},{},{},{},{},{},{},{},{}",
                truth.at_s,
                node + 1,
                record.roster()[node].id.short(),
                u8::from(!record.honest(node)),
                error.unwrap_or_default(),
                bound.unwrap_or_default(),
                statistical.unwrap_or_default(),
                state(seen.state, true).1,
                seen.neighbours,
                seen.used,
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::swarm::Swarm;
    use super::super::testing;
    use super::*;
    use crate::time::Span;

    /// A directory that is gone when the test is.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("parisync-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_report_has_its_three_files_and_the_csv_every_sample() {
        let scratch = Scratch::new("report");
        let dir = scratch.0.join("deep/er");
        let mut options = testing::options();
        options.liars = 1;
        let mut swarm = testing::Synthetic::new(&options);
        let mut record = Record::new(swarm.roster());
        for ms in (0..=30_000).step_by(100) {
            record.push(swarm.sample(Span::from_millis(ms)));
        }
        let summary = record.summary(swarm.totals());
        let report = Report::prepare(&dir).unwrap();
        report.write(&options, &record, &summary).unwrap();

        assert!(fs::read_to_string(report.index()).unwrap().contains("<svg"));
        let json = fs::read_to_string(dir.join("summary.json")).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
        let csv = fs::read_to_string(dir.join("samples.csv")).unwrap();
        assert_eq!(csv.lines().count(), 1 + 301 * 8);
        let columns = csv.lines().next().unwrap().split(',').count();
        assert!(csv.lines().all(|line| line.split(',').count() == columns));
        assert!(csv.lines().nth(8).unwrap().starts_with("0.000,8,"));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
    }

    #[test]
    fn a_directory_that_cannot_be_is_refused_before_the_run() {
        let scratch = Scratch::new("refused");
        fs::write(&scratch.0, b"a file").unwrap();
        let error = Report::prepare(&scratch.0.join("dir"))
            .unwrap_err()
            .to_string();
        fs::remove_file(&scratch.0).unwrap();
        assert!(error.starts_with("cannot write "), "{error}");
        assert!(
            error.ends_with("choose another directory with --report"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1);
    }
}

//! The command as a user meets it: exit codes, one-line errors, the three output formats.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use parisync_bench::run::{Run, Sample};
use serde_json::Value;
use support::Scratch;

/// A run of two clocks for a minute.
fn run(scratch: &Scratch, name: &str) -> PathBuf {
    let dir = scratch.0.join(name);
    let mut run = Run::create(&dir, "sim", &serde_json::json!({"hosts": 2}), Some(1)).unwrap();
    let mut series = run.series("error").unwrap();
    for step in 0..60 {
        for clock in 0..2 {
            let sample = Sample {
                time_s: f64::from(step),
                subject: format!("host {clock}"),
                error_ns: f64::from((step * 5 + clock) % 7 - 3),
                guaranteed_ns: Some(10.0),
                statistical_ns: None,
            };
            series.push(&sample).unwrap();
        }
    }
    series.finish().unwrap();
    run.summary(&serde_json::json!({"done": true})).unwrap();
    dir
}

fn bench(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parisync-bench"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line that a command which is used wrongly says.
fn refused(arguments: &[&str], dir: &Path) -> String {
    let output = bench(arguments, dir);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let said = text.trim_end().strip_prefix("parisync-bench: ");
    said.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn usage_errors_are_one_line() {
    let scratch = Scratch::new("usage");
    let said = refused(&[], &scratch.0);
    assert!(said.starts_with("say what to do: one of cost, "), "{said}");
    assert!(refused(&["reprot"], &scratch.0).contains("'report'"));
    assert!(refused(&["report"], &scratch.0).contains("<RUN>"));
    assert!(refused(&["-o", "xml", "report", "x"], &scratch.0).contains("json"));
}

#[test]
fn a_folder_without_a_run_is_refused() {
    let scratch = Scratch::new("refused");
    let said = refused(&["report", "nowhere"], &scratch.0);
    assert!(said.starts_with("cannot read nowhere: "), "{said}");
    fs::create_dir(scratch.0.join("empty")).unwrap();
    let said = refused(&["report", "empty"], &scratch.0);
    assert_eq!(said, "empty is no run folder: it has no run.json");
    let run = run(&scratch, "broken");
    let file = run.join("error.csv");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen(",2.0,", ",two,", 1)).unwrap();
    let said = refused(&["report", "broken"], &scratch.0);
    assert!(said.starts_with("broken/error.csv, line "), "{said}");
    assert!(said.ends_with(": invalid float literal"), "{said}");
    assert!(!run.join("report.html").exists());
}

#[test]
fn a_page_never_takes_the_place_of_measurements() {
    let scratch = Scratch::new("slip");
    run(&scratch, "one");
    let said = refused(&["report", "one", "--out", "one/error.csv"], &scratch.0);
    assert!(
        said.ends_with("is not named like a page; say --out FILE.html"),
        "{said}"
    );
    let said = refused(&["report", "one", "--out", "no/where.html"], &scratch.0);
    assert!(said.starts_with("cannot write no/where.html: "), "{said}");
    let said = refused(&["report", "one", "--settle", "2min"], &scratch.0);
    assert!(said.contains("nothing is left of one"), "{said}");
}

#[test]
fn runs_are_shown_as_text_json_and_csv() {
    let scratch = Scratch::new("shown");
    let (one, _) = (run(&scratch, "one"), run(&scratch, "two"));
    let text = stdout(&bench(&["report", "one"], &scratch.0));
    assert!(text.starts_with("RUN SERIES CLOCKS "), "{text}");
    assert!(text.ends_with("page: one/report.html\n"), "{text}");
    let page = fs::read_to_string(one.join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg"));

    let json = stdout(&bench(&["-o", "json", "report", "one", "two"], &scratch.0));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["run"], "two");
    assert_eq!(json[0]["guaranteed"]["violations"], 0);
    assert_eq!(json[0]["stability"][1]["tau_s"], 2.0);
    assert_eq!(json[0]["subjects"][1]["name"], "host 1");
    assert!(!scratch.0.join("report.html").exists());

    let csv = stdout(&bench(&["report", "one", "two", "-o", "csv"], &scratch.0));
    assert_eq!(csv.lines().count(), 3);
    assert!(
        csv.starts_with("run,series,clocks,seconds,from_s,samples,mean_ns,rms_ns,"),
        "{csv}"
    );
    let columns = |line: &str| line.split(',').count();
    assert!(
        csv.lines()
            .all(|line| columns(line) == columns(csv.lines().next().unwrap()))
    );

    let text = stdout(&bench(&["report", "one", "two"], &scratch.0));
    assert!(text.ends_with("page: report.html\n"), "{text}");
    assert!(scratch.0.join("report.html").exists());
}

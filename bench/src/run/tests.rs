//! Run folders as they are written, read back and found broken.

use std::fs;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::*;
use crate::testing::Scratch;

#[derive(Serialize)]
struct Config {
    hosts: u32,
    links: &'static str,
}

const CONFIG: Config = Config {
    hosts: 8,
    links: "lan",
};

fn sample(time_s: f64, subject: &str, error_ns: f64, guaranteed_ns: Option<f64>) -> Sample {
    Sample {
        time_s,
        subject: subject.to_owned(),
        error_ns,
        guaranteed_ns,
        statistical_ns: None,
    }
}

#[derive(Serialize)]
struct Cell {
    daemon: &'static str,
    rms_ns: f64,
}

/// A run with something in every file.
fn written(scratch: &Scratch) -> Run {
    let mut run = Run::create(&scratch.0, "compare", &CONFIG, Some(7)).unwrap();
    run.note_version("chrony", "4.3\n").unwrap();
    let mut series = run.series("error").unwrap();
    for step in 0..3 {
        let time_s = f64::from(step) * 0.5;
        series
            .push(&sample(time_s, "parisync-1", 12.25, Some(100.0)))
            .unwrap();
        series
            .push(&sample(time_s, "chrony, 2", -1e3, None))
            .unwrap();
    }
    series.finish().unwrap();
    let mut peer = PeerRow::new("parisync-1", "2");
    peer.exchanges = 10;
    peer.used = Some(0.5);
    run.peers(&[peer]).unwrap();
    let mut histogram = Histogram::new(3).unwrap();
    for value in 1..=100 {
        histogram.record(value).unwrap();
    }
    run.histogram("delay", &histogram).unwrap();
    let row = Cell {
        daemon: "chrony",
        rms_ns: 115.5,
    };
    run.table("daemons", &[row]).unwrap();
    run.summary(&serde_json::json!({"rms_ns": 3.5})).unwrap();
    run
}

#[test]
fn a_run_reads_back_as_it_was_written() {
    let scratch = Scratch::new();
    let run = written(&scratch);
    let read = Recorded::open(&scratch.0).unwrap();
    assert_eq!(read.meta, run.meta);
    assert_eq!(read.meta.config["links"], "lan");
    assert_eq!(read.meta.versions["chrony"], "4.3");
    assert_eq!(
        (read.meta.seed, read.meta.command.as_str()),
        (Some(7), "compare")
    );
    let [series] = &read.series[..] else { panic!() };
    let subjects: Vec<&str> = series.tracks.iter().map(|t| t.subject.as_str()).collect();
    assert_eq!(subjects, ["parisync-1", "chrony, 2"]);
    let times: Vec<f64> = series.tracks[1].points.iter().map(|p| p.time_s).collect();
    assert_eq!(times, [0.0, 0.5, 1.0]);
    let first = series.tracks[0].points[0];
    assert_eq!((first.error_ns, first.guaranteed_ns), (12.25, Some(100.0)));
    assert_eq!(series.tracks[1].points[0].guaranteed_ns, None);
    assert_eq!(
        (read.peers[0].exchanges, read.peers[0].delay_min_ns),
        (10, None)
    );
    assert_eq!(read.tables[0].columns, ["daemon", "rms_ns"]);
    assert_eq!(read.tables[0].rows, [["chrony", "115.5"]]);
    assert_eq!(read.summary.unwrap()["rms_ns"], 3.5);
}

#[test]
fn a_distribution_keeps_its_quantiles() {
    let scratch = Scratch::new();
    written(&scratch);
    let text = fs::read_to_string(scratch.0.join("delay.hgrm")).unwrap();
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"));
    assert!(
        text.contains("#[Mean    =       50.500, StdDeviation   =       28.866]\n"),
        "{text}"
    );
    assert!(
        text.contains("#[Max     =      100.000, Total count    =          100]\n"),
        "{text}"
    );
    let read = Recorded::open(&scratch.0).unwrap();
    let quantiles = &read.histograms[0].quantiles;
    let half = quantiles.iter().find(|q| q.quantile >= 0.5).unwrap();
    assert_eq!((half.value, half.count), (50.0, 50));
    let last = quantiles.last().unwrap();
    assert_eq!((last.value, last.quantile, last.count), (100.0, 1.0, 100));
}

#[test]
fn an_interrupted_run_can_be_read() {
    let scratch = Scratch::new();
    let mut run = Run::create(&scratch.0, "sim", &CONFIG, None).unwrap();
    let mut series = run.series("error").unwrap();
    series.push(&sample(0.0, "1", 1.0, None)).unwrap();
    drop(series);
    let read = Recorded::open(&scratch.0).unwrap();
    assert_eq!(read.summary, None);
    assert_eq!(read.series[0].tracks[0].points.len(), 1);
}

#[test]
fn nothing_is_overwritten() {
    let scratch = Scratch::new();
    let mut run = written(&scratch);
    let error = Run::create(&scratch.0, "sim", &CONFIG, None).unwrap_err();
    assert!(matches!(error, RunError::NotEmpty { .. }), "{error}");
    let file = scratch.0.join("run.json");
    let error = Run::create(&file, "sim", &CONFIG, None).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    for name in ["error", "daemons", "peers"] {
        assert!(
            matches!(run.series(name), Err(RunError::Twice { .. })),
            "{name}"
        );
    }
    for name in ["", "../up", "Error", "a.b"] {
        assert!(
            matches!(run.series(name), Err(RunError::Name { .. })),
            "{name}"
        );
    }
}

#[test]
fn what_is_no_number_is_not_written() {
    let scratch = Scratch::new();
    let mut run = Run::create(&scratch.0, "sim", &CONFIG, None).unwrap();
    let mut series = run.series("error").unwrap();
    for bad in [
        sample(0.0, "1", f64::NAN, None),
        sample(f64::INFINITY, "1", 0.0, None),
        sample(0.0, "1", 0.0, Some(-1.0)),
    ] {
        let error = series.push(&bad).unwrap_err();
        assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
    }
}

/// The message after `change` was made to `file`.
fn broken(file: &str, change: impl FnOnce(String) -> String) -> String {
    let scratch = Scratch::new();
    written(&scratch);
    let path = scratch.0.join(file);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(text)).unwrap();
    let error = Recorded::open(&scratch.0).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    let path = path.display().to_string();
    let place = error.strip_prefix(&path);
    place
        .unwrap_or_else(|| panic!("{path}: {error}"))
        .to_owned()
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let said = broken("error.csv", |text| text.replacen("12.25", "twelve", 2));
    assert_eq!(said, ", line 2: invalid float literal");
    let said = broken("error.csv", |text| text.replacen(",-1000.0,,", ",NaN,,", 1));
    assert_eq!(said, ", line 3: error_ns is NaN");
    let said = broken("error.csv", |text| {
        text.replacen(",-1000.0,,", ",-1000.0", 1)
    });
    assert_eq!(said, ", line 3: there are 3 cells instead of 5");
    let said = broken("error.csv", |text| text.replacen("0.5,", "3.0,", 1));
    assert_eq!(
        said,
        ", line 6: the time is earlier than in the line before of the same subject"
    );
    let said = broken("error.csv", |text| text[..text.len() - 3].to_owned());
    assert_eq!(said, ", line 7: the file ends within a line");
    let said = broken("error.csv", |text| text.replacen("time_s", "time", 1));
    assert!(
        said.starts_with(", line 1: the columns must be time_s,"),
        "{said}"
    );
    let said = broken("error.csv", |_| String::new());
    assert_eq!(said, ", line 1: the file ends within a line");
    let said = broken("peers.csv", |text| text.replacen(",10,", ",ten,", 1));
    assert_eq!(said, ", line 2: invalid digit found in string");
    let said = broken("run.json", |text| {
        text.replacen("\"format\": 1", "\"format\": x", 1)
    });
    assert_eq!(said, ", line 2: expected value");
    let said = broken("run.json", |text| text.replacen("\"host\"", "\"most\"", 1));
    assert!(said.contains("missing field `host`"), "{said}");
    let said = broken("summary.json", |text| text[..text.len() - 3].to_owned());
    assert_eq!(said, ", line 2: EOF while parsing an object");
    let said = broken("delay.hgrm", |text| text.replacen(" 50.000 ", " many ", 1));
    assert!(
        said.ends_with(": value, percentile and count expected"),
        "{said}"
    );
    let said = broken("delay.hgrm", |text| {
        text[..text.find('#').unwrap()].to_owned()
    });
    assert!(said.ends_with(": the end of the file is missing"), "{said}");
}

#[test]
fn a_newer_format_is_refused() {
    let said = broken("run.json", |text| {
        text.replacen("\"format\": 1", "\"format\": 2", 1)
    });
    assert!(
        said.starts_with(" has format 2, this program knows 1"),
        "{said}"
    );
}

#[test]
fn what_is_not_there_is_said() {
    let scratch = Scratch::new();
    let error = Recorded::open(&scratch.0).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    fs::create_dir(&scratch.0).unwrap();
    let error = Recorded::open(&scratch.0).unwrap_err().to_string();
    assert!(
        error.ends_with("is no run folder: it has no run.json"),
        "{error}"
    );
    fs::remove_dir(&scratch.0).unwrap();
    written(&scratch);
    fs::remove_file(scratch.0.join("error.csv")).unwrap();
    let error = Recorded::open(&scratch.0).unwrap_err().to_string();
    assert!(error.contains("error.csv: No such file"), "{error}");
}

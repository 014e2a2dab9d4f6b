//! Pages of runs of every kind.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::run::{PeerRow, Run, Sample};
use crate::testing::Scratch;

const OPTIONS: Options = Options {
    settle_s: None,
    limit_ns: 10_000.0,
};

/// A run of `clocks` clocks whose errors shrink to `scale_ns`.
fn record(dir: &Path, series: &[&str], clocks: u32, seconds: u32, scale_ns: f64) {
    let mut run = Run::create(
        dir,
        "compare",
        &json!({"hosts": clocks, "rms_ns": scale_ns}),
        Some(3),
    )
    .unwrap();
    for name in series {
        let mut writer = run.series(name).unwrap();
        for step in 0..seconds {
            for clock in 0..clocks {
                let phase = f64::from((step * 7 + clock * 13) % 31) / 31.0 - 0.5;
                let early = 1e6 * (-f64::from(step) / 5.0).exp();
                let error_ns = scale_ns * phase + early;
                let sample = Sample {
                    time_s: f64::from(step),
                    subject: format!("host {clock}"),
                    error_ns,
                    guaranteed_ns: Some(2.0 * scale_ns + early),
                    statistical_ns: (step != 40).then_some(0.45 * scale_ns + early),
                };
                writer.push(&sample).unwrap();
            }
        }
        writer.finish().unwrap();
    }
    let mut peer = PeerRow::new("host 0", "<host 1>");
    peer.delay_min_ns = Some(20_000.0);
    run.peers(&[peer]).unwrap();
    let mut delays = hdrhistogram::Histogram::new(3).unwrap();
    (1..2_000).for_each(|value| delays.record(value * value).unwrap());
    run.histogram("delay", &delays).unwrap();
    run.table("daemons", &[json!({"daemon": "chrony", "rms_ns": 115.0})])
        .unwrap();
    run.summary(&json!({"verdict": "<good>"})).unwrap();
}

fn check_well_formed(page: &str) {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    roxmltree::Document::parse_with_options(page, options).unwrap();
    let names = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
    assert_eq!(page.matches("http").count(), names);
    assert!(!page.contains("<script") && !page.contains("url("));
}

fn page(folders: &[&Scratch]) -> String {
    let folders: Vec<PathBuf> = folders.iter().map(|scratch| scratch.0.clone()).collect();
    html(&Report::read(&folders, OPTIONS).unwrap())
}

#[test]
fn a_single_run_makes_a_page_with_all_its_parts() {
    let scratch = Scratch::new();
    record(&scratch.0, &["error"], 4, 200, 100.0);
    let page = page(&[&scratch]);
    check_well_formed(&page);
    // Three over time, two distributions, three of stability, bounds, delays.
    assert_eq!(page.matches("<svg role=\"img\"").count(), 10);
    for part in [
        "Error over time",
        "Histogram of errors",
        "Distribution of errors",
        "Allan deviation",
        "Time deviation",
        "Maximum time interval error",
        "the guaranteed bound was broken 0 times",
        "&lt;host 1&gt;",
        "&lt;good&gt;",
        "Settings",
        "clock source",
        "115ns",
        "averaging time τ",
        "10⁻⁸",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("could not be drawn"));
    assert!(!page.contains("Not come to its end"));
}

#[test]
fn runs_stand_side_by_side_and_differences_are_marked() {
    let (a, b) = (Scratch::new(), Scratch::new());
    record(&a.0, &["parisync", "chrony"], 3, 100, 40.0);
    record(&b.0, &["parisync"], 3, 100, 120.0);
    let page = page(&[&a, &b]);
    check_well_formed(&page);
    for series in ["parisync", "chrony"] {
        let name = Recorded::open(&a.0).unwrap().name();
        assert!(page.contains(&format!("{name} · {series}")), "{series}");
    }
    assert_eq!(
        page.matches("Bounds against error, ").count(),
        6,
        "title and label of three"
    );
    assert!(page.contains("<tr class=\"marked\"><td class=\"left\">rms_ns</td>"));
    assert!(page.contains("<tr><td class=\"left\">hosts</td>"));
}

#[test]
fn violations_are_counted_in_the_whole_run() {
    let scratch = Scratch::new();
    record(&scratch.0, &["error"], 2, 310, 100.0);
    let report = Report::read(std::slice::from_ref(&scratch.0), OPTIONS).unwrap();
    let figures = &report.figures()[0];
    assert_eq!(figures.guaranteed.violations, 0);
    // Of 31 phases k/31 - 1/2, the last is beyond 0.45 at any time; the first two are where what is
    // left of the start is small enough, after 64.5 s and 69.7 s. Clock 0 is at k = 30, 0, 1 in
    // steps 22, 0, 9 and every 31 after: 10 + 7 + 8 times; clock 1 in 29, 7, 16: 10 + 8 + 8 times.
    let statistical = figures.statistical;
    assert_eq!((statistical.samples, statistical.violations), (618, 51));
    assert!(html(&report).contains("<span class=\"bad\">"));
}

#[test]
fn runs_with_little_in_them_still_make_a_page() {
    let empty = Scratch::new();
    let mut run = Run::create(&empty.0, "cost", &json!({}), None).unwrap();
    run.summary(&json!({"cpu_percent": 0.1})).unwrap();
    check_well_formed(&page(&[&empty]));

    let short = Scratch::new();
    record(&short.0, &["error"], 1, 1, 100.0);
    let page = page(&[&short]);
    check_well_formed(&page);
    assert!(!page.contains("could not be drawn"));

    let zero = Scratch::new();
    record(&zero.0, &["error"], 2, 50, 0.0);
    check_well_formed(&self::page(&[&zero]));
}

#[test]
fn an_interrupted_run_is_named_and_an_empty_one_refused() {
    let scratch = Scratch::new();
    record(&scratch.0, &["error"], 1, 30, 100.0);
    std::fs::remove_file(scratch.0.join("summary.json")).unwrap();
    assert!(page(&[&scratch]).contains("Not come to its end"));

    let empty = Scratch::new();
    let mut run = Run::create(&empty.0, "sim", &json!({}), None).unwrap();
    run.series("error").unwrap().finish().unwrap();
    let error = Report::read(std::slice::from_ref(&empty.0), OPTIONS).unwrap_err();
    assert!(matches!(error, ReportError::Nothing { .. }), "{error}");
}

#[test]
fn the_figures_fit_the_terminal() {
    let scratch = Scratch::new();
    record(&scratch.0, &["error"], 2, 100, 100.0);
    let report = Report::read(std::slice::from_ref(&scratch.0), OPTIONS).unwrap();
    let text = table(report.figures());
    assert_eq!(text.lines().count(), 2);
    assert!(text.starts_with("RUN "), "{text}");
}

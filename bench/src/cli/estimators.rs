//! `parisync-bench estimators`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use parisync::consensus::strategies::CombineKind;
use parisync::link::estimators::EstimatorKind;
use parisync::node::Strategies;
use parisync::present::host::command_line;
use parisync::present::text::columns;
use serde::Serialize;

use super::BenchError;
use crate::estimators::{self, Check, LinkRow, Row, page};
use crate::output::{Format, show};
use crate::run::Run;
use crate::scenario::{Scenario, find, shipped};
use crate::units::shown;

/// What to compare.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Scenarios by name, or files; all of the default table if none is named
    #[arg(long, value_name = "NAME|FILE", num_args = 1..)]
    scenario: Vec<String>,
    /// Link estimators; all if none is named
    #[arg(long, value_name = "NAME", num_args = 1..)]
    estimator: Vec<EstimatorKind>,
    /// Combinations; all if none is named
    #[arg(long, value_name = "NAME", num_args = 1..)]
    combine: Vec<CombineKind>,
    /// Seeds of each run: 1 to this many
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Run scenarios with liars once more without them, and say how much worse they made it
    #[arg(long, conflicts_with = "check")]
    without_liars: bool,
    /// Threads; one for each processor by default
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Hold the default strategies to the limits of the scenarios instead (all, with their seeds)
    #[arg(long, conflicts_with_all = ["estimator", "combine", "seeds", "out"])]
    check: bool,
    /// Each estimator on one link against a fixed peer instead of whole networks
    #[arg(long, conflicts_with = "combine")]
    links: bool,
    /// Say which scenarios there are, and end
    #[arg(long)]
    list: bool,
    /// Keep the run in this folder, networks and single links, with a page of heat maps
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The settings of a run, as its folder keeps them.
#[derive(Serialize)]
struct Settings<'a> {
    scenarios: &'a [Scenario],
    estimators: Vec<String>,
    combinations: Vec<String>,
    seeds: u64,
}

/// Compares strategies, or holds the default ones to their limits.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let named = options.scenario.iter().map(|name| find(name));
    let mut scenarios: Vec<Scenario> = named.collect::<Result<_, _>>()?;
    if scenarios.is_empty() {
        scenarios = shipped()?;
        scenarios.retain(|s| s.ablation || options.check || options.list);
    }
    if options.list {
        return Ok(show(format, &scenarios, list)?);
    }
    let threads = options
        .threads
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    if options.check {
        let checks = estimators::check(&scenarios, threads);
        show(format, &checks, checked)?;
        let broken = checks.iter().filter(|check| !check.kept).count();
        return match broken {
            0 => Ok(()),
            count => Err(BenchError::Limits { count }),
        };
    }
    let chosen = |names: &[EstimatorKind]| match names {
        [] => EstimatorKind::ALL.to_vec(),
        names => names.to_vec(),
    };
    let combined = |names: &[CombineKind]| match names {
        [] => CombineKind::ALL.to_vec(),
        names => names.to_vec(),
    };
    let (kinds, combinations) = (chosen(&options.estimator), combined(&options.combine));
    let settings = Settings {
        scenarios: &scenarios,
        estimators: kinds.iter().map(ToString::to_string).collect(),
        combinations: combinations.iter().map(ToString::to_string).collect(),
        seeds: options.seeds,
    };
    let folder = options.out.as_deref();
    let mut folder = folder
        .map(|dir| Run::create(dir, "estimators", &settings, Some(1)))
        .transpose()?;
    let strategies = Strategies::product(&kinds, &combinations);
    let keep = folder.is_some();
    let mut rows = Vec::new();
    if keep || !options.links {
        let without = options.without_liars;
        rows = estimators::table(&scenarios, &strategies, options.seeds, without, threads);
    }
    let mut links = Vec::new();
    if keep || options.links {
        links = estimators::links(&scenarios, &kinds, options.seeds, threads);
    }
    if let Some(folder) = &mut folder {
        folder.table("networks", &rows)?;
        folder.table("links", &links)?;
        let html = page(&command_line(), &scenarios, &rows, &links);
        folder.page("estimators", &html)?;
        folder.summary(&rows)?;
    }
    if options.links {
        return Ok(show(format, &links, alone)?);
    }
    Ok(show(format, &rows, compared)?)
}

fn list(scenarios: &[Scenario]) -> String {
    let rows: Vec<Vec<String>> = scenarios
        .iter()
        .map(|s| vec![s.name.clone(), s.why.clone()])
        .collect();
    columns(&rows, &[])
}

/// Two digits, or nothing.
fn ratio(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.2}"))
}

fn compared(rows: &[Row]) -> String {
    let head = [
        "scenario",
        "estimator",
        "combination",
        "rms",
        "±",
        "/limit",
        "/honest",
        "at worst",
        "worst p50",
        "p99",
        "max",
        "settled",
        "bound",
        "/best",
        "wrong",
        "99.9 %",
        "/rms",
        "beyond",
        "packets/s",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        cells.push(vec![
            row.scenario.clone(),
            row.estimator.clone(),
            row.combine.clone(),
            shown(row.rms_ns.mean),
            row.rms_ns.plus_minus.map_or(String::new(), shown),
            ratio(row.rms_over_limit),
            ratio(row.liars_ratio),
            ratio(row.liars_ratio_worst),
            shown(row.worst_p50_ns),
            shown(row.worst_p99_ns),
            shown(row.worst_max_ns),
            format!("{:.1} s", row.settled_s),
            shown(row.guaranteed_p50_ns),
            format!("{:.2}", row.guaranteed_ratio),
            row.guaranteed_violations.to_string(),
            shown(row.statistical_p50_ns),
            format!("{:.1}", row.statistical_ratio),
            format!("{:.3} %", 100.0 * row.statistical_violations),
            format!("{:.1}", row.packets),
        ]);
    }
    columns(&cells, &(3..head.len()).collect::<Vec<_>>())
}

fn alone(rows: &[LinkRow]) -> String {
    let head = [
        "scenario",
        "estimator",
        "rms",
        "±",
        "p99",
        "says σ",
        "within σ",
        "beyond 3.29 σ",
        "interval",
        "wrong",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        cells.push(vec![
            row.scenario.clone(),
            row.estimator.clone(),
            shown(row.rms_ns.mean),
            row.rms_ns.plus_minus.map_or(String::new(), shown),
            shown(row.p99_ns),
            shown(row.sigma_p50_ns),
            format!("{:.0} %", 100.0 * row.within_sigma),
            format!("{:.2} %", 100.0 * row.beyond_3_29_sigma),
            shown(row.interval_p50_ns),
            row.interval_violations.to_string(),
        ]);
    }
    columns(&cells, &(2..head.len()).collect::<Vec<_>>())
}

fn checked(checks: &[Check]) -> String {
    let mut cells = vec![
        ["scenario", "figure", "value", "limit", "share", "seed", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for check in checks {
        let share = check.share().map(|share| format!("{:.0} %", 100.0 * share));
        cells.push(vec![
            check.scenario.clone(),
            check.figure.to_owned(),
            short(check.value),
            check.limit.map_or(String::new(), short),
            share.unwrap_or_default(),
            check.seed.to_string(),
            if check.kept { "" } else { "BEYOND" }.to_owned(),
        ]);
    }
    columns(&cells, &[2, 3, 4, 5])
}

/// Three digits, or all of those before the point.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 || v == 0.0 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

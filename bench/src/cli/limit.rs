//! `parisync-bench limit`.

use std::path::PathBuf;
use std::str::FromStr;

use parisync::node::Strategies;
use parisync::present::text::columns;
use serde::Serialize;

use super::BenchError;
use crate::estimators::{self, Estimate};
use crate::limit::{self, Floors, Kind, Limit, Noise, Problem, posterior};
use crate::output::{Format, show};
use crate::progress::Progress;
use crate::run::Run;
use crate::scenario::{Scenario, find, shipped};
use crate::units::{Fraction, Nanos, UnitError, shown};

/// Of what to tell the limit.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Options {
    /// Scenarios by name, or files; all of the default table if neither this nor a noise is named
    #[arg(long, value_name = "NAME|FILE", num_args = 1.., conflicts_with = "noise")]
    scenario: Vec<String>,
    /// A network of one's own, with delays like `exp:1us` or `gauss:1us`
    #[arg(long, value_name = "exp:MEAN|gauss:SIGMA", value_parser = noise)]
    noise: Option<Noise>,
    /// Its hosts
    #[arg(long, requires = "noise", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..))]
    hosts: u16,
    /// Neighbours of each of them; all others by default
    #[arg(long, requires = "noise", value_name = "HOSTS")]
    neighbours: Option<u16>,
    /// Exchanges a second in the whole network, evenly spread
    #[arg(
        long,
        requires = "noise",
        default_value_t = 7.0,
        value_name = "A SECOND"
    )]
    exchanges: f64,
    /// Random walk of each oscillator's frequency, per √s
    #[arg(long, requires = "noise", default_value = "1ppb", value_parser = fraction)]
    wander: Fraction,
    /// White noise of each oscillator's frequency, per √Hz
    #[arg(long, requires = "noise", default_value = "0ppb", value_parser = fraction)]
    white: Fraction,
    /// Noise of each stamp, one sigma
    #[arg(long, requires = "noise", default_value = "0ns")]
    stamp: Nanos,
    /// Nobody knows the least delays, only that they are constant and the same both ways
    #[arg(long, requires = "noise", conflicts_with = "exact")]
    unknown_floors: bool,
    /// Also sample the exact limit from the posterior of this many networks (exponential delays;
    /// a second and more for each)
    #[arg(long, value_name = "NETWORKS", value_parser = clap::value_parser!(u64).range(2..))]
    exact: Option<u64>,
    /// Also simulate the default strategies in the scenarios, with the seeds 1 to this many, and
    /// tell how near they come
    #[arg(long, value_name = "SEEDS", conflicts_with = "noise", value_parser = clap::value_parser!(u64).range(1..=1000))]
    reached: Option<u64>,
    /// Keep the result in this folder
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    out: Option<PathBuf>,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    limit: Limit,
    exact_ns: Option<f64>,
    exact_uncertain_ns: Option<f64>,
    reached_ns: Option<Estimate>,
    reached_over_limit: Option<f64>,
}

/// Tells how small errors can be.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let folder = options.out.as_deref();
    let folder = folder.map(|dir| Run::create(dir, "limit", options, None));
    let mut rows = Vec::new();
    if let Some(noise) = options.noise {
        let problem = options.problem(noise);
        let mut row = Row::new(options.network(), Limit::of(&problem)?);
        row.sample(&problem, options)?;
        rows.push(row);
    } else {
        let named = options.scenario.iter().map(|name| find(name));
        let mut scenarios: Vec<Scenario> = named.collect::<Result<_, _>>()?;
        if scenarios.is_empty() {
            scenarios = shipped()?;
            scenarios.retain(|scenario| scenario.ablation);
        }
        let progress = Progress::new("limits", scenarios.len() as u64);
        for scenario in scenarios {
            progress.say(&scenario.name);
            let mut row = Row::new(scenario.name.clone(), limit::of(&scenario)?);
            row.sample(&limit::scenario::problem(&scenario).0, options)?;
            if let Some(seeds) = options.reached {
                row.reach(&scenario, seeds);
            }
            rows.push(row);
            progress.advance(1);
        }
        progress.finish();
    }
    if let Some(folder) = folder {
        let mut folder = folder?;
        folder.table("limits", &rows)?;
        folder.summary(&rows)?;
    }
    Ok(show(format, &rows, text)?)
}

impl Options {
    fn problem(&self, noise: Noise) -> Problem {
        let hosts = usize::from(self.hosts);
        let neighbours = self.neighbours.map_or(hosts - 1, usize::from);
        let floors = match self.unknown_floors {
            true => Floors::Unknown,
            false => Floors::Known,
        };
        Problem {
            stamp: self.stamp,
            white: self.white,
            floors,
            ..Problem::sparse(hosts, neighbours, self.exchanges, noise, self.wander)
        }
    }

    fn network(&self) -> String {
        format!("{} hosts, {} exchanges/s", self.hosts, self.exchanges)
    }
}

impl Row {
    fn new(name: String, limit: Limit) -> Self {
        Self {
            name,
            limit,
            exact_ns: None,
            exact_uncertain_ns: None,
            reached_ns: None,
            reached_over_limit: None,
        }
    }

    /// Samples the exact limit, if that is asked for and there is something to sample.
    fn sample(&mut self, problem: &Problem, options: &Options) -> Result<(), BenchError> {
        let one_sided = matches!(problem.noise, Noise::Exponential(_));
        let Some(networks) = options.exact.filter(|_| one_sided) else {
            return Ok(());
        };
        let progress = Progress::new("sampling posteriors", networks);
        let effort = posterior::Effort {
            networks,
            ..posterior::Effort::default()
        };
        let exact = posterior::sample(problem, effort, 1, || progress.advance(1))?;
        progress.finish();
        self.exact_ns = Some(exact.rms_ns);
        self.exact_uncertain_ns = Some(exact.uncertain_ns);
        Ok(())
    }

    fn reach(&mut self, scenario: &Scenario, seeds: u64) {
        let rms = |seed| {
            estimators::run(Strategies::default(), scenario, seed)
                .figures
                .rms
        };
        let reached = Estimate::of(&(1..=seeds).map(rms).collect::<Vec<_>>());
        self.reached_over_limit = Some(reached.mean / self.limit.rms_ns);
        self.reached_ns = Some(reached);
    }
}

/// `exp:1us` or `gauss:1us`.
fn noise(text: &str) -> Result<Noise, String> {
    let wrong = || format!("{text:?} is no noise: write `exp:MEAN` or `gauss:SIGMA`");
    let (shape, size) = text.split_once(':').ok_or_else(wrong)?;
    let size = Nanos::from_str(size).map_err(|error| error.to_string())?;
    match shape {
        "exp" => Ok(Noise::Exponential(size)),
        "gauss" => Ok(Noise::Gaussian(size)),
        _ => Err(wrong()),
    }
}

/// `1ppb`, or the plain fraction `1e-9`.
fn fraction(text: &str) -> Result<Fraction, UnitError> {
    text.parse()
        .map_or_else(|_| text.parse(), |plain| Ok(Fraction(plain)))
}

fn text(rows: &[Row]) -> String {
    let head = [
        "scenario", "", "limit", "variance", "genie", "exact", "±", "reached", "/limit", "how",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    let number = |ns: Option<f64>| ns.map_or(String::new(), shown);
    for row in rows {
        let sign = match row.limit.kind {
            Kind::Exact => "=",
            Kind::Best => "",
            Kind::Indication => "~",
        };
        let share = row.reached_over_limit.map(|share| format!("{share:.2}"));
        cells.push(vec![
            row.name.clone(),
            sign.to_owned(),
            shown(row.limit.rms_ns),
            shown(row.limit.variance_ns),
            shown(row.limit.genie_ns),
            number(row.exact_ns),
            number(row.exact_uncertain_ns),
            number(row.reached_ns.map(|reached| reached.mean)),
            share.unwrap_or_default(),
            row.limit.how.clone(),
        ]);
    }
    columns(&cells, &(2..head.len() - 1).collect::<Vec<_>>())
        + "\nRoot mean square of (clock − mean of all clocks). = nothing can be better; \
           ~ an indication.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_and_wander_as_people_write_them() {
        assert_eq!(noise("exp:1us"), Ok(Noise::Exponential(Nanos(1000.0))));
        assert_eq!(noise("gauss:20ns"), Ok(Noise::Gaussian(Nanos(20.0))));
        assert!(noise("lomax:1us").unwrap_err().contains("exp:MEAN"));
        assert!(noise("exp:1parsec").unwrap_err().contains("us"));
        assert_eq!(fraction("1e-9"), Ok(Fraction(1e-9)));
        assert_eq!(fraction("2ppb"), Ok(Fraction(2e-9)));
        assert!(fraction("2 apples").is_err());
    }
}

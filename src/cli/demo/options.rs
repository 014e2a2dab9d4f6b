//! The options of `parisync demo`, checked, and the bad clocks they ask for.

use std::path::PathBuf;

use super::DemoError;
use crate::cli::strategies::StrategyOptions;
use crate::config::{DurationText, PacketPath, ParseDurationError, Topology};
use crate::time::Span;

/// Options of `parisync demo`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct DemoOptions {
    /// Number of nodes, 2 to 256
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub nodes: usize,
    /// How long to run, 2 to 3600 seconds
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub seconds: u32,
    /// Clocks start off by up to this, either way (500ms, 2s, …)
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_span)]
    pub max_offset: Span,
    /// Clocks run fast or slow by up to this many ppm, at most 500
    #[arg(long, value_name = "PPM", default_value_t = 50.0)]
    pub max_ppm: f64,
    /// Random walk of each oscillator's frequency, per √s
    #[arg(long, value_name = "FRACTION", default_value_t = 1e-9)]
    pub wander: f64,
    /// Seed of the clocks and of the nodes' choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many of the nodes lie about their time; they are shown but not counted
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub liars: usize,
    /// What liars add to their time
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = parse_span)]
    pub liar_offset: Span,
    /// How fast the time of liars drifts away, in ppm
    #[arg(
        long,
        value_name = "PPM",
        default_value_t = 0.0,
        allow_hyphen_values = true
    )]
    pub liar_drift: f64,
    /// Link structure through which the nodes find each other
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Topology::Libp2p)]
    pub topology: Topology,
    /// How the nodes make time of what they measure.
    #[command(flatten)]
    pub strategies: StrategyOptions,
    /// How datagrams travel; the nodes live on the loopback interface, where AF_XDP cannot be had
    #[arg(long, value_enum, value_name = "PATH", default_value_t = PacketPath::Udp)]
    pub transport: PacketPath,
    /// Write a report with plots into this directory: index.html, summary.json, samples.csv
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// How one node's clock is made bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockPlan {
    /// Where its oscillator starts, against the physical clock.
    pub offset: Span,
    /// How fast it runs, against the physical clock.
    pub ppm: f64,
    /// Random walk of its frequency, as a fraction per √s.
    pub wander: f64,
    /// Seed of that walk.
    pub seed: u64,
    /// What the node tells others instead of the truth, if it is a liar.
    pub lie: Option<Lie>,
}

/// What a liar adds to the time it tells others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lie {
    /// Added from the start.
    pub offset: Span,
    /// Growth of the lie, ppm.
    pub drift_ppm: f64,
}

impl DemoOptions {
    /// Refuses values that no swarm can be made of.
    ///
    /// # Errors
    /// [`DemoError::Option`] names the first option that is out of range, and the range.
    pub fn check(&self) -> Result<(), DemoError> {
        let hour = Span::from_secs(3600);
        let within = |option, found: &dyn std::fmt::Display, ok, range: &str| {
            if ok {
                Ok(())
            } else {
                Err(DemoError::Option {
                    option,
                    found: found.to_string(),
                    range: range.to_owned(),
                })
            }
        };
        within(
            "--nodes",
            &self.nodes,
            (2..=256).contains(&self.nodes),
            "2 to 256",
        )?;
        within(
            "--seconds",
            &self.seconds,
            (2..=3600).contains(&self.seconds),
            "2 to 3600",
        )?;
        within(
            "--max-offset",
            &self.max_offset,
            (Span::ZERO..=hour).contains(&self.max_offset),
            "0 to 1h",
        )?;
        within(
            "--max-ppm",
            &self.max_ppm,
            (0.0..=500.0).contains(&self.max_ppm),
            "0 to 500",
        )?;
        within(
            "--wander",
            &self.wander,
            (0.0..=1e-6).contains(&self.wander),
            "0 to 1e-6",
        )?;
        within(
            "--liars",
            &self.liars,
            self.liars + 2 <= self.nodes,
            "at most two fewer than --nodes",
        )?;
        within(
            "--liar-offset",
            &self.liar_offset,
            (Span::ZERO..=hour).contains(&self.liar_offset),
            "0 to 1h",
        )?;
        within(
            "--liar-drift",
            &self.liar_drift,
            self.liar_drift.abs() <= 500.0,
            "-500 to 500",
        )
    }

    /// The clocks of the nodes, drawn evenly from the ranges asked for; the liars come last.
    /// The same options give the same clocks.
    pub fn clocks(&self) -> Vec<ClockPlan> {
        let mut state = self.seed;
        (0..self.nodes)
            .map(|node| ClockPlan {
                offset: Span::from_nanos_f64(
                    self.max_offset.as_nanos_f64() * symmetric(&mut state),
                ),
                ppm: self.max_ppm * symmetric(&mut state),
                wander: self.wander,
                seed: splitmix64(&mut state),
                lie: (node >= self.nodes - self.liars.min(self.nodes)).then_some(Lie {
                    offset: self.liar_offset,
                    drift_ppm: self.liar_drift,
                }),
            })
            .collect()
    }

    /// Time between two samples: 100 ms, more in long runs so that memory stays bounded.
    pub(super) fn tick(&self) -> Span {
        const MOST_TICKS: i64 = 6000;
        Span::from_millis(100).max(Span::from_secs(self.seconds.into()) / MOST_TICKS)
    }
}

/// The next number of the SplitMix64 sequence (Steele, Lea and Flood, OOPSLA 2014).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Evenly from −1 to 1.
fn symmetric(state: &mut u64) -> f64 {
    (splitmix64(state) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A span of time from text such as `500ms`.
fn parse_span(text: &str) -> Result<Span, ParseDurationError> {
    text.parse().map(DurationText::span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        demo: DemoOptions,
    }

    fn parse(args: &[&str]) -> DemoOptions {
        Cli::try_parse_from([&["demo"], args].concat())
            .unwrap()
            .demo
    }

    #[test]
    fn defaults_are_the_documented_ones_and_pass() {
        let options = parse(&[]);
        assert_eq!((options.nodes, options.seconds, options.seed), (8, 30, 1));
        assert_eq!(options.max_offset, Span::from_millis(500));
        assert_eq!((options.max_ppm, options.wander), (50.0, 1e-9));
        options.check().unwrap();
    }

    #[test]
    fn values_out_of_range_are_named_in_one_line() {
        for (args, expected) in [
            (["--nodes", "1"], "--nodes is 1; it can be 2 to 256"),
            (["--seconds", "0"], "--seconds is 0; it can be 2 to 3600"),
            (["--max-offset", "1h"], ""),
            (["--max-ppm", "nan"], "--max-ppm is NaN; it can be 0 to 500"),
            (
                ["--liars", "7"],
                "--liars is 7; it can be at most two fewer than --nodes",
            ),
            (
                ["--liar-offset", "2h"],
                "--liar-offset is 7200s; it can be 0 to 1h",
            ),
            (
                ["--liar-drift", "-501"],
                "--liar-drift is -501; it can be -500 to 500",
            ),
        ] {
            let message = parse(&args).check().err().map(|e| e.to_string());
            assert_eq!(message.unwrap_or_default(), expected, "{args:?}");
        }
    }

    #[test]
    fn clocks_are_drawn_from_the_ranges_and_repeat_for_a_seed() {
        let options = parse(&["--nodes", "200", "--liars", "3", "--seed", "9"]);
        let clocks = options.clocks();
        assert_eq!(clocks, options.clocks());
        assert!(clocks.iter().all(|c| c.offset.abs() <= options.max_offset));
        assert!(clocks.iter().all(|c| c.ppm.abs() <= options.max_ppm));
        assert!(clocks.iter().any(|c| c.ppm < -40.0) && clocks.iter().any(|c| c.ppm > 40.0));
        let liars: Vec<_> = clocks.iter().map(|c| c.lie.is_some()).collect();
        assert_eq!(liars.iter().position(|&l| l), Some(197));
        assert_eq!(liars.iter().filter(|&&l| l).count(), 3);
    }

    #[test]
    fn long_runs_are_sampled_less_often() {
        assert_eq!(parse(&[]).tick(), Span::from_millis(100));
        assert_eq!(parse(&["--seconds", "3600"]).tick(), Span::from_millis(600));
    }
}

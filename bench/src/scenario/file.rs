//! What a scenario file says.
//!
//! Every key is optional except `name`, `why` and `seconds`; what is left out is an ordinary LAN of
//! eight hosts.

use parisync::consensus::MAX_READINGS;
use parisync::node::NodeConfig;
use serde::{Deserialize, Serialize};

use crate::sim::{Deceit, OscillatorModel, PathModel, StampModel, World};
use crate::units::{Fraction, Nanos};

/// One scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Names it on the command line and in tables; the file is called so, too.
    pub name: String,
    /// What is learnt from it, in one sentence.
    pub why: String,
    /// How many hosts there are; each knows of all others.
    #[serde(default = "eight")]
    pub hosts: usize,
    /// How long it is simulated.
    pub seconds: f64,
    /// The first so many seconds only tell when the network had settled.
    #[serde(default = "half_a_minute")]
    pub settle: f64,
    /// Clocks within this of each other have settled.
    #[serde(default = "ten_micros")]
    pub settled_within: Nanos,
    /// At the start, clocks are off by up to ± this.
    #[serde(default = "half_a_second")]
    pub offset: Nanos,
    /// Seeds of the regression; the ablation uses as many as it is told, beginning with 1.
    #[serde(default = "three_seeds")]
    pub seeds: Vec<u64>,
    /// Part of the default ablation table, which has to end within minutes.
    #[serde(default)]
    pub ablation: bool,
    /// The packets that may be spent.
    #[serde(default)]
    pub exchange: Exchange,
    /// The oscillators.
    #[serde(default)]
    pub oscillator: OscillatorModel,
    /// The paths.
    #[serde(default)]
    pub paths: PathModel,
    /// The stamps.
    #[serde(default)]
    pub stamps: StampModel,
    /// Who lies: the last hosts, group by group.
    #[serde(default)]
    pub liars: Vec<Deceit>,
    /// What happens on the way.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What the default strategies have to reach with every one of `seeds`.
    #[serde(default)]
    pub limits: Limits,
}

const fn eight() -> usize {
    8
}

const fn half_a_minute() -> f64 {
    30.0
}

const fn ten_micros() -> Nanos {
    Nanos(10_000.0)
}

const fn half_a_second() -> Nanos {
    Nanos(500e6)
}

fn three_seeds() -> Vec<u64> {
    vec![1, 2, 3]
}

/// How often neighbours are asked. The names are those of the daemon's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exchange {
    /// Time between polls of a neighbour.
    pub poll: Nanos,
    /// Exchanges in each poll.
    pub burst: u8,
    /// Neighbours of each host.
    pub neighbours: usize,
}

impl Default for Exchange {
    fn default() -> Self {
        let node = NodeConfig::default();
        Self {
            poll: Nanos(node.poll.as_nanos_f64()),
            burst: node.burst,
            neighbours: node.neighbours,
        }
    }
}

/// What happens at one time; any of these together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Event {
    /// When.
    pub at: Nanos,
    /// These hosts boot: another raw clock, no memory, a clock off by up to ± the scenario's
    /// `offset`.
    pub restart: Vec<usize>,
    /// These hosts are switched off.
    pub stop: Vec<usize>,
    /// The frequencies move with the temperature.
    pub temperature: Option<Temperature>,
    /// Paths become longer for good.
    pub route: Option<RouteChange>,
    /// Access lines become slower for good.
    pub access: Option<AccessChange>,
    /// From now on this share of the packets is lost.
    pub loss: Option<f64>,
    /// The island of each host, in order; packets between islands are lost. All zero heals it.
    pub islands: Vec<u8>,
}

/// A change of temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// By how much the frequency moves: exactly so for the named `hosts`; if none is named, each
    /// host's crystal takes a share of its own between −1 and 1.
    pub shift: Fraction,
    /// How long that takes; zero is a step.
    #[serde(default)]
    pub over: Nanos,
    /// Whom it concerns; all if empty.
    #[serde(default)]
    pub hosts: Vec<usize>,
}

/// Another route for some pairs of hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteChange {
    /// Share of the pairs, drawn at random.
    pub share: f64,
    /// How much longer it is one way (a random one of the two).
    #[serde(default)]
    pub there: Nanos,
    /// How much longer the other way.
    #[serde(default)]
    pub back: Nanos,
}

/// Slower access lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessChange {
    /// Whose.
    pub hosts: Vec<usize>,
    /// What is added outwards.
    #[serde(default)]
    pub out: Nanos,
    /// What is added inwards.
    #[serde(default)]
    pub into: Nanos,
}

/// What must be reached; nothing is asked for where there is no value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of the deviation from the network's clock.
    pub rms: Option<Nanos>,
    /// Of the difference of the worst pair, at 99 % of the times.
    pub worst_p99: Option<Nanos>,
    /// When all are within `settled_within` of each other for good.
    pub settled: Option<Nanos>,
    /// Guaranteed bounds that may be wrong.
    pub guaranteed_violations: usize,
    /// Share of the statistical bounds that may be wrong.
    pub statistical_violations: Option<f64>,
    /// Share of the time that hosts must be synchronized.
    pub synchronized: Option<f64>,
    /// Guaranteed bound over the least that causality allows.
    pub guaranteed_ratio: Option<f64>,
    /// Statistical bound over the rms error.
    pub statistical_ratio: Option<f64>,
    /// Deviation over that of the same network without its liars.
    pub liars_ratio: Option<f64>,
}

impl Scenario {
    /// What makes no sense, as one line that names the key.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn check(&self) -> Result<(), String> {
        let name_fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(name_fits) {
            return Err("`name` must be lower-case letters, digits and hyphens".to_owned());
        }
        if !(2..=10_000).contains(&self.hosts) {
            return Err("`hosts` must be from 2 to 10000".to_owned());
        }
        if !(1.0..=1e6).contains(&self.seconds) {
            return Err("`seconds` must be from 1 to 1000000".to_owned());
        }
        if !(0.0..self.seconds).contains(&self.settle) {
            return Err("`settle` must be at least 0 and less than `seconds`".to_owned());
        }
        if self.seeds.is_empty() {
            return Err("`seeds` must name at least one seed".to_owned());
        }
        if !(1..=MAX_READINGS).contains(&self.exchange.neighbours) {
            return Err(format!(
                "`exchange.neighbours` must be from 1 to {MAX_READINGS}"
            ));
        }
        if self.exchange.poll < Nanos(10e6) || self.exchange.poll > Nanos(1024e9) {
            return Err("`exchange.poll` must be from 10ms to 1024s".to_owned());
        }
        if !(1..=8).contains(&self.exchange.burst) {
            return Err("`exchange.burst` must be from 1 to 8".to_owned());
        }
        if !(0.0..1.0).contains(&self.paths.loss) {
            return Err("`paths.loss` must be at least 0 and less than 1".to_owned());
        }
        if self.lying() + 2 > self.hosts {
            return Err("`liars` must leave two honest hosts".to_owned());
        }
        if self.limits.liars_ratio.is_some() && self.lying() == 0 {
            return Err("`limits.liars_ratio` needs `liars`".to_owned());
        }
        for event in &self.events {
            event.check(self)?;
        }
        Ok(())
    }

    /// How many hosts lie.
    fn lying(&self) -> usize {
        self.liars.iter().map(|deceit| deceit.count).sum()
    }

    /// The same network without its liars and their packets, for comparison; `None` if it has none.
    /// Honest hosts keep their oscillators and paths for a seed.
    pub fn without_liars(&self) -> Option<Self> {
        let honest = self.hosts.checked_sub(self.lying())?;
        if honest == self.hosts {
            return None;
        }
        let mut alone = self.clone();
        alone.hosts = honest;
        alone.liars.clear();
        alone.limits.liars_ratio = None;
        for event in &mut alone.events {
            event.only_below(honest);
        }
        Some(alone)
    }

    /// The network at its start.
    pub fn world(&self, seed: u64) -> World {
        World {
            hosts: self.hosts,
            seed,
            node: NodeConfig {
                // All have the same packets.
                near: 0,
                poll: self.exchange.poll.span(),
                burst: self.exchange.burst,
                neighbours: self.exchange.neighbours,
                ..NodeConfig::default()
            },
            offset: self.offset,
            oscillator: self.oscillator.clone(),
            paths: self.paths.clone(),
            stamps: self.stamps.clone(),
            liars: self.liars.clone(),
        }
    }
}

impl Event {
    /// Leave alone all hosts but the first `hosts`.
    fn only_below(&mut self, hosts: usize) {
        self.restart.retain(|host| *host < hosts);
        self.stop.retain(|host| *host < hosts);
        self.islands.truncate(hosts);
        let none_left = |named: &mut Vec<usize>| {
            let named_some = !named.is_empty();
            named.retain(|host| *host < hosts);
            named_some && named.is_empty()
        };
        self.temperature = self.temperature.take().and_then(|mut change| {
            let nobody = none_left(&mut change.hosts);
            (!nobody).then_some(change)
        });
        if let Some(access) = &mut self.access {
            access.hosts.retain(|host| *host < hosts);
        }
    }

    fn check(&self, scenario: &Scenario) -> Result<(), String> {
        if !(0.0..scenario.seconds).contains(&self.at.as_secs()) {
            return Err("`events.at` must be within the scenario's `seconds`".to_owned());
        }
        let named = [&self.restart, &self.stop].into_iter().flatten();
        let warmed = self.temperature.iter().flat_map(|t| &t.hosts);
        let slowed = self.access.iter().flat_map(|a| &a.hosts);
        if let Some(host) = named
            .chain(warmed)
            .chain(slowed)
            .find(|host| **host >= scenario.hosts)
        {
            return Err(format!(
                "`events` names host {host}, but they are numbered from 0 to {}",
                scenario.hosts - 1
            ));
        }
        if self.islands.len() > scenario.hosts {
            return Err("`events.islands` has more entries than there are hosts".to_owned());
        }
        if self.loss.is_some_and(|share| !(0.0..1.0).contains(&share)) {
            return Err("`events.loss` must be at least 0 and less than 1".to_owned());
        }
        if let Some(route) = &self.route
            && !(0.0..=1.0).contains(&route.share)
        {
            return Err("`events.route.share` must be from 0 to 1".to_owned());
        }
        Ok(())
    }
}

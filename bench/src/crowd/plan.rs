//! What is to be simulated.

use std::num::NonZeroUsize;

use parisync::consensus::strategies::CombineKind;
use parisync::node::NodeConfig;
use serde::{Deserialize, Serialize};

use super::attack::Attack;
use super::draw::{Dht, Draw, Structured, Uniform};
use super::event::Happening;
use super::paths::Links;
use crate::sim::OscillatorModel;
use crate::units::{Fraction, Nanos};

/// How much of the protocol is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// One event for each exchange
    #[default]
    Exchange,
    /// One event for each datagram and each timeout
    Message,
    /// One step of a lean model for each host and round; not the daemon's code
    Round,
}

/// How long hosts stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sessions {
    /// Exponentially distributed: a Poisson process
    #[default]
    Poisson,
    /// Heavy-tailed (index 1.5): most leave soon, some stay for ever
    Pareto,
}

/// A network and what happens to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Hosts
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub nodes: u32,
    /// Link structure that neighbours are drawn through
    #[arg(long, value_enum, default_value_t)]
    pub dht: Dht,
    /// What the links are like
    #[arg(long, value_enum, default_value_t)]
    pub links: Links,
    /// How much of the protocol is simulated
    #[arg(long, value_enum, default_value_t)]
    pub fidelity: Fidelity,
    /// Share of the hosts that is replaced by newcomers each minute
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub churn: f64,
    /// How long hosts stay if they are replaced
    #[arg(long, value_enum, default_value_t)]
    pub sessions: Sessions,
    /// Share of the hosts that collude
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub malicious: f64,
    /// What they do
    #[arg(long, value_enum, default_value_t)]
    pub attack: Attack,
    /// Share of the hosts that know the true frequency, and that all others trust with it
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub references: f64,
    /// Rounds to simulate; each neighbour is asked once a round by a settled node
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub rounds: u32,
    /// Length of a round
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub round: Nanos,
    /// The same for a node that is not settled
    #[arg(long, value_name = "TIME", default_value = "200ms")]
    pub fast: Nanos,
    /// Decides everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Neighbours of each node
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub neighbours: usize,
    /// How a node combines its neighbours: default, median, trimmed-mean and others
    #[arg(long, value_name = "NAME", default_value_t)]
    #[serde(with = "by_name")]
    pub strategy: CombineKind,
    /// Near peers of each node in its own data centre, besides its neighbours (with links `sites`)
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub near: usize,
    /// Clocks start off by up to ± this
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub offset: Nanos,
    /// The two directions of each path differ by up to ± this share of it
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub asymmetry: f64,
    /// The two directions of each host's access line differ by up to ± this
    #[arg(long, value_name = "TIME", default_value = "0ns")]
    pub access_asymmetry: Nanos,
    /// Share of the packets that is lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.005)]
    pub loss: f64,
    /// Routes change now and then
    #[arg(long)]
    pub routes: bool,
    /// Frequencies are within ± this
    #[arg(long, value_name = "FREQUENCY", default_value = "50ppm")]
    pub drift: Fraction,
    /// Random walk of the frequencies, per √s
    #[arg(long, value_name = "FREQUENCY", default_value = "1ppb")]
    pub wander: Fraction,
    /// Flicker floor of the frequencies
    #[arg(long, value_name = "FREQUENCY", default_value = "0ppb")]
    pub flicker: Fraction,
    /// A working neighbour is exchanged for a fresh one this often
    #[arg(long, value_name = "TIME", default_value = "10min")]
    pub rotate: Nanos,
    /// Something that happens to many hosts: flash-crowd=SHARE@ROUND, mass-exit=SHARE@ROUND,
    /// partition=SHARE@FROM-UNTIL, warmth=FREQUENCY@FROM-UNTIL; may be given again
    #[arg(long = "happening", value_name = "WHAT")]
    #[serde(default)]
    pub happenings: Vec<Happening>,
    /// Threads; all there are unless said otherwise. The result does not depend on it
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    pub threads: Option<NonZeroUsize>,
}

impl Default for Plan {
    /// What the command line has if nothing is said.
    fn default() -> Self {
        Self {
            nodes: 1_000,
            dht: Dht::default(),
            links: Links::default(),
            fidelity: Fidelity::default(),
            churn: 0.0,
            sessions: Sessions::default(),
            malicious: 0.0,
            attack: Attack::default(),
            references: 0.0,
            rounds: 60,
            round: Nanos(1e9),
            fast: Nanos(200e6),
            seed: 1,
            neighbours: 32,
            strategy: CombineKind::Default,
            near: 3,
            offset: Nanos(1e9),
            asymmetry: 0.05,
            access_asymmetry: Nanos(0.0),
            loss: 0.005,
            routes: false,
            drift: Fraction(50e-6),
            wander: Fraction(1e-9),
            flicker: Fraction(0.0),
            rotate: Nanos(600e9),
            happenings: Vec::new(),
            threads: None,
        }
    }
}

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There have to be neighbours.
    #[error("{0} nodes are no network: at least 2")]
    TooFew(u32),
    /// A share is no share.
    #[error("--{0} is a share: from 0 to 1")]
    Share(&'static str),
    /// More neighbours than a node can have.
    #[error("{0} neighbours: from 1 to {most}", most = parisync::consensus::MAX_READINGS)]
    Neighbours(usize),
    /// The lean model knows nothing of it.
    #[error("--fidelity round knows no --happening and no --references: take exchange")]
    Lean,
    /// Nobody is left to be one.
    #[error("references are honest: --references and --malicious are more than all hosts")]
    NoReferences,
    /// Rounds shorter than nodes can keep.
    #[error("--{0} is too short: at least 10ms")]
    Short(&'static str),
}

/// The shortest time between polls that a node keeps, ns.
const LEAST: f64 = 10e6;

/// Peers that a host knows besides its neighbours, so that it can exchange one.
const SPARE: usize = 4;

impl Plan {
    /// Whether it can be carried out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.nodes < 2 {
            return Err(PlanError::TooFew(self.nodes));
        }
        for (name, share) in [
            ("churn", self.churn),
            ("malicious", self.malicious),
            ("references", self.references),
            ("asymmetry", self.asymmetry),
            ("loss", self.loss),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(PlanError::Share(name));
            }
        }
        if !(1..=parisync::consensus::MAX_READINGS).contains(&self.neighbours) {
            return Err(PlanError::Neighbours(self.neighbours));
        }
        if self.references() > self.honest() {
            return Err(PlanError::NoReferences);
        }
        if self.fidelity == Fidelity::Round
            && (!self.happenings.is_empty() || self.references() > 0)
        {
            return Err(PlanError::Lean);
        }
        for (name, span) in [("round", self.round), ("fast", self.fast)] {
            if span.0 < LEAST {
                return Err(PlanError::Short(name));
            }
        }
        Ok(())
    }

    /// What each node is told.
    pub(super) fn node(&self) -> NodeConfig {
        let poll = self.round.span();
        let near = if self.links == Links::Sites {
            self.near
        } else {
            0
        };
        NodeConfig {
            neighbours: self.neighbours,
            near,
            inbound: 0,
            candidates: self.neighbours + near + SPARE,
            poll,
            fast_poll: self.fast.span().min(poll),
            burst: 1,
            rotate: self.rotate.span(),
            ..NodeConfig::default()
        }
    }

    /// What the oscillators are like.
    pub(super) fn oscillator(&self) -> OscillatorModel {
        OscillatorModel {
            drift: self.drift,
            wander: self.wander,
            flicker: self.flicker,
            white: Fraction(0.0),
        }
    }

    /// Ticks in a round: a node never has to wait longer than its fastest poll.
    pub(super) fn ticks(&self) -> u32 {
        let fast = self.fast.0.min(self.round.0);
        (self.round.0 / fast).round().max(1.0) as u32
    }

    /// Length of a tick, ns.
    pub(super) fn tick(&self) -> i64 {
        (self.round.0 / f64::from(self.ticks())) as i64
    }

    /// Threads to use.
    pub(super) fn threads(&self) -> usize {
        let all = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.threads.unwrap_or(all).get()
    }

    /// How neighbours are found.
    pub(super) fn draw(&self) -> Box<dyn Draw> {
        match self.dht {
            Dht::Uniform => Box::new(Uniform { hosts: self.nodes }),
            dht => Box::new(Structured::new(dht, self.nodes, self.seed)),
        }
    }

    /// How many hosts are malicious.
    pub(super) fn liars(&self) -> u32 {
        (self.malicious * f64::from(self.nodes)).round() as u32
    }

    /// How many are not; they are the first.
    pub(super) fn honest(&self) -> u32 {
        self.nodes - self.liars()
    }

    /// How many of these are references; they are the first of all.
    pub(super) fn references(&self) -> u32 {
        (self.references * f64::from(self.nodes)).round() as u32
    }
}

/// Strategies in files go by their names.
mod by_name {
    use parisync::consensus::strategies::CombineKind;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(kind: &CombineKind, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(kind.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<CombineKind, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

//! TOML to a checked configuration.
//!
//! An empty file is valid. A key there is not is refused with the nearest one there is; every
//! error is one line that says what, where (`file:line:column`) and what to do.
//! `docs/operations.md` explains each key, `scripts/parisync.toml` shows all of them.

mod check;
mod choice;
mod document;
mod duration;
mod error;
mod paths;
mod read;
mod schema;
mod settings;
mod target;

pub use choice::UnknownWord;
pub use duration::{DurationText, ParseDurationError};
pub use error::{ConfigError, Place};
pub use paths::{SYSTEM_SOCKET, SYSTEM_STATE};
pub use schema::{SECTIONS, SectionKeys, nearest};
pub use settings::{
    ConsensusConfig, DEFAULT_DHT_PORT, DhtConfig, DisciplineConfig, ExchangeConfig,
    InterfaceConfig, OscillatorSpec, PacketPath, RawSource, ReferenceConfig, Stamps, StepPolicy,
    Topology, TransportConfig, TrueFrequency, UnknownRawSource, VirtualOscillator, Wait,
};
pub use target::{Target, UnknownTarget};

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::engine::{DEFAULT_TIME_PORT, PeerAddress};
use crate::node::{Lie, Strategies};

/// The largest file read as a configuration, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// Everything the daemon is told, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of the network; nodes of other networks are not heard.
    pub network: String,
    /// Where the time socket listens; see [`Config::listen_candidates`].
    pub listen: SocketAddr,
    /// Peers named beforehand, by their time port.
    pub peers: Vec<PeerAddress>,
    /// Nodes through which the distributed hash table is joined, by their DHT port.
    pub bootstrap: Vec<PeerAddress>,
    /// The link structure of the distributed hash table; the same on all nodes of a network.
    pub topology: Topology,
    /// Whether peers are looked for on the local network.
    pub lan: bool,
    /// The distributed hash table.
    pub dht: DhtConfig,
    /// What is steered and how.
    pub discipline: DisciplineConfig,
    /// What is known of this host's oscillator.
    pub oscillator: OscillatorSpec,
    /// The oscillator under [`Target::Virtual`].
    pub virtual_oscillator: VirtualOscillator,
    /// How often neighbours are asked.
    pub exchange: ExchangeConfig,
    /// What is taken for granted of the neighbours.
    pub consensus: ConsensusConfig,
    /// Who knows the true frequency.
    pub reference: ReferenceConfig,
    /// How time is made of what is measured.
    pub strategies: Strategies,
    /// How packets are stamped and waited for.
    pub transport: TransportConfig,
    /// Where identity, drift and known peers are kept.
    pub state_dir: PathBuf,
    /// Where the control socket is.
    pub control_socket: PathBuf,
    /// Whether there is a control socket at all.
    pub control: bool,
    /// The user to become after set-up when started as root.
    pub user: Option<String>,
    /// What is logged, in the syntax of `tracing_subscriber`'s `EnvFilter`.
    pub log: String,
    /// What an experiment makes the node tell others instead of the truth.
    pub testing: Lie,
    /// One `poll(2)` loop instead of threads; peers come from the static list only.
    pub single_thread: bool,
}

impl Default for Config {
    fn default() -> Self {
        let (state_dir, control_socket) = paths::with_surroundings(|here| {
            let state_dir = here.state_dir();
            let control_socket = here.control_socket(&state_dir);
            (state_dir, control_socket)
        });
        Self {
            network: "parisync".to_owned(),
            listen: (Ipv6Addr::UNSPECIFIED, DEFAULT_TIME_PORT).into(),
            peers: Vec::new(),
            bootstrap: Vec::new(),
            topology: Topology::Libp2p,
            lan: true,
            dht: DhtConfig::default(),
            discipline: DisciplineConfig::default(),
            oscillator: OscillatorSpec::default(),
            virtual_oscillator: VirtualOscillator::default(),
            exchange: ExchangeConfig::default(),
            consensus: ConsensusConfig::default(),
            reference: ReferenceConfig::default(),
            strategies: Strategies::default(),
            transport: TransportConfig::default(),
            state_dir,
            control_socket,
            control: true,
            user: None,
            log: "info".to_owned(),
            testing: Lie::default(),
            single_thread: false,
        }
    }
}

impl Config {
    /// Reads and checks `file`.
    ///
    /// # Errors
    /// One line on the first thing that is wrong.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            file: file.to_owned(),
            source,
        };
        let opened = File::open(file).map_err(unreadable)?;
        if opened.metadata().map_err(unreadable)?.is_dir() {
            let file = file.to_owned();
            return Err(ConfigError::Directory { file });
        }
        let mut bytes = Vec::new();
        let mut limited = opened.take(MAX_FILE + 1);
        limited.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(ConfigError::TooLarge {
                file: file.to_owned(),
                limit: MAX_FILE,
            });
        }
        match str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, file),
            Err(error) => {
                let lossy = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let place = Place::of(file, &lossy, lossy.len());
                Err(ConfigError::NotText { place })
            }
        }
    }

    /// Reads and checks `text`; messages call it `file`.
    ///
    /// # Errors
    /// One line on the first thing that is wrong.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        read::read(document::Source { file, text })
    }

    /// Settles what follows from other settings; for those who change a configuration after it
    /// was read.
    ///
    /// # Errors
    /// What does not go together.
    pub fn settle(&mut self) -> Result<(), ConfigError> {
        if self.single_thread {
            // Engines have threads of their own.
            self.lan = false;
            self.dht.enabled = false;
        }
        let (time, dht) = (self.listen, self.dht.listen);
        if self.dht.enabled && time.port() == dht.port() && time.port() != 0 {
            let overlap =
                time.ip() == dht.ip() || time.ip().is_unspecified() || dht.ip().is_unspecified();
            if overlap {
                return Err(ConfigError::Conflict(format!(
                    "`listen` ({time}) and `dht.listen` ({dht}) are the same UDP port; \
                     give them different ones"
                )));
            }
        }
        if let Some(why) = self.bound_oscillator() {
            return Err(ConfigError::Conflict(format!("`oscillator.clock` {why}")));
        }
        match self.circular() {
            Some(circle) => Err(ConfigError::Conflict(format!(
                "`reference.source` {circle}"
            ))),
            None => Ok(()),
        }
    }

    /// Why the clock that everything is estimated against would not run free.
    fn bound_oscillator(&self) -> Option<&'static str> {
        match (&self.oscillator.clock, &self.discipline.target) {
            (RawSource::Card(card), Target::Card(steered)) if steered == card => Some(
                "is the card that `discipline.target` steers, and has to run free: steer another clock, \
                 such as a virtual one on this card (`echo 1 > /sys/class/ptp/ptpN/n_vclocks`)",
            ),
            _ => None,
        }
    }

    /// Why what is to be the true frequency would be our own.
    fn circular(&self) -> Option<&'static str> {
        let circular = self.reference.source == TrueFrequency::System
            && self.discipline.target == Target::System;
        circular.then_some(
            "is \"system\", which something else has to steer: set `discipline.target` to something \
             else, such as \"none\"",
        )
    }

    /// The card whose clock is the raw clock, if it is not this host's.
    pub fn raw_card(&self) -> Option<&str> {
        match (&self.oscillator.clock, &self.discipline.target) {
            (RawSource::Host, _) | (_, Target::Virtual) => None,
            (RawSource::Card(card), _) => Some(card),
        }
    }

    /// Settings that have no effect with the others, in words: no error, since a flag may change the
    /// others.
    pub fn idle(&self) -> Vec<String> {
        let DisciplineConfig {
            target,
            pulse_output,
            pps,
            ..
        } = &self.discipline;
        let set = [("pulse_output", pulse_output.is_some()), ("pps", *pps)];
        let idle = set
            .into_iter()
            .filter(|(_, set)| *set && !matches!(target, Target::Card(_)));
        let mut idle: Vec<String> = idle.map(|(key, _)| {
            format!(
                "`discipline.{key}` has no effect with target {target}: it is for the clock of a \
                 card, `target = \"phc:…\"`"
            )
        })
        .collect();
        if self.raw_card().is_none() && self.oscillator.clock != RawSource::Host {
            idle.push(
                "`oscillator.clock` has no effect with target virtual, whose oscillator is `virtual`"
                    .to_owned(),
            );
        }
        let stamped = matches!(self.transport.stamps, Stamps::Auto | Stamps::Hardware);
        if !stamped && self.raw_card().is_some() {
            idle.push(format!(
                "`oscillator.clock` is a card's, and packets are stamped elsewhere (`transport.stamps` is \
                 {}): that is less precise than \"host\"",
                self.transport.stamps
            ));
        }
        idle
    }

    /// The addresses to try for the time socket, in this order: `[::]` takes IPv4 as well, and
    /// where there is no IPv6 `0.0.0.0` does.
    pub fn listen_candidates(&self) -> Vec<SocketAddr> {
        let mut candidates = vec![self.listen];
        if self.listen.ip() == Ipv6Addr::UNSPECIFIED {
            candidates.push((Ipv4Addr::UNSPECIFIED, self.listen.port()).into());
        }
        candidates
    }
}

#[cfg(test)]
mod tests;

//! From a configuration to the blueprint of a node and its sources of peers.

use std::path::{Path, PathBuf};

use hwts::Domain;
use hwts::clock::{CardOscillator, Permission, SystemClock};

use super::ServiceError;
use super::assemble::Blueprint;
use super::cards::{self, Pulses};
use super::clockface::{Clockface, Flaws};
use super::rivals::rivals;
use super::state::StateFile;
use super::transport;
use crate::config::{Config, Target, TrueFrequency};
use crate::engine::{
    LanConfig, LanDiscovery, OverlayConfig, OverlayEngine, PeerSource, Sources, StaticPeers,
};
use crate::link::OscillatorSpec;
use crate::node::NodeConfig;
use crate::security::Identity;
use crate::time::Rate;

/// The identity's file in the state directory.
pub(super) const IDENTITY_FILE: &str = "identity.key";

/// Hosts that a reference answers.
const ASKED: usize = 1_024;

/// Everything a node needs of this host, by configuration; what it is told goes to `record`.
pub(super) fn blueprint(
    config: &Config,
    record: Option<PathBuf>,
) -> Result<Blueprint, ServiceError> {
    let identity = Identity::load_or_create(&config.state_dir.join(IDENTITY_FILE))?;
    let (saved, unusable) = StateFile::new(&config.state_dir).load();
    if let Some(unusable) = unusable {
        tracing::warn!("{unusable}");
    }
    let transport = transport::open(config)?;
    Ok(Blueprint {
        seed: seed(&identity),
        identity,
        network: config.network.clone(),
        node: node_config(config),
        strategies: config.strategies,
        transport,
        clockface: clockface(config)?,
        saved: saved.with_clock_of(config.raw_card()),
        lie: config.testing,
        truth: config.reference.source,
        record,
    })
}

/// How the node behaves, by configuration.
pub(super) fn node_config(config: &Config) -> NodeConfig {
    let default = NodeConfig::default();
    NodeConfig {
        poll: config.exchange.poll,
        burst: config.exchange.burst,
        near: usize::from(config.exchange.near),
        oscillator: OscillatorSpec {
            max_drift: config.oscillator.max_drift,
            wander: config.oscillator.wander.as_fraction(),
        },
        assumed_liars: config.consensus.assumed_liars,
        // A reference is asked by many.
        inbound: match config.reference.source {
            TrueFrequency::None => default.inbound,
            TrueFrequency::Oscillator | TrueFrequency::System => ASKED,
        },
        ..default
    }
}

/// Jitter and draws need not be secret, only different on every node and at every start.
fn seed(identity: &Identity) -> u64 {
    let id = identity.node_id();
    let fold = |seed: u64, byte: &u8| seed.rotate_left(5) ^ u64::from(*byte);
    let start = Domain::Realtime.now() as u64;
    id.as_bytes().iter().fold(start, fold)
}

fn clockface(config: &Config) -> Result<Clockface, ServiceError> {
    for warning in config.idle() {
        tracing::warn!("{warning}");
    }
    let Some(card) = config.raw_card() else {
        return steered(config);
    };
    let named = card.to_owned();
    let other = match &config.discipline.target {
        Target::Card(steered) => Some(steered.clone()),
        _ => None,
    };
    let find = move || {
        let index = cards::device(&named)?;
        match &other {
            Some(steered) if cards::device(steered)? == index => Err(format!(
                "it is the clock to steer ({steered}) as well, and has to run free"
            )),
            _ => Ok(index),
        }
    };
    let oscillator = CardOscillator::open(Box::new(find)).map_err(|why| ServiceError::RawCard {
        card: card.to_owned(),
        why,
    })?;
    let rate = Rate::from_fraction(oscillator.rate());
    tracing::info!(
        "raw clock: /dev/ptp{} ({card}), {:+.3} ppm off this host's",
        oscillator.index(),
        rate.as_ppm()
    );
    // Both may be off by so much.
    if rate.abs().as_fraction() > 2.0 * config.oscillator.max_drift.as_fraction() {
        tracing::warn!(
            "{card} runs too fast or too slow for an oscillator (`oscillator.max_drift_ppm`): who steered \
             it may have left it so; `phc_ctl /dev/ptp{} freq 0` has it run free",
            oscillator.index()
        );
    }
    Ok(steered(config)?.over(oscillator))
}

/// What is steered, on this host's oscillator or a virtual one.
fn steered(config: &Config) -> Result<Clockface, ServiceError> {
    let target = &config.discipline.target;
    Ok(match (target, config.discipline.settings()) {
        (Target::Card(card), Some(settings)) => {
            let named = card.clone();
            let pulses = Pulses {
                output: config.discipline.pulse_output,
                kernel: config.discipline.pps,
            };
            let find = Box::new(move || cards::open_to_steer(&named, pulses));
            let face = Clockface::card(target.to_string(), find, settings);
            face.map_err(|why| ServiceError::Card {
                card: card.clone(),
                why,
            })?
        }
        (Target::System, Some(settings)) => {
            // The discipline finds out by itself, goes on measuring, and says so in the status;
            // this says it before anything else happens.
            if SystemClock::permission() != Permission::Granted {
                tracing::warn!(
                    "no CAP_SYS_TIME: the system clock is measured, not steered; run as root, \
                     give the capability, or use --discipline none"
                );
            } else if !config.discipline.beside_others {
                refuse_rivals(Path::new("/proc"))?;
            }
            Clockface::system(settings)
        }
        (Target::Virtual, Some(settings)) => {
            let bad = &config.virtual_oscillator;
            let flaws = Flaws {
                offset: bad.offset,
                drift: bad.drift,
                wander: bad.wander.as_fraction(),
                seed: bad.seed,
            };
            Clockface::flawed(&flaws, settings)
        }
        (Target::None, _) | (_, None) => Clockface::measuring(),
    })
}

/// An error if another program steers the system clock.
fn refuse_rivals(proc: &Path) -> Result<(), ServiceError> {
    // Without /proc nobody is seen; the discipline still notices what others do.
    let running = rivals(proc).unwrap_or_default();
    match running.into_iter().find(|rival| rival.certain) {
        Some(rival) => Err(ServiceError::Rival { rival }),
        None => Ok(()),
    }
}

/// The sources of peers, most trusted first.
pub(super) fn sources(
    config: &Config,
    secret: [u8; 32],
    time_port: u16,
) -> Result<Sources, ServiceError> {
    let mut sources: Vec<Box<dyn PeerSource>> = Vec::new();
    let trusted = &config.reference.trust;
    if !trusted.is_empty() {
        sources.push(Box::new(StaticPeers::references(trusted.clone())?));
    }
    if !config.peers.is_empty() {
        sources.push(Box::new(StaticPeers::start(config.peers.clone())?));
    }
    if config.lan {
        let lan = LanConfig::new(secret, config.network.clone(), time_port);
        match LanDiscovery::start(lan) {
            Ok(lan) => sources.push(Box::new(lan)),
            // A host without multicast can still use the other sources.
            Err(error) => tracing::warn!("no discovery on the local network: {error}"),
        }
    }
    if config.dht.enabled {
        match config.topology.structure() {
            Some(structure) => {
                let engine = OverlayEngine::start(OverlayConfig {
                    structure,
                    secret,
                    network: config.network.clone(),
                    listen: config.dht.listen,
                    time_port,
                    bootstrap: config.bootstrap.clone(),
                })?;
                tracing::info!("{} on {}", structure.name(), engine.local_addr());
                sources.push(Box::new(engine));
            }
            None => sources.extend(dht(config, secret, time_port)?),
        }
    }
    Ok(Sources::new(sources))
}

#[cfg(feature = "dht")]
fn dht(
    config: &Config,
    secret: [u8; 32],
    time_port: u16,
) -> Result<Option<Box<dyn PeerSource>>, ServiceError> {
    use crate::engine::{Dht, DhtConfig, DhtTuning};
    let dht = Dht::start(DhtConfig {
        secret,
        network: config.network.clone(),
        listen: config.dht.listen,
        time_port,
        bootstrap: config.bootstrap.clone(),
        tuning: DhtTuning::default(),
    })?;
    tracing::info!("DHT on {}", dht.local_addr());
    Ok(Some(Box::new(dht)))
}

#[cfg(not(feature = "dht"))]
fn dht(
    config: &Config,
    _secret: [u8; 32],
    _time_port: u16,
) -> Result<Option<Box<dyn PeerSource>>, ServiceError> {
    if config.bootstrap.is_empty() {
        Ok(None)
    } else {
        Err(ServiceError::NoDht)
    }
}

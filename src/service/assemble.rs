//! From a description of a node to its parts.

use std::path::PathBuf;
use std::sync::Arc;

use hwts::clock::{RawClock, VirtualReader};
use hwts::transport::AnyTransport;

use super::board::{Board, BoardReader};
use super::cards::CardBoard;
use super::chosen::{Chosen, each};
use super::clockface::Clockface;
use super::core::Core;
use super::local::LocalClock;
use super::port::Port;
use super::steer::Steerer;
use super::truth::SystemRate;
use super::{ServiceError, state::State};
use crate::config::TrueFrequency;
use crate::export::status::ClockReading;
use crate::node::{Lie, NodeConfig, Strategies};
use crate::record::{Header, RawScale, Recorder};
use crate::security::{Identity, Limits, Sessions};
use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::topology::{Candidate, FoundBy};
use crate::wire::NetworkId;

/// Everything a node is made of.
#[derive(Debug)]
pub struct Blueprint {
    /// Who it is.
    pub identity: Identity,
    /// Name of its network.
    pub network: String,
    /// How it behaves.
    pub node: NodeConfig,
    /// How it makes time of what it measures.
    pub strategies: Strategies,
    /// Its time socket, open.
    pub transport: AnyTransport,
    /// Its clocks.
    pub clockface: Clockface,
    /// What it remembers.
    pub saved: State,
    /// What it tells others instead of the truth.
    pub lie: Lie,
    /// What it knows of the true frequency.
    pub truth: TrueFrequency,
    /// Decides its random choices.
    pub seed: u64,
    /// Where all that it is told is to be written down.
    pub record: Option<PathBuf>,
}

/// A node in parts: what the threads, or the one loop, put to work.
pub struct Parts {
    /// Socket and stamps.
    pub port: Port,
    /// Sessions and node.
    pub core: Core,
    /// Where it sees the true frequency, if it does.
    pub truth: Option<SystemRate>,
    /// The clock to steer, if any.
    pub steerer: Option<Steerer>,
    /// Where the virtual clock is published.
    pub board: Board,
    /// What others read of it.
    pub clocks: Clocks,
    /// Who writes the record, if there is one: take it out, and finish it once the core is gone.
    pub recorder: Option<Recorder>,
}

/// The clocks of a node, for any thread to read.
#[derive(Debug, Clone)]
pub struct Clocks {
    /// The raw clock.
    pub raw: RawClock,
    /// The virtual clock.
    pub board: BoardReader,
    /// The disciplined clock, if it is one of our own.
    pub disciplined: Option<VirtualReader>,
    /// How far the raw clock may be off.
    pub cards: Arc<CardBoard>,
}

impl Clocks {
    /// What they show when `CLOCK_MONOTONIC_RAW` reads `mono` nanoseconds: exact for instants
    /// since the last change of any of them.
    pub fn at(&self, mono: i64) -> ClockReading {
        let raw = RawTime::from_nanos(self.raw.at(mono));
        let view = self.board.read();
        let virtual_ns = view.line.at(raw).as_nanos();
        let clock_ns = self.disciplined.as_ref().map(|c| c.at(raw.as_nanos()));
        // The disciplined clock is as good as the virtual one, plus what it is off that.
        let off = clock_ns.map_or(0, |clock| (clock - virtual_ns).saturating_abs());
        let off = off.saturating_add(self.cards.asymmetry().as_nanos());
        let with_offset = |bound: Span| bound.as_nanos().saturating_add(off);
        ClockReading {
            mono_raw_ns: mono,
            virtual_ns,
            clock_ns,
            bound_ns: view.bound_at(raw).map(with_offset),
            statistical_ns: view.statistical_at(raw).map(with_offset),
        }
    }
}

/// Puts a node together.
///
/// # Errors
/// No random bytes for keys, settings of the discipline that make no sense, or a record that cannot
/// be made.
pub fn assemble(blueprint: Blueprint) -> Result<Parts, ServiceError> {
    let Clockface {
        raw,
        card,
        start,
        steered,
    } = blueprint.clockface;
    let local = match card {
        Some(card) => LocalClock::over(card),
        None => LocalClock::new(raw.clone()),
    };
    let now = local.now();
    let identity = &blueprint.identity;
    let network = NetworkId::from_name(&blueprint.network);
    let rate = blueprint.saved.oscillator.unwrap_or(Rate::ZERO);
    let line = VirtualLine::new(now, start, rate);
    let config = blueprint.node.checked();
    let (inbound, max_drift) = (config.inbound, config.oscillator.max_drift);
    let strategies = blueprint.strategies;
    let (recorder, tape) = match &blueprint.record {
        Some(path) => {
            let scale = match raw {
                RawClock::Monotonic => RawScale::MonotonicRaw,
                RawClock::Card(_) => RawScale::Card,
                RawClock::Oscillator(_) => RawScale::Virtual,
            };
            let header = Header::new(
                identity.node_id(),
                strategies,
                (scale, boot_id()),
                now,
                line,
                blueprint.seed,
                config.clone(),
            );
            let (recorder, tape) = Recorder::start(path, &header)?;
            (Some(recorder), Some(tape))
        }
        None => (None, None),
    };
    let (id, seed) = (identity.node_id(), blueprint.seed);
    let mut node = Chosen::new(strategies, id, config, now, line, seed, tape);
    for peer in &blueprint.saved.peers {
        let saved = Candidate {
            id: peer.id,
            addr: peer.addr,
            found_by: FoundBy::Saved,
        };
        each!(&mut node, node => node.peer_found(saved));
    }
    let limits = Limits {
        max_inbound: Limits::default().max_inbound.max(inbound),
        ..Limits::default()
    };
    let sessions = Sessions::new(identity, network, limits, now).map_err(ServiceError::Sessions)?;
    let mut core = Core::new(id, node, sessions, blueprint.lie);
    if blueprint.truth == TrueFrequency::Oscillator {
        core.truth(Some(Rate::ZERO));
    }
    let truth =
        (blueprint.truth == TrueFrequency::System).then(|| SystemRate::new(raw.clone(), max_drift));
    let (board, reader) = Board::new(core.clock());
    let port = Port::new(blueprint.transport, local);
    let cards = Arc::clone(port.cards());
    let disciplined = steered.as_ref().and_then(|s| s.reader.clone());
    let steerer = steered
        .map(|steered| {
            let saved = blueprint.saved.clock;
            let cards = Arc::clone(port.cards());
            Steerer::new(steered, saved, raw.clone(), reader.clone(), cards)
        })
        .transpose()?;
    Ok(Parts {
        port,
        core,
        truth,
        steerer,
        board,
        clocks: Clocks {
            raw,
            board: reader,
            disciplined,
            cards,
        },
        recorder,
    })
}

/// The kernel's random name of this boot.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

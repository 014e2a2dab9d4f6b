//! The parts of a configuration, checked, with their defaults.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::Serialize;

use super::choice::choice;
use super::target::Target;
use crate::discipline;
use crate::engine::PeerAddress;
use crate::node::NodeConfig;
use crate::time::{Rate, Span};
use crate::topology::overlay::Structure;

/// The UDP port of the distributed hash table where none is named.
pub const DEFAULT_DHT_PORT: u16 = 4712;

choice! {
    /// How datagrams travel between this process and the network card.
    pub enum PacketPath {
        /// By AF_XDP where that is best (no copies, the card's stamps both ways), else by UDP.
        Auto = "auto",
        /// By the kernel's UDP.
        Udp = "udp",
        /// By AF_XDP, past the kernel's network stack, or not at all.
        Xdp = "xdp",
    }
}

choice! {
    /// The link structure through which nodes find each other.
    pub enum Topology {
        /// libp2p's Kademlia over QUIC; needs the `dht` feature of the build.
        Libp2p = "libp2p",
        /// Kademlia of our own.
        Kademlia = "kademlia",
        /// Chord.
        Chord = "chord",
        /// Pastry.
        Pastry = "pastry",
        /// CAN.
        Can = "can",
    }
}

impl Topology {
    /// The structure of our own of this name; [`None`] for libp2p's.
    pub const fn structure(self) -> Option<Structure> {
        match self {
            Self::Libp2p => None,
            Self::Kademlia => Some(Structure::Kademlia),
            Self::Chord => Some(Structure::Chord),
            Self::Pastry => Some(Structure::Pastry),
            Self::Can => Some(Structure::Can),
        }
    }
}

choice! {
    /// Where packets are stamped.
    pub enum Stamps {
        /// By network cards where they can and may, in the kernel elsewhere.
        Auto = "auto",
        /// By network cards; it is an error if none can.
        Hardware = "hardware",
        /// In the kernel's network stack.
        Kernel = "kernel",
        /// In user space, around the system call.
        User = "user",
    }
}

choice! {
    /// How the socket thread waits for packets.
    pub enum Wait {
        /// It sleeps in `poll(2)`.
        Block = "block",
        /// The kernel polls the network card for a while before it sleeps.
        BusyPoll = "busy-poll",
        /// It never sleeps; takes a whole core.
        Spin = "spin",
    }
}

/// The distributed hash table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhtConfig {
    /// Whether peers are looked for through it; with libp2p's structure it needs
    /// the `dht` feature of the build.
    pub enabled: bool,
    /// Where its UDP socket listens.
    pub listen: SocketAddr,
}

impl Default for DhtConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: (Ipv6Addr::UNSPECIFIED, DEFAULT_DHT_PORT).into(),
        }
    }
}

/// When the disciplined clock may jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPolicy {
    /// Smaller offsets are always slewed; [`None`]: what suits the target.
    pub threshold: Option<Span>,
    /// How long after the first agreement it may be stepped; zero forbids it.
    pub startup: Span,
    /// Start-up begins anew after a suspend and after somebody else stepped the clock.
    pub after_interruption: bool,
    /// Step at any time.
    pub while_running: bool,
    /// Later than at start-up, leave a clock alone that is off by more; [`None`]: never.
    pub panic: Option<Span>,
    /// The same at start-up.
    pub startup_panic: Option<Span>,
}

impl Default for StepPolicy {
    fn default() -> Self {
        let policy = discipline::StepPolicy::default();
        let limit = |span| Some(span).filter(|span| *span != Span::MAX);
        Self {
            threshold: None,
            startup: policy.startup,
            after_interruption: policy.after_interruption,
            while_running: policy.while_running,
            panic: limit(policy.panic),
            startup_panic: limit(policy.startup_panic),
        }
    }
}

/// What is steered and how.
#[derive(Debug, Clone, PartialEq)]
pub struct DisciplineConfig {
    /// What is steered.
    pub target: Target,
    /// When it may jump.
    pub step: StepPolicy,
    /// The fastest it is slewed.
    pub max_slew: Rate,
    /// Steer the system clock even if another program that does so runs.
    pub beside_others: bool,
    /// The output of the card by which its clock, the target, pulses each second.
    pub pulse_output: Option<u32>,
    /// The card, whose clock is the target, hands the kernel a pulse each second.
    pub pps: bool,
}

impl Default for DisciplineConfig {
    fn default() -> Self {
        Self {
            target: Target::System,
            step: StepPolicy::default(),
            max_slew: discipline::Settings::system().max_slew,
            beside_others: false,
            pulse_output: None,
            pps: false,
        }
    }
}

impl DisciplineConfig {
    /// The settings of the discipline for this target; [`None`] if nothing is steered.
    pub fn settings(&self) -> Option<discipline::Settings> {
        let defaults = match &self.target {
            Target::System => discipline::Settings::system(),
            Target::Virtual => discipline::Settings::virtual_clock(),
            Target::Card(_) => discipline::Settings::card_clock(),
            Target::None => return None,
        };
        Some(discipline::Settings {
            max_slew: self.max_slew,
            step: discipline::StepPolicy {
                threshold: self.step.threshold.unwrap_or(defaults.step.threshold),
                startup: self.step.startup,
                after_interruption: self.step.after_interruption,
                while_running: self.step.while_running,
                panic: self.step.panic.unwrap_or(Span::MAX),
                startup_panic: self.step.startup_panic.unwrap_or(Span::MAX),
                ..defaults.step
            },
            ..defaults
        })
    }
}

/// The clock that nobody steers, against which everything is estimated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RawSource {
    /// This host's, `CLOCK_MONOTONIC_RAW`.
    #[default]
    Host,
    /// That of a network card, by its interface or its device.
    Card(String),
}

/// The text names no clock that runs free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use one of host, phc:INTERFACE, phc:/dev/ptpN")]
pub struct UnknownRawSource;

impl FromStr for RawSource {
    type Err = UnknownRawSource;

    fn from_str(text: &str) -> Result<Self, UnknownRawSource> {
        match text.parse() {
            Ok(Target::Card(card)) => Ok(Self::Card(card)),
            _ if text == "host" => Ok(Self::Host),
            _ => Err(UnknownRawSource),
        }
    }
}

/// What is known of this host's oscillator; the guaranteed bounds rest on it.
#[derive(Debug, Clone, PartialEq)]
pub struct OscillatorSpec {
    /// Whose it is.
    pub clock: RawSource,
    /// The most its frequency may be off, either way.
    pub max_drift: Rate,
    /// Random walk of its frequency per √s.
    pub wander: Rate,
}

impl Default for OscillatorSpec {
    fn default() -> Self {
        Self {
            clock: RawSource::Host,
            max_drift: Rate::from_ppm(100.0),
            wander: Rate::from_fraction(1e-8),
        }
    }
}

/// The deliberately bad oscillator under `target = "virtual"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VirtualOscillator {
    /// Its phase against `CLOCK_MONOTONIC_RAW` at the start; may be negative.
    pub offset: Span,
    /// Its frequency error.
    pub drift: Rate,
    /// Random walk of its frequency per √s.
    pub wander: Rate,
    /// Seed of the random walk.
    pub seed: u64,
}

impl Default for VirtualOscillator {
    fn default() -> Self {
        Self {
            offset: Span::ZERO,
            drift: Rate::ZERO,
            wander: Rate::ZERO,
            seed: 1,
        }
    }
}

/// How often neighbours are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// Time between two bursts to one neighbour.
    pub poll: Span,
    /// Exchanges in a burst.
    pub burst: u8,
    /// Peers near us to agree with besides, where the neighbours are far away.
    pub near: u8,
}

impl Default for ExchangeConfig {
    fn default() -> Self {
        Self {
            poll: Span::from_secs(1),
            burst: 2,
            near: 3,
        }
    }
}

/// What is taken for granted of the neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConsensusConfig {
    /// Share of the network's nodes that may lie, from 0 to less than one half.
    pub assumed_liars: f64,
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        Self {
            assumed_liars: NodeConfig::default().assumed_liars,
        }
    }
}

choice! {
    /// What makes a host a reference: it knows the true frequency.
    #[derive(Default)]
    pub enum TrueFrequency {
        /// It is none.
        #[default]
        None = "none",
        /// Its oscillator is right: a rubidium clock, a disciplined crystal.
        Oscillator = "oscillator",
        /// Its system clock is, which something else steers: chrony with a GNSS receiver, PTP.
        System = "system",
    }
}

/// Who knows the true frequency.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReferenceConfig {
    /// Whether this host does.
    pub source: TrueFrequency,
    /// Who is trusted with it, by identity and time port.
    pub trust: Vec<PeerAddress>,
}

/// What is special about one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Its name.
    pub name: String,
    /// Whether the stamps of its card are used.
    pub hardware: bool,
    /// Added to its card's transmit stamps.
    pub tx_compensation: Span,
    /// Taken off its card's receive stamps.
    pub rx_compensation: Span,
    /// Transmit stamps asked of its card at once at most; [`None`]: found out.
    pub in_flight: Option<u8>,
}

impl InterfaceConfig {
    /// An interface with nothing special about it.
    pub fn new(name: String) -> Self {
        Self {
            name,
            hardware: true,
            tx_compensation: Span::ZERO,
            rx_compensation: Span::ZERO,
            in_flight: None,
        }
    }
}

/// How packets are stamped and waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportConfig {
    /// How datagrams travel.
    pub path: PacketPath,
    /// The interface for AF_XDP; none for that of the default route.
    pub xdp_interface: Option<String>,
    /// Where packets are stamped.
    pub stamps: Stamps,
    /// What is special about single interfaces.
    pub interfaces: Vec<InterfaceConfig>,
    /// How the socket thread waits.
    pub wait: Wait,
    /// How long the kernel polls the card before it sleeps, with [`Wait::BusyPoll`].
    pub busy_poll: Span,
    /// The CPU the socket thread and the one behind it are pinned to.
    pub cpu: Option<usize>,
    /// The `SCHED_FIFO` priority of the socket thread and the one behind it, 1 to 99.
    pub fifo_priority: Option<u8>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            path: PacketPath::Auto,
            xdp_interface: None,
            stamps: Stamps::Auto,
            interfaces: Vec::new(),
            wait: Wait::Block,
            busy_poll: Span::from_micros(50),
            cpu: None,
            fifo_priority: None,
        }
    }
}

//! Many real nodes in one process, each with a bad oscillator of its own, for the demo.
//!
//! Each node has its own time socket on loopback, its own kernel stamps, its own DHT engine and
//! its own virtual clock over its own virtual oscillator; they know of each other what the network
//! tells them and nothing else. Truth is computed from the oscillators' known functions.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hwts::transport::{AnyTransport, Transport, UdpConfig};

use super::ServiceError;
use super::assemble::{Blueprint, Clocks, assemble};
use super::clockface::{Clockface, Flaws};
use super::daemon::{Daemon, Desk, Scheduling};
use super::state::State;
use super::transport::along;
use crate::config::{PacketPath, Topology, TrueFrequency};
use crate::discipline::Settings;
use crate::engine::{OverlayConfig, OverlayEngine, PeerAddress, PeerSource, Sources};
use crate::node::{Lie, NodeConfig, Strategies};
use crate::security::Identity;
use crate::time::{Span, VirtualTime};
use crate::topology::NodeId;
use crate::topology::overlay::Structure;
use crate::wire::{ClockState, MAX_DATAGRAM};

/// How one node is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// How bad its clock is; the seed also decides its own choices.
    pub flaws: Flaws,
    /// What it tells others instead of the truth.
    pub lie: Lie,
    /// How it makes time of what it measures.
    pub strategies: Strategies,
    /// How its datagrams travel.
    pub path: PacketPath,
}

/// One node of a swarm.
pub struct Member {
    /// Its identity.
    pub id: NodeId,
    /// Its time port.
    pub addr: SocketAddr,
    lie: Lie,
    clocks: Clocks,
    desk: Desk,
}

/// What one node shows at an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Showing {
    /// Its disciplined clock; of a liar, what it tells others.
    pub clock: VirtualTime,
    /// Its virtual clock, if it is synchronized.
    pub network: Option<VirtualTime>,
    /// The bound it guarantees on that clock.
    pub bound: Option<Span>,
    /// The bound that 99.9 % of its errors stay within.
    pub statistical: Option<Span>,
    /// The node's view of itself.
    pub view: crate::node::ClockView,
}

/// Nodes that run.
pub struct Swarm {
    members: Vec<Member>,
    daemons: Vec<Daemon>,
}

/// Name of the network that swarms use among themselves.
const NETWORK: &str = "parisync-demo";

/// A node's identity and open time socket.
struct Seat {
    identity: Identity,
    transport: AnyTransport,
}

impl Seat {
    fn take(path: PacketPath) -> Result<Self, ServiceError> {
        let config = UdpConfig {
            max_datagram: MAX_DATAGRAM,
            ..UdpConfig::new((Ipv4Addr::LOCALHOST, 0).into())
        };
        Ok(Self {
            identity: Identity::generate()?,
            // All nodes live on the loopback interface.
            transport: along(path, Some("lo"), config)?,
        })
    }

    #[cfg(not(feature = "dht"))]
    fn address(&self) -> PeerAddress {
        let addr = self.transport.local_addr();
        PeerAddress {
            id: Some(self.identity.node_id()),
            ..PeerAddress::from(addr)
        }
    }
}

impl Swarm {
    /// Starts one node for each of `plans`. They find each other through this structure, which
    /// the first of them begins; a build without libp2p gives each the list of all instead of it.
    ///
    /// # Errors
    /// No sockets, threads or random bytes to be had.
    pub fn start(plans: &[Plan], topology: Topology) -> Result<Self, ServiceError> {
        let mut swarm = Self {
            members: Vec::with_capacity(plans.len()),
            daemons: Vec::with_capacity(plans.len()),
        };
        let seats: Vec<Seat> = plans
            .iter()
            .map(|plan| Seat::take(plan.path))
            .collect::<Result<_, _>>()?;
        let mut directory = Directory::new(topology, &seats);
        for (plan, seat) in plans.iter().zip(seats) {
            swarm.add(plan, seat, &mut directory)?;
        }
        Ok(swarm)
    }

    /// The nodes.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Pass on what the engines learn; call it a few times a second.
    pub fn attend(&mut self) {
        for daemon in &mut self.daemons {
            daemon.attend();
        }
    }

    fn add(
        &mut self,
        plan: &Plan,
        seat: Seat,
        directory: &mut Directory,
    ) -> Result<(), ServiceError> {
        let engine = directory.engine(&seat)?;
        let Seat {
            identity,
            transport,
        } = seat;
        let (id, addr) = (identity.node_id(), transport.local_addr());
        let parts = assemble(Blueprint {
            identity,
            network: NETWORK.to_owned(),
            node: NodeConfig::default(),
            strategies: plan.strategies,
            transport,
            clockface: Clockface::flawed(&plan.flaws, Settings::virtual_clock()),
            saved: State::default(),
            lie: plan.lie,
            truth: TrueFrequency::None,
            seed: plan.flaws.seed,
            record: None,
        })?;
        let sources = Sources::new(vec![engine]);
        let daemon = Daemon::start(parts, sources, Scheduling::default()).map_err(|source| {
            ServiceError::System {
                what: "threads",
                source,
            }
        })?;
        self.members.push(Member {
            id,
            addr,
            lie: plan.lie,
            clocks: daemon.desk().clocks().clone(),
            desk: daemon.desk().clone(),
        });
        self.daemons.push(daemon);
        Ok(())
    }
}

impl Member {
    /// What it shows when `CLOCK_MONOTONIC_RAW` reads `mono` nanoseconds.
    pub fn showing(&self, mono: i64) -> Showing {
        let reading = self.clocks.at(mono);
        let clock = VirtualTime::from_nanos(reading.clock_ns.unwrap_or(reading.virtual_ns));
        let view = self.clocks.board.read();
        let synchronized = view.state == ClockState::Synchronized;
        Showing {
            clock: clock + self.lie.at(clock),
            network: synchronized.then_some(VirtualTime::from_nanos(reading.virtual_ns)),
            bound: reading.bound_ns.map(Span::from_nanos),
            statistical: reading.statistical_ns.map(Span::from_nanos),
            view,
        }
    }

    /// Its counters, if it answers.
    pub fn counters(&self) -> Option<crate::export::status::Counters> {
        Some(self.desk.status()?.tracking.counters)
    }
}

/// How long the swarm may go without being attended.
pub const ATTEND: Duration = Duration::from_millis(100);

/// How the nodes find each other.
struct Directory {
    structure: Option<Structure>,
    /// Where the structure is joined; empty before its first node is there.
    bootstrap: Vec<PeerAddress>,
    /// The list of all nodes, for a build without libp2p.
    #[cfg(not(feature = "dht"))]
    all: Vec<PeerAddress>,
}

impl Directory {
    #[cfg_attr(
        feature = "dht",
        expect(unused_variables, reason = "they find each other")
    )]
    fn new(topology: Topology, seats: &[Seat]) -> Self {
        Self {
            structure: topology.structure(),
            bootstrap: Vec::new(),
            #[cfg(not(feature = "dht"))]
            all: seats.iter().map(Seat::address).collect(),
        }
    }

    fn engine(&mut self, seat: &Seat) -> Result<Box<dyn PeerSource>, ServiceError> {
        let Some(structure) = self.structure else {
            return self.default_engine(seat);
        };
        let engine = OverlayEngine::start(OverlayConfig {
            structure,
            secret: seat.identity.ed25519_secret_bytes(),
            network: NETWORK.to_owned(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            time_port: seat.transport.local_addr().port(),
            bootstrap: self.bootstrap.clone(),
        })?;
        self.open(engine.local_addr());
        Ok(Box::new(engine))
    }

    /// Others join through the first node's address.
    fn open(&mut self, addr: SocketAddr) {
        if self.bootstrap.is_empty() {
            self.bootstrap.push(PeerAddress::from(addr));
        }
    }

    #[cfg(feature = "dht")]
    fn default_engine(&mut self, seat: &Seat) -> Result<Box<dyn PeerSource>, ServiceError> {
        use crate::engine::{Dht, DhtConfig, DhtTuning};
        let dht = Dht::start(DhtConfig {
            secret: seat.identity.ed25519_secret_bytes(),
            network: NETWORK.to_owned(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            time_port: seat.transport.local_addr().port(),
            bootstrap: self.bootstrap.clone(),
            tuning: DhtTuning::default(),
        })?;
        self.open(dht.local_addr());
        Ok(Box::new(dht))
    }

    #[cfg(not(feature = "dht"))]
    fn default_engine(&self, _: &Seat) -> Result<Box<dyn PeerSource>, ServiceError> {
        let peers = crate::engine::StaticPeers::start(self.all.clone())?;
        Ok(Box::new(peers))
    }
}

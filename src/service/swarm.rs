//! Many real nodes in one process, each with a bad oscillator of its own, for the demo.
//!
//! Each node has its own time socket on loopback, its own kernel stamps, its own DHT engine and
//! its own virtual clock over its own virtual oscillator; they know of each other what the network
//! tells them and nothing else. Truth is computed from the oscillators' known functions.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hwts::transport::{UdpConfig, UdpTransport};

use super::ServiceError;
use super::assemble::{Blueprint, Clocks, assemble};
use super::clockface::{Clockface, Flaws};
use super::daemon::{Daemon, Desk, Scheduling};
use super::state::State;
use crate::discipline::Settings;
use crate::engine::{PeerAddress, PeerSource, Sources, StaticPeers};
use crate::node::{Lie, NodeConfig};
use crate::security::Identity;
use crate::time::{Span, VirtualTime};
use crate::topology::NodeId;
use crate::wire::{ClockState, MAX_DATAGRAM};

/// How one node is made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Plan {
    /// How bad its clock is; the seed also decides its own choices.
    pub flaws: Flaws,
    /// What it tells others instead of the truth.
    pub lie: Lie,
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

impl Swarm {
    /// Starts one node for each of `plans`; the first is where the others join.
    ///
    /// # Errors
    /// No sockets, threads or random bytes to be had.
    pub fn start(plans: &[Plan]) -> Result<Self, ServiceError> {
        let mut swarm = Self {
            members: Vec::with_capacity(plans.len()),
            daemons: Vec::with_capacity(plans.len()),
        };
        let mut bootstrap = Vec::new();
        for plan in plans {
            let address = swarm.add(plan, bootstrap.clone())?;
            if bootstrap.is_empty() {
                bootstrap.push(address);
            }
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

    /// Returns where later nodes can join.
    fn add(
        &mut self,
        plan: &Plan,
        bootstrap: Vec<PeerAddress>,
    ) -> Result<PeerAddress, ServiceError> {
        let identity = Identity::generate()?;
        let id = identity.node_id();
        let secret = identity.ed25519_secret_bytes();
        let transport = UdpTransport::open(&UdpConfig {
            max_datagram: MAX_DATAGRAM,
            ..UdpConfig::new((Ipv4Addr::LOCALHOST, 0).into())
        })?;
        let addr = transport.local_addr();
        let parts = assemble(Blueprint {
            identity,
            network: NETWORK.to_owned(),
            node: NodeConfig::default(),
            transport,
            clockface: Clockface::flawed(&plan.flaws, Settings::virtual_clock()),
            saved: State::default(),
            lie: plan.lie,
            seed: plan.flaws.seed,
        })?;
        let (engine, join) = discover(secret, addr, bootstrap)?;
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
        Ok(join)
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

#[cfg(feature = "dht")]
fn discover(
    secret: [u8; 32],
    addr: SocketAddr,
    bootstrap: Vec<PeerAddress>,
) -> Result<(Box<dyn PeerSource>, PeerAddress), ServiceError> {
    use crate::engine::{Dht, DhtConfig, DhtTuning};
    let dht = Dht::start(DhtConfig {
        secret,
        network: NETWORK.to_owned(),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        time_port: addr.port(),
        bootstrap,
        tuning: DhtTuning::default(),
    })?;
    let join = peer_address(dht.local_addr());
    Ok((Box::new(dht), join))
}

/// Without the DHT the first node is known to all; what it knows of them does not spread.
#[cfg(not(feature = "dht"))]
fn discover(
    _secret: [u8; 32],
    addr: SocketAddr,
    bootstrap: Vec<PeerAddress>,
) -> Result<(Box<dyn PeerSource>, PeerAddress), ServiceError> {
    Ok((Box::new(StaticPeers::start(bootstrap)?), peer_address(addr)))
}

fn peer_address(addr: SocketAddr) -> PeerAddress {
    PeerAddress {
        id: None,
        host: crate::engine::Host::Ip(addr.ip()),
        port: addr.port(),
    }
}

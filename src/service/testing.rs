//! Nodes on loopback for the tests of the loops that run them.

use std::net::{Ipv4Addr, SocketAddr};

use hwts::transport::{UdpConfig, UdpTransport};

use super::assemble::{Blueprint, Parts, assemble};
use super::clockface::{Clockface, Flaws};
use super::state::State;
use crate::config::TrueFrequency;
use crate::discipline::Settings;
use crate::engine::{Host, PeerAddress, Sources, StaticPeers};
use crate::node::{Lie, NodeConfig, Strategies};
use crate::security::Identity;
use crate::wire::MAX_DATAGRAM;

/// A node with a bad clock that is steered.
pub(super) fn parts(seed: u64, strategies: Strategies) -> Parts {
    let flaws = Flaws {
        seed,
        ..Flaws::default()
    };
    let config = UdpConfig {
        max_datagram: MAX_DATAGRAM,
        ..UdpConfig::new((Ipv4Addr::LOCALHOST, 0).into())
    };
    let blueprint = Blueprint {
        identity: Identity::generate().unwrap(),
        network: "loops".to_owned(),
        node: NodeConfig::default(),
        strategies,
        transport: UdpTransport::open(&config).unwrap().into(),
        clockface: Clockface::flawed(&flaws, Settings::virtual_clock()),
        saved: State::default(),
        lie: Lie::default(),
        truth: TrueFrequency::None,
        seed,
        record: None,
    };
    assemble(blueprint).unwrap()
}

/// All that knows of `peer`.
pub(super) fn knowing(peer: Option<SocketAddr>) -> Sources {
    let known = peer.map(|peer| PeerAddress {
        id: None,
        host: Host::Ip(peer.ip()),
        port: peer.port(),
    });
    let peers = StaticPeers::start(known.into_iter().collect()).unwrap();
    Sources::new(vec![Box::new(peers)])
}

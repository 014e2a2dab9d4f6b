//! The peers with open connections, and what those connections prove.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::book::Place;
use super::id;
use crate::topology::NodeId;

/// Connected peers; bounded by the limits on connections.
#[derive(Default)]
pub(super) struct Live(HashMap<PeerId, Peer>);

/// A connected peer.
#[derive(Default)]
struct Peer {
    connections: Vec<Connection>,
    identity: Option<(NodeId, Place)>,
    /// Its next identification ends a draw.
    drawn: bool,
}

struct Connection {
    id: ConnectionId,
    remote: SocketAddr,
    since: Instant,
}

impl Live {
    pub(super) fn opened(
        &mut self,
        now: Instant,
        peer: PeerId,
        connection: ConnectionId,
        remote: &Multiaddr,
    ) {
        if let Some(remote) = id::socket_addr(remote) {
            let open = Connection {
                id: connection,
                remote,
                since: now,
            };
            self.0.entry(peer).or_default().connections.push(open);
        }
    }

    /// A connection has ended; how old it was.
    pub(super) fn closed(
        &mut self,
        now: Instant,
        peer: &PeerId,
        connection: ConnectionId,
    ) -> Option<Duration> {
        let entry = self.0.get_mut(peer)?;
        let place = entry
            .connections
            .iter()
            .position(|open| open.id == connection)?;
        let closed = entry.connections.swap_remove(place);
        if entry.connections.is_empty() {
            self.0.remove(peer);
        }
        Some(now.saturating_duration_since(closed.since))
    }

    /// The peer told its time port over one of its connections; where that puts it.
    ///
    /// The address is the connection's. The port in the DHT is too, unless the peer listens at
    /// that very address on another port, having dialled from a socket made for it.
    pub(super) fn identified(
        &mut self,
        peer: &PeerId,
        connection: ConnectionId,
        time_port: u16,
        listens: &[Multiaddr],
    ) -> Option<(NodeId, Place)> {
        let entry = self.0.get_mut(peer)?;
        let remote = entry
            .connections
            .iter()
            .find(|open| open.id == connection)?
            .remote;
        let mut here = listens
            .iter()
            .filter_map(id::socket_addr)
            .filter(|addr| addr.ip() == remote.ip())
            .peekable();
        let port = match here.peek() {
            Some(first) => {
                let first = first.port();
                if here.any(|addr| addr == remote) {
                    remote.port()
                } else {
                    first
                }
            }
            None => remote.port(),
        };
        let place = Place {
            quic: SocketAddr::new(remote.ip(), port),
            time: SocketAddr::new(remote.ip(), time_port),
        };
        entry.identity = Some((id::node_id(peer)?, place));
        entry.identity
    }

    /// A lookup has brought up the peer: who and where it is, if it said so already; otherwise it
    /// is remembered until it does.
    pub(super) fn draw(&mut self, peer: &PeerId) -> Option<(NodeId, Place)> {
        let entry = self.0.get_mut(peer)?;
        entry.drawn = entry.identity.is_none();
        entry.identity
    }

    /// Whether the peer was drawn before it had identified itself; asks once.
    pub(super) fn take_drawn(&mut self, peer: &PeerId) -> bool {
        self.0
            .get_mut(peer)
            .is_some_and(|entry| std::mem::take(&mut entry.drawn))
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;

    fn identified(remote: &str, listens: &[&str]) -> Option<Place> {
        let peer = Keypair::generate_ed25519().public().to_peer_id();
        let (mut live, connection) = (Live::default(), ConnectionId::new_unchecked(1));
        let now = Instant::now();
        live.opened(now, peer, connection, &remote.parse().unwrap());
        let listens: Vec<_> = listens.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(live.draw(&peer), None);
        let identity = live.identified(&peer, connection, 7, &listens)?;
        assert!(live.take_drawn(&peer) && !live.take_drawn(&peer));
        assert_eq!(live.draw(&peer), Some(identity));
        let second = Duration::from_secs(1);
        assert_eq!(live.closed(now + second, &peer, connection), Some(second));
        assert_eq!(live.peers().count(), 0);
        Some(identity.1)
    }

    fn place(quic: &str) -> Option<Place> {
        let quic: SocketAddr = quic.parse().unwrap();
        Some(Place {
            quic,
            time: SocketAddr::new(quic.ip(), 7),
        })
    }

    #[test]
    fn only_observed_addresses_count() {
        let remote = "/ip4/192.0.2.1/udp/5/quic-v1";
        assert_eq!(identified(remote, &[]), place("192.0.2.1:5"));
        assert_eq!(identified(remote, &[remote]), place("192.0.2.1:5"));
        let behind_nat = ["/ip4/10.0.0.1/udp/9/quic-v1"];
        assert_eq!(identified(remote, &behind_nat), place("192.0.2.1:5"));
        let other_socket = ["/ip4/192.0.2.1/udp/9/quic-v1"];
        assert_eq!(identified(remote, &other_socket), place("192.0.2.1:9"));
        assert_eq!(identified("/ip4/192.0.2.1/tcp/5", &[]), None);
    }
}

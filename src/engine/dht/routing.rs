//! Who is in the routing table: libp2p keeps it, we decide.

use std::collections::HashMap;
use std::net::SocketAddr;

use libp2p::PeerId;
use libp2p::kad::{Behaviour, store::MemoryStore};
use libp2p::multiaddr::Protocol;

use super::{diversity, id};

/// Failed dials after which a peer leaves the table; libp2p would keep it for ever.
const STRIKES: u32 = 2;

/// Failed dials of peers in the table that are not connected.
#[derive(Default)]
pub(super) struct Routing(HashMap<PeerId, u32>);

impl Routing {
    /// There is a connection with `peer`.
    pub(super) fn reached(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// A lookup could not reach `peer`, to which there is no connection.
    pub(super) fn missed(&mut self, kad: &mut Behaviour<MemoryStore>, peer: PeerId) {
        let Some(bucket) = kad.kbucket(peer) else {
            return;
        };
        // Peers outside the table do not count, so this stays as small as the table.
        if !bucket
            .iter()
            .any(|entry| *entry.node.key.preimage() == peer)
        {
            self.0.remove(&peer);
            return;
        }
        let strikes = self.0.entry(peer).or_default();
        *strikes += 1;
        if *strikes >= STRIKES {
            self.0.remove(&peer);
            kad.remove_peer(&peer);
        }
    }
}

/// Puts a peer into the table under the one address that was observed, if its subnet has not had
/// its share. Whether the table was empty before.
pub(super) fn admit(kad: &mut Behaviour<MemoryStore>, peer: PeerId, quic: SocketAddr) -> bool {
    let addr = id::multiaddr(quic);
    let full = addr.clone().with(Protocol::P2p(peer));
    let mut bucket = Vec::new();
    if let Some(own) = kad.kbucket(peer) {
        for entry in own.iter() {
            let addrs = &entry.node.value;
            if *entry.node.key.preimage() != peer {
                bucket.extend(id::socket_addr(addrs.first()));
            } else if addrs.len() == 1 && *addrs.first() == full {
                return false;
            }
        }
    }
    // Under a new address it counts anew, and its old one must not linger.
    kad.remove_peer(&peer);
    let mut table = Vec::new();
    for bucket in kad.kbuckets() {
        table.extend(
            bucket
                .iter()
                .filter_map(|entry| id::socket_addr(entry.node.value.first())),
        );
    }
    let first = table.is_empty();
    if !diversity::admits(quic, bucket.into_iter(), table.into_iter()) {
        return false;
    }
    kad.add_address(&peer, addr);
    first
}

/// Peers in the table.
pub(super) fn size(kad: &mut Behaviour<MemoryStore>) -> usize {
    kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::StreamProtocol;
    use libp2p::identity::Keypair;
    use libp2p::kad::Config;

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    fn kad() -> Behaviour<MemoryStore> {
        let own = peer();
        let config = Config::new(StreamProtocol::new("/test"));
        Behaviour::with_config(own, MemoryStore::new(own), config)
    }

    #[test]
    fn a_subnet_cannot_fill_the_table() {
        let mut kad = kad();
        let addr = |a: u8, b: u8| SocketAddr::from(([203, 0, a, b], 1));
        assert!(admit(&mut kad, peer(), addr(1, 1)), "the first");
        for n in 0..200 {
            assert!(!admit(&mut kad, peer(), addr(2, n)));
        }
        assert!(size(&mut kad) <= 11, "{}", size(&mut kad));
        for n in 0..200 {
            admit(&mut kad, peer(), ([10, 0, 0, n], 1).into());
        }
        assert!(size(&mut kad) > 60, "a lab is one subnet by nature");
    }

    #[test]
    fn a_moved_peer_has_one_address_and_a_dead_one_goes() {
        let (mut kad, peer, mut routing) = (kad(), peer(), Routing::default());
        for port in [1, 2, 2] {
            admit(&mut kad, peer, ([127, 0, 0, 1], port).into());
            let bucket = kad.kbucket(peer).unwrap();
            let addrs = bucket.iter().next().unwrap().node.value.clone().into_vec();
            let addrs: Vec<_> = addrs.iter().filter_map(id::socket_addr).collect();
            assert_eq!(addrs, [([127, 0, 0, 1], port).into()]);
        }
        routing.missed(&mut kad, peer);
        routing.reached(&peer);
        routing.missed(&mut kad, peer);
        assert_eq!(size(&mut kad), 1);
        routing.missed(&mut kad, peer);
        assert_eq!(size(&mut kad), 0);
        routing.missed(&mut kad, peer);
        assert!(routing.0.is_empty());
    }
}

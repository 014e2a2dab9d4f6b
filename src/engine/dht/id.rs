//! Between our names and libp2p's: identities and addresses.

use std::net::SocketAddr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, identity};

use crate::topology::NodeId;

/// A peer id of an ed25519 key is the key itself: an identity multihash (code 0, 36 bytes) of the
/// key's protobuf (field 1: type 1; field 2: 32 bytes). libp2p specs, peer-ids.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The node behind a peer id; `None` if its key is of another kind.
pub(super) fn node_id(peer: &PeerId) -> Option<NodeId> {
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&PREFIX)?;
    Some(NodeId::from_bytes(key.try_into().ok()?))
}

/// The peer id of a node; `None` if its id is no point on the curve.
pub(super) fn peer_id(node: &NodeId) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// `/ip…/…/udp/…/quic-v1`.
pub(super) fn multiaddr(addr: SocketAddr) -> Multiaddr {
    Multiaddr::from(addr.ip())
        .with(Protocol::Udp(addr.port()))
        .with(Protocol::QuicV1)
}

/// The socket address in `/ip…/…/udp/…/quic-v1[/p2p/…]`; `None` for anything else, such as names
/// and relays.
pub(super) fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else {
        return None;
    };
    let quic = parts.next()? == Protocol::QuicV1;
    let end = matches!(
        (parts.next(), parts.next()),
        (None | Some(Protocol::P2p(_)), None)
    );
    (quic && end && port != 0).then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_convert_both_ways() {
        let key = identity::Keypair::ed25519_from_bytes([5; 32]).unwrap();
        let dalek = ed25519_dalek::SigningKey::from_bytes(&[5; 32])
            .verifying_key()
            .to_bytes();
        let peer = key.public().to_peer_id();
        assert_eq!(node_id(&peer), Some(NodeId::from_bytes(dalek)));
        assert_eq!(peer_id(&NodeId::from_bytes(dalek)), Some(peer));
        assert_eq!(node_id(&PeerId::random()), None);
        assert_eq!(
            peer_id(&NodeId::from_bytes([2; 32])),
            None,
            "not on the curve"
        );
    }

    #[test]
    fn addresses_convert_both_ways() {
        for text in ["127.0.0.1:9", "[2001:db8::1]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(socket_addr(&multiaddr(addr)), Some(addr));
        }
        for text in [
            "/ip4/127.0.0.1/udp/9",
            "/ip4/127.0.0.1/udp/0/quic-v1",
            "/ip4/127.0.0.1/tcp/9",
            "/dns/localhost/udp/9/quic-v1",
            "/ip4/127.0.0.1/udp/9/quic-v1/p2p-circuit",
        ] {
            assert_eq!(socket_addr(&text.parse().unwrap()), None, "{text}");
        }
    }
}

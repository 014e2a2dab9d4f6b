//! Real sockets on loopback, and what strangers get.

use std::time::Instant;

use super::*;
use crate::topology::NodeId;

const PATIENCE: Duration = Duration::from_secs(60);

fn start(structure: Structure, number: u8, bootstrap: Vec<PeerAddress>) -> OverlayEngine {
    OverlayEngine::start(OverlayConfig {
        structure,
        secret: [number; 32],
        network: "test".into(),
        listen: ([127, 0, 0, 1], 0).into(),
        time_port: 1000 + u16::from(number),
        bootstrap,
    })
    .unwrap()
}

fn id(number: u8) -> NodeId {
    let key = ed25519_dalek::SigningKey::from_bytes(&[number; 32]);
    NodeId::from_bytes(key.verifying_key().to_bytes())
}

#[test]
fn nodes_of_each_structure_find_each_other_and_miss_who_goes() {
    for structure in Structure::ALL {
        let first = start(structure, 1, Vec::new());
        let bootstrap = vec![PeerAddress::from(first.local_addr())];
        let mut engines = vec![first];
        engines.extend((2..=5).map(|n| start(structure, n, bootstrap.clone())));
        let deadline = Instant::now() + PATIENCE;
        for (number, engine) in (1u8..).zip(&mut engines) {
            let mut missing: Vec<_> = (1..=5).filter(|n| *n != number).map(id).collect();
            while !missing.is_empty() {
                assert!(
                    Instant::now() < deadline,
                    "{}: {}",
                    structure.name(),
                    engine.health()
                );
                if let Some(PeerEvent::Found(found)) = engine.poll() {
                    assert!((1001..=1005).contains(&found.addr.port()));
                    missing.retain(|id| *id != found.id);
                } else {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

#[test]
fn an_address_that_is_ones_own_begins_a_network() {
    let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = probe.local_addr().unwrap();
    drop(probe);
    let engine = OverlayEngine::start(OverlayConfig {
        structure: Structure::Can,
        secret: [7; 32],
        network: "test".into(),
        listen,
        time_port: 1,
        bootstrap: vec![PeerAddress::from(listen)],
    })
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !engine.health().starts_with("joined") {
        assert!(Instant::now() < deadline, "{}", engine.health());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn strangers_get_less_than_they_send_and_garbage_gets_nothing() {
    let engine = start(Structure::Chord, 1, Vec::new());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // A query of version 1 whose signature is zeros: nobody looks at it before the cookie.
    let mut query = b"PSOV\x01\x01\x02\x00".to_vec();
    query.extend(tag("test"));
    query.resize(80, 1);
    query[78] = 0;
    query[79] = 0;
    query.resize(80 + 8 + 64, 0);
    let mut buffer = [0; 2000];
    for length in [0, 1, 40, 80, 151] {
        socket
            .send_to(&query[..length], engine.local_addr())
            .unwrap();
    }
    socket.send_to(&query, engine.local_addr()).unwrap();
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(length, 40, "a cookie, and nothing before it");
    assert!(length < query.len());
}

#[test]
fn a_taken_port_and_a_bad_name_are_told() {
    let first = start(Structure::Pastry, 1, Vec::new());
    let mut config = OverlayConfig {
        structure: Structure::Pastry,
        secret: [2; 32],
        network: "test".into(),
        listen: first.local_addr(),
        time_port: 1,
        bootstrap: Vec::new(),
    };
    let text = |config| {
        OverlayEngine::start(config)
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    assert!(text(config.clone()).contains("is the port taken?"));
    config.network = "a b".into();
    assert!(text(config).contains("network name"));
}

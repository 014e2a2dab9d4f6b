//! Two nodes and some garbage on the loopback interface.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::sockets::GROUP_V4;
use super::*;
use crate::topology::{FoundBy, NodeId};

/// A port of its own for each test, so that tests which run at once do not hear each other.
fn config(port: u16, secret: u8) -> LanConfig {
    LanConfig {
        port,
        loopback: true,
        ipv6: false,
        interval: Duration::from_millis(200),
        ..LanConfig::new([secret; 32], "lan-test", 5000 + u16::from(secret))
    }
}

fn id(secret: u8) -> NodeId {
    let key = ed25519_dalek::SigningKey::from_bytes(&[secret; 32]);
    NodeId::from_bytes(key.verifying_key().to_bytes())
}

fn wait_for(lan: &mut LanDiscovery, mut wanted: impl FnMut(&PeerEvent) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        match lan.poll() {
            Some(event) if wanted(&event) => return,
            Some(_) => {}
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("nothing heard in time; {}", lan.health());
}

fn is_found(event: &PeerEvent, secret: u8) -> bool {
    matches!(event, PeerEvent::Found(c) if c.id == id(secret)
        && c.found_by == FoundBy::Lan && c.addr.port() == 5000 + u16::from(secret))
}

#[test]
fn two_nodes_find_each_other_and_part() {
    let mut a = LanDiscovery::start(config(47_131, 1)).unwrap();
    let mut b = LanDiscovery::start(config(47_131, 2)).unwrap();
    wait_for(&mut a, |event| is_found(event, 2));
    wait_for(&mut b, |event| is_found(event, 1));
    a.sample(1);
    wait_for(&mut a, |event| is_found(event, 2));
    drop(b);
    wait_for(&mut a, |event| *event == PeerEvent::Lost(id(2)));
    let _b = LanDiscovery::start(config(47_131, 2)).unwrap();
    wait_for(&mut a, |event| is_found(event, 2));
}

#[test]
fn other_networks_are_not_heard() {
    let mut a = LanDiscovery::start(config(47_132, 1)).unwrap();
    let other = LanConfig {
        network: "other".into(),
        ..config(47_132, 2)
    };
    let _other = LanDiscovery::start(other).unwrap();
    let _third = LanDiscovery::start(config(47_132, 3)).unwrap();
    wait_for(&mut a, |event| {
        assert!(!is_found(event, 2), "a node of another network");
        is_found(event, 3)
    });
}

#[test]
fn garbage_does_nothing() {
    let mut a = LanDiscovery::start(config(47_133, 1)).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    SockRef::from(&socket)
        .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
        .unwrap();
    let mut forged = [0; announcement::LEN];
    forged[..8].copy_from_slice(b"PSLA\x01\x00\x01\x00");
    for len in (0..200).step_by(7).chain([1400]) {
        let _ = socket.send_to(&vec![0x5a; len], (GROUP_V4, 47_133));
        let _ = socket.send_to(&forged[..len.min(forged.len())], (GROUP_V4, 47_133));
    }
    let _b = LanDiscovery::start(config(47_133, 2)).unwrap();
    wait_for(&mut a, |event| {
        assert!(is_found(event, 2), "{event:?}");
        true
    });
    assert_eq!(a.poll(), None);
}

//! Real nodes on the loopback interface.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use super::*;
use crate::topology::Candidate;

const LIMIT: Duration = Duration::from_secs(30);

/// Short waits, so that a node's death is noticed within a test.
fn quick() -> DhtTuning {
    DhtTuning {
        keep_alive: Duration::from_millis(400),
        silence: Duration::from_millis(1500),
        handshake_timeout: Duration::from_secs(1),
        check_every: Duration::from_secs(5),
        check_soon: Duration::from_millis(200),
        checks: 2,
        lookup_every: Duration::from_secs(2),
        ..DhtTuning::default()
    }
}

fn config(network: &str, n: u8, bootstrap: Option<SocketAddr>) -> DhtConfig {
    DhtConfig {
        secret: [n; 32],
        network: network.into(),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        time_port: 10_000 + u16::from(n),
        bootstrap: bootstrap.into_iter().map(PeerAddress::from).collect(),
        tuning: quick(),
    }
}

fn id(n: u8) -> NodeId {
    let key = ed25519_dalek::SigningKey::from_bytes(&[n; 32]);
    NodeId::from_bytes(key.verifying_key().to_bytes())
}

/// Reads a node's news until `done` is content with what it knows.
fn wait(
    dht: &mut Dht,
    known: &mut HashMap<NodeId, Candidate>,
    done: impl Fn(&HashMap<NodeId, Candidate>) -> bool,
) {
    let deadline = Instant::now() + LIMIT;
    while !done(known) {
        assert!(
            Instant::now() < deadline,
            "knows {:?}; {}",
            known.keys(),
            dht.health()
        );
        match dht.poll() {
            Some(PeerEvent::Found(candidate)) => {
                known.insert(candidate.id, candidate);
            }
            Some(PeerEvent::Lost(id)) => {
                known.remove(&id);
            }
            Some(PeerEvent::Contact(addr)) => panic!("contact {addr} from the DHT"),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn eight_nodes_meet_through_one_and_notice_who_leaves_and_returns() {
    let first = Dht::start(config("t8", 1, None)).unwrap();
    let bootstrap = first.local_addr();
    let mut nodes = vec![(1, first)];
    nodes.extend((2..=8).map(|n| (n, Dht::start(config("t8", n, Some(bootstrap))).unwrap())));
    let mut known: Vec<HashMap<NodeId, Candidate>> = vec![HashMap::new(); 8];
    for ((n, dht), known) in nodes.iter_mut().zip(&mut known) {
        wait(dht, known, |known| known.len() == 7);
        for m in (1..=8).filter(|m| m != n) {
            let addr = (Ipv4Addr::LOCALHOST, 10_000 + u16::from(m)).into();
            assert_eq!(known[&id(m)].addr, addr);
        }
        assert_eq!(dht.contacts().len(), 7);
    }

    let (gone, dht) = nodes.pop().unwrap();
    let old_port = dht.local_addr().port();
    drop(dht);
    for ((_, dht), known) in nodes.iter_mut().zip(&mut known) {
        wait(dht, known, |known| !known.contains_key(&id(gone)));
    }

    let mut back = config("t8", gone, Some(bootstrap));
    back.time_port = 20_000;
    let back = Dht::start(back).unwrap();
    assert_ne!(back.local_addr().port(), old_port);
    for ((_, dht), known) in nodes.iter_mut().zip(&mut known) {
        wait(dht, known, |known| {
            known
                .get(&id(gone))
                .is_some_and(|c| c.addr.port() == 20_000)
        });
    }
}

/// Passes datagrams between whoever speaks to it and `to`, as a router with address translation
/// does, until the sender is dropped.
fn relay(to: SocketAddr) -> (SocketAddr, std::sync::mpsc::Sender<()>) {
    let inside = UdpSocket::bind(("127.0.0.2", 0)).unwrap();
    let outside = UdpSocket::bind(("127.0.0.2", 0)).unwrap();
    for socket in [&inside, &outside] {
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
    }
    let addr = inside.local_addr().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        let (mut client, mut buffer) = (None, [0; 2048]);
        while stopped.try_recv() != Err(TryRecvError::Disconnected) {
            if let Ok((len, from)) = inside.recv_from(&mut buffer) {
                client = Some(from);
                let _ = outside.send_to(&buffer[..len], to);
            }
            if let (Ok(len), Some(client)) = (outside.recv(&mut buffer), client) {
                let _ = inside.send_to(&buffer[..len], client);
            }
        }
    });
    (addr, stop)
}

#[test]
fn a_node_that_falls_silent_is_lost() {
    let mut first = Dht::start(config("silent", 1, None)).unwrap();
    let (addr, relay) = relay(first.local_addr());
    let mut second = Dht::start(config("silent", 2, Some(addr))).unwrap();
    let (mut known, mut others) = (HashMap::new(), HashMap::new());
    wait(&mut first, &mut known, |known| known.len() == 1);
    wait(&mut second, &mut others, |known| known.len() == 1);
    drop(relay);
    wait(&mut first, &mut known, |known| known.is_empty());
    wait(&mut second, &mut others, |known| known.is_empty());
}

#[test]
fn a_sample_brings_known_peers_up_again() {
    let mut first = Dht::start(config("sample", 1, None)).unwrap();
    let _second = Dht::start(config("sample", 2, Some(first.local_addr()))).unwrap();
    let mut known = HashMap::new();
    wait(&mut first, &mut known, |known| known.len() == 1);
    known.clear();
    first.sample(3);
    wait(&mut first, &mut known, |known| known.len() == 1);
}

#[test]
fn networks_do_not_mix_and_identities_are_insisted_on() {
    let mut first = Dht::start(config("one", 1, None)).unwrap();
    let addr = first.local_addr();
    let mut stranger = Dht::start(config("two", 2, Some(addr))).unwrap();
    let mut wrong = config("one", 3, None);
    wrong.bootstrap = vec![PeerAddress {
        id: Some(id(9)),
        ..PeerAddress::from(addr)
    }];
    let mut wrong = Dht::start(wrong).unwrap();
    let mut right = config("one", 4, None);
    right.bootstrap = vec![PeerAddress {
        id: Some(id(1)),
        ..PeerAddress::from(addr)
    }];
    let _right = Dht::start(right).unwrap();
    let mut known = HashMap::new();
    wait(&mut first, &mut known, |known| !known.is_empty());
    assert_eq!(
        known.keys().collect::<HashSet<_>>(),
        HashSet::from([&id(4)])
    );
    let deadline = Instant::now() + LIMIT;
    while !wrong
        .health()
        .contains("1 bootstrap addresses do not answer")
    {
        assert!(Instant::now() < deadline, "{}", wrong.health());
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((stranger.poll(), wrong.poll()), (None, None));
}

#[test]
fn starting_fails_with_a_reason() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut bad = config("bad", 1, None);
    bad.listen = taken.local_addr().unwrap();
    assert!(matches!(Dht::start(bad), Err(EngineError::Listen { .. })));
    assert!(matches!(
        Dht::start(config("a/b", 1, None)),
        Err(EngineError::NetworkName(_))
    ));
}

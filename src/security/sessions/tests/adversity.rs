//! What strangers, forgers and repeaters can do: nothing.

use super::harness::{CALM, Datagram, Net, TestRng, addr, sessions};
use crate::security::{Allowance, Identity, Incoming, Limits, PlainBuf, Refusal, Sessions, Usage};
use crate::time::{RawTime, Span};
use crate::wire::{MAX_DATAGRAM, NetworkId};
use proptest::prelude::*;
use rand_core::RngCore;
use std::net::SocketAddr;

/// Hands `bytes` to `sessions` and checks that at most one answer comes, not longer than `bytes`.
fn offer(
    sessions: &mut Sessions,
    now: RawTime,
    from: SocketAddr,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, Refusal> {
    let mut out = [0; MAX_DATAGRAM];
    let mut plain = PlainBuf::default();
    let result = sessions.handle(now, from, bytes, &mut plain).map(|_| ());
    let answer = sessions.poll_transmit(&mut out).map(|(len, to)| {
        assert_eq!(to, from);
        assert!(
            len <= bytes.len(),
            "{len} bytes in answer to {}",
            bytes.len()
        );
        out[..len].to_vec()
    });
    assert!(sessions.poll_transmit(&mut out).is_none());
    assert!(result.is_ok() || answer.is_none());
    result.map(|()| answer)
}

/// A node that has live sessions, half-done handshakes of both kinds, and all that went over the
/// wire to it meanwhile.
fn busy() -> (Net, Vec<Datagram>) {
    let mut net = Net::new(5, Limits::default(), CALM, 5);
    net.connect(0, 1);
    net.run(Span::from_secs(1));
    net.send(1, 0, 1);
    net.send(0, 1, 1);
    net.run(Span::from_secs(1));
    net.nodes[0].sessions.connect(net.now, addr(99), None);
    net.drain(0);
    net.connect(2, 0);
    net.connect(0, 3);
    net.connect(4, 0);
    net.run(Span::from_millis(3));
    let to_us = net.log.iter().filter(|d| d.to == addr(0)).cloned();
    let to_us = to_us.collect();
    (net, to_us)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_answer_is_longer_than_its_cause(seed: u64) {
        let (mut net, seen) = busy();
        let mut rng = TestRng(seed);
        let now = net.now;
        let node = &mut net.nodes[0].sessions;
        for _ in 0..60 {
            let pick = &seen[rng.next_u64() as usize % seen.len()];
            let mut bytes = pick.bytes.clone();
            match rng.next_u64() % 4 {
                0 => {
                    bytes.resize(rng.next_u64() as usize % 600, 0);
                    rng.fill_bytes(&mut bytes);
                }
                1 => {
                    let bit = rng.next_u64() as usize % (bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                2 => bytes.truncate(rng.next_u64() as usize % bytes.len()),
                _ => {}
            }
            let from = [pick.from, addr(rng.next_u64() as usize % 9)][rng.next_u64() as usize % 2];
            let _ = offer(node, now, from, &bytes);
        }
    }

    #[test]
    fn noise_on_the_wire_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let now = RawTime::from_nanos(0);
        let mut node = sessions(1, Limits::default(), now);
        prop_assert!(offer(&mut node, now, addr(1), &bytes).is_err());
    }
}

#[test]
fn every_flipped_bit_and_every_repetition_of_a_time_packet_is_refused() {
    let mut net = Net::pair(Limits::default());
    net.send(0, 1, 42);
    let genuine = net.wire.pop().unwrap();
    let (id, now) = (net.nodes[0].id(), net.now);
    let before: Usage = net.nodes[1].sessions.usage();
    for bit in 0..genuine.bytes.len() * 8 {
        let mut forged = genuine.bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        // From elsewhere, so that an accepted forgery would also move the peer.
        let answer = offer(&mut net.nodes[1].sessions, now, addr(66), &forged);
        assert!(answer.is_err(), "bit {bit}: {answer:?}");
    }
    assert_eq!(net.nodes[1].sessions.usage(), before);
    assert_eq!(net.nodes[1].sessions.peer_addr(&id), Some(addr(0)));
    net.deliver(&genuine);
    assert_eq!(net.nodes[1].inbox, [(id, 42)]);
    for from in [addr(0), addr(66)] {
        let again = offer(&mut net.nodes[1].sessions, now, from, &genuine.bytes);
        assert_eq!(again, Err(Refusal::Replay));
    }
    assert_eq!(net.nodes[1].sessions.peer_addr(&id), Some(addr(0)));
}

#[test]
fn forgeries_that_overtake_every_handshake_datagram_do_not_stop_it() {
    let mut net = Net::new(2, Limits::default(), CALM, 1);
    let mut rng = TestRng(7);
    net.connect(0, 1);
    for _ in 0..200 {
        let Some(genuine) = net.wire.pop() else { break };
        for _ in 0..3 {
            let mut forged = genuine.clone();
            let bit = rng.next_u64() as usize % (8 * forged.bytes.len());
            forged.bytes[bit / 8] ^= 1 << (bit % 8);
            net.deliver(&forged);
        }
        net.now += Span::from_millis(1);
        net.deliver(&genuine);
    }
    net.run(Span::from_secs(5));
    assert_eq!(net.nodes[0].established().len(), 1);
    assert_eq!(net.nodes[1].established().len(), 1);
}

#[test]
fn repeating_a_whole_conversation_changes_nothing() {
    let mut net = Net::pair(Limits::default());
    net.send(0, 1, 1);
    net.send(1, 0, 1);
    net.run(Span::from_secs(30));
    let (conversation, now) = (net.log.clone(), net.now);
    let before: Vec<Usage> = net.nodes.iter().map(|n| n.sessions.usage()).collect();
    for datagram in &conversation {
        let n = usize::from(datagram.to == addr(1));
        let answer = offer(
            &mut net.nodes[n].sessions,
            now,
            datagram.from,
            &datagram.bytes,
        );
        // A cookie, a fresh answer to the opening, the confirmation once more; never a message.
        assert!(!matches!(answer, Ok(Some(bytes)) if ![2, 3, 5].contains(&bytes[3])));
    }
    let after: Vec<Usage> = net.nodes.iter().map(|n| n.sessions.usage()).collect();
    // The opening with its cookie is still fresh and may begin one handshake that leads nowhere.
    assert!(after[1].pending <= before[1].pending + 1);
    assert_eq!(after[1].sessions, before[1].sessions);
    assert_eq!(after[0], before[0]);
    for node in &mut net.nodes {
        assert_eq!(node.sessions.poll_event(), None);
    }
    net.run(Span::from_secs(20));
    assert_eq!(net.nodes[1].sessions.usage().pending, 0);
}

#[test]
fn strangers_without_a_cookie_cost_no_memory() {
    let now = RawTime::from_nanos(0);
    let mut node = sessions(1, Limits::default(), now);
    let before = node.usage();
    let mut stranger = sessions(2, Limits::default(), now);
    stranger.connect(now, addr(1), None);
    let mut init = [0; MAX_DATAGRAM];
    let (len, _) = stranger.poll_transmit(&mut init).unwrap();
    let mut cookies = 0;
    for n in 0..20_000_u32 {
        let from = SocketAddr::from((n.to_be_bytes(), 123));
        init[30..34].copy_from_slice(&n.to_le_bytes());
        if let Ok(Some(_)) = offer(&mut node, now, from, &init[..len]) {
            cookies += 1;
        }
        assert_eq!(node.usage(), before);
    }
    assert_eq!(cookies, 20_000);
    assert_eq!(node.next_timeout(), None);
}

#[test]
fn one_source_is_limited_and_the_tables_hold_against_a_crowd() {
    let limits = Limits {
        max_inbound: 4,
        max_pending: 6,
        handshakes_per_source: Allowance {
            per_second: 1,
            burst: 3,
        },
        answers_per_source: Allowance {
            per_second: 1,
            burst: 20,
        },
        ..Limits::default()
    };
    let mut now = RawTime::from_nanos(0);
    let mut node = sessions(1, limits, now);
    let mut begin = |from: SocketAddr, seed: u8| -> Result<(Sessions, Vec<u8>), Refusal> {
        let mut stranger = Sessions::with_rng(
            &Identity::from_secret(&[seed; 32]),
            NetworkId::default(),
            Limits::default(),
            now,
            Box::new(TestRng(u64::from(seed))),
        )
        .unwrap();
        stranger.connect(now, addr(1), None);
        now += Span::from_millis(1);
        let mut out = [0; MAX_DATAGRAM];
        let (len, _) = stranger.poll_transmit(&mut out).unwrap();
        let retry = offer(&mut node, now, from, &out[..len])?.unwrap();
        let init = offer(&mut stranger, now, addr(1), &retry).unwrap().unwrap();
        let response = offer(&mut node, now, from, &init)?.unwrap();
        assert!(node.usage().pending <= 6 && node.usage().peers <= 4);
        let finish = offer(&mut stranger, now, addr(1), &response).unwrap();
        Ok((stranger, finish.unwrap()))
    };
    // Ports of one host are one source: three handshakes, then no more.
    let begun =
        (1..=6).filter(|n| begin(SocketAddr::from(([10, 9, 9, 9], *n)), *n as u8 + 50).is_ok());
    assert_eq!(begun.count(), 3);
    // Many hosts: the table of pending handshakes stays full and no more.
    let finishes: Vec<_> = (10..20)
        .map(|n| (addr(n), begin(addr(n), n as u8).unwrap().1))
        .collect();
    assert_eq!(node.usage().pending, 6);
    let mut results = Vec::new();
    for (from, finish) in &finishes {
        results.push(offer(&mut node, now, *from, finish).map(|answer| answer.is_some()));
    }
    let count = |result| results.iter().filter(|r| **r == result).count();
    assert_eq!(count(Ok(true)), 4);
    assert_eq!(count(Err(Refusal::Full)), 2);
    assert_eq!(count(Err(Refusal::UnknownSession)), 4);
    assert_eq!(node.usage().sessions, 4);
}

#[test]
fn a_flood_does_not_disturb_a_session() {
    let mut net = Net::pair(Limits::default());
    let mut rng = TestRng(9);
    let known: Vec<Datagram> = net.log.clone();
    for round in 0..20 {
        for _ in 0..200 {
            let mut datagram = known[rng.next_u64() as usize % known.len()].clone();
            let at = rng.next_u64() as usize % datagram.bytes.len();
            datagram.bytes[at] = rng.next_u64() as u8;
            datagram.from = addr(rng.next_u64() as usize % 500);
            let mut plain = PlainBuf::default();
            let got =
                net.nodes[1]
                    .sessions
                    .handle(net.now, datagram.from, &datagram.bytes, &mut plain);
            assert!(!matches!(got, Ok(Incoming::Message { .. })));
        }
        net.drain(1);
        net.send(0, 1, round);
        net.run(Span::from_millis(500));
    }
    assert_eq!(net.nodes[1].inbox.len(), 20);
    assert_eq!(net.nodes[1].sessions.usage().peers, 1);
}

#[test]
fn a_crowd_cannot_keep_peers_from_changing_keys() {
    let limits = Limits {
        handshakes_in_all: Allowance {
            per_second: 1,
            burst: 2,
        },
        rekey_after: Span::from_secs(60),
        ..Limits::default()
    };
    let mut net = Net::new(3, limits, CALM, 1);
    net.connect(0, 1);
    net.run(Span::from_secs(58));
    assert_eq!(net.nodes[1].established().len(), 1);
    let used = |net: &Net| net.log.iter().filter(|d| d.bytes[3] == 3).count();
    let before = used(&net);
    // A third host takes all there is, over and over.
    for _ in 0..8 {
        let (to, id) = (addr(1), net.nodes[1].id());
        let mut stranger = sessions(9, limits, net.now);
        std::mem::swap(&mut net.nodes[2].sessions, &mut stranger);
        net.nodes[2].sessions.connect(net.now, to, Some(id));
        net.drain(2);
        net.send(0, 1, 1);
        net.run(Span::from_millis(500));
    }
    let to_peer = net
        .log
        .iter()
        .filter(|d| d.bytes[3] == 3 && d.to == addr(0));
    assert_eq!(to_peer.count(), 2);
    assert!(used(&net) > before + 1);
}

//! Peers meet, whatever the network does.

use super::harness::{CALM, Net, Weather, addr};
use crate::security::{FailReason, Limits, PlainBuf, Refusal, SessionEvent};
use crate::time::Span;
use crate::wire::{MAX_DATAGRAM, PacketError};
use proptest::prelude::*;

fn weather() -> impl Strategy<Value = Weather> {
    (0_u64..35, 0_u64..30, 1_u64..300).prop_map(|(loss, doubled, delay_ms)| Weather {
        loss,
        doubled,
        delay_ms,
    })
}

/// Both can send and are heard.
fn talk(net: &mut Net) {
    net.weather = CALM;
    for n in [0, 1] {
        net.nodes[n].inbox.clear();
    }
    assert!(net.send(0, 1, 1) && net.send(1, 0, 2));
    net.run(Span::from_secs(1));
    let ids = [net.nodes[0].id(), net.nodes[1].id()];
    assert_eq!(net.nodes[1].inbox, [(ids[0], 1)]);
    assert_eq!(net.nodes[0].inbox, [(ids[1], 2)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn one_side_opens_in_any_weather(weather in weather(), seed: u64) {
        let mut net = Net::new(2, Limits::default(), weather, seed);
        net.connect(0, 1);
        net.run(Span::from_secs(25));
        // An attempt may fail in the worst of weather; the owner then tries again.
        if net.nodes[0].established().is_empty() {
            net.weather = CALM;
            net.connect(0, 1);
            net.run(Span::from_secs(25));
        }
        prop_assert_eq!(net.nodes[0].established(), [(net.nodes[1].id(), false)]);
        prop_assert_eq!(net.nodes[1].established(), [(net.nodes[0].id(), true)]);
        talk(&mut net);
    }

    #[test]
    fn both_sides_open_at_once_in_any_weather(weather in weather(), seed: u64) {
        let mut net = Net::new(2, Limits::default(), weather, seed);
        net.connect(0, 1);
        net.connect(1, 0);
        net.run(Span::from_secs(25));
        for n in [0, 1] {
            if !net.nodes[n].established().iter().any(|(_, inbound)| !inbound) {
                net.weather = CALM;
                net.connect(n, 1 - n);
                net.run(Span::from_secs(25));
            }
        }
        for n in [0, 1] {
            let wishes = net.nodes[n].established();
            prop_assert_eq!(wishes.iter().filter(|(_, inbound)| !inbound).count(), 1);
            prop_assert_eq!(net.nodes[n].closed(), 0);
            prop_assert!(net.nodes[n].sessions.usage().sessions <= 2);
        }
        talk(&mut net);
    }
}

#[test]
fn simultaneous_opens_settle_on_one_session() {
    let mut net = Net::new(2, Limits::default(), CALM, 3);
    net.connect(0, 1);
    net.connect(1, 0);
    net.run(Span::from_secs(400));
    talk(&mut net);
    for node in &net.nodes {
        assert_eq!(node.sessions.usage().sessions, 1);
        assert_eq!(node.sessions.usage().attempts, 0);
        assert_eq!(node.sessions.usage().pending, 0);
    }
}

#[test]
fn a_stranger_is_trusted_on_first_use() {
    let mut net = Net::new(2, Limits::default(), CALM, 1);
    net.nodes[0].sessions.connect(net.now, addr(1), None);
    net.drain(0);
    net.run(Span::from_secs(1));
    assert_eq!(net.nodes[0].established(), [(net.nodes[1].id(), false)]);
    talk(&mut net);
}

#[test]
fn a_second_wish_for_a_live_peer_is_granted_at_once() {
    let mut net = Net::pair(Limits::default());
    let sent = net.log.len();
    net.connect(1, 0);
    assert_eq!(net.log.len(), sent);
    let id = net.nodes[0].id();
    assert_eq!(net.nodes[1].established(), [(id, true), (id, false)]);
}

fn failure(net: &Net) -> Vec<FailReason> {
    let events = net.nodes[0].events.iter();
    events
        .filter_map(|event| match event {
            SessionEvent::Failed { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect()
}

#[test]
fn every_failure_is_named_once() {
    let mut net = Net::new(3, Limits::default(), CALM, 1);
    let (me, other) = (net.nodes[0].id(), net.nodes[1].id());
    net.nodes[0].sessions.connect(net.now, addr(9), None);
    net.run(Span::from_secs(30));
    assert_eq!(failure(&net), [FailReason::Timeout]);

    net.nodes[0].events.clear();
    net.nodes[0].sessions.connect(net.now, addr(2), Some(other));
    net.nodes[0].sessions.connect(net.now, addr(2), Some(other));
    net.run(Span::from_secs(30));
    let found = net.nodes[2].id();
    assert_eq!(failure(&net), [FailReason::WrongIdentity(found)]);
    assert!(net.nodes[2].established().is_empty());

    net.nodes[0].events.clear();
    net.nodes[0].sessions.connect(net.now, addr(0), None);
    net.run(Span::from_secs(30));
    assert_eq!(failure(&net), [FailReason::SelfConnection]);

    net.nodes[0].events.clear();
    net.nodes[0].sessions.connect(net.now, addr(0), Some(me));
    net.drain(0);
    assert_eq!(failure(&net), [FailReason::SelfConnection]);
    assert_eq!(net.nodes[0].sessions.usage().attempts, 0);
}

#[test]
fn networks_with_another_name_do_not_meet() {
    let mut net = Net::new(1, Limits::default(), CALM, 1);
    let mut bytes = [0; MAX_DATAGRAM];
    net.nodes[0].sessions.connect(net.now, addr(1), None);
    let (len, _) = net.nodes[0].sessions.poll_transmit(&mut bytes).unwrap();
    bytes[4] ^= 1;
    let mut plain = PlainBuf::default();
    let refused = net.nodes[0]
        .sessions
        .handle(net.now, addr(1), &bytes[..len], &mut plain);
    assert!(matches!(
        refused,
        Err(Refusal::Packet(PacketError::Network(_)))
    ));
}

//! Sessions live on through moves, restarts and fresh keys, and end.

use super::harness::{Net, addr, sessions};
use crate::security::{Limits, Refusal, SessionEvent};
use crate::time::Span;

/// Both talk every `every` for `total`; gives how many messages were lost.
fn chat(net: &mut Net, total: Span, every: Span) -> usize {
    let end = net.now + total;
    let before = net.nodes[0].inbox.len() + net.nodes[1].inbox.len();
    let mut sent = 0;
    while net.now < end {
        sent += 2;
        net.send(0, 1, 1);
        net.send(1, 0, 1);
        net.run(every);
    }
    sent + before - net.nodes[0].inbox.len() - net.nodes[1].inbox.len()
}

#[test]
fn keys_are_renewed_without_a_gap() {
    let mut net = Net::pair(Limits::default());
    assert_eq!(
        chat(&mut net, Span::from_secs(5 * 3_600), Span::from_secs(7)),
        0
    );
    let handshakes = net.log.iter().filter(|d| d.bytes[3] == 3).count();
    assert!((4..=7).contains(&handshakes), "{handshakes} handshakes");
    for node in &net.nodes {
        assert_eq!(node.established().len(), 1);
        assert_eq!(node.closed(), 0);
        assert!(node.sessions.usage().sessions <= 2);
    }
}

#[test]
fn keys_are_renewed_after_many_packets() {
    let limits = Limits {
        rekey_after_packets: 50,
        ..Limits::default()
    };
    let mut net = Net::pair(limits);
    assert_eq!(chat(&mut net, Span::from_secs(200), Span::from_secs(1)), 0);
    assert!(net.log.iter().filter(|d| d.bytes[3] == 3).count() >= 3);
}

#[test]
fn a_peer_is_followed_to_its_new_address_but_not_back() {
    let mut net = Net::pair(Limits::default());
    net.send(0, 1, 1);
    net.run(Span::from_secs(1));
    net.send(0, 1, 2);
    let held_back = net.wire.pop().unwrap();
    net.nodes[0].addr = addr(77);
    net.send(0, 1, 3);
    net.run(Span::from_secs(1));
    let id = net.nodes[0].id();
    let moved = SessionEvent::Moved {
        peer: id,
        addr: addr(77),
    };
    assert!(net.nodes[1].events.contains(&moved));
    assert_eq!(net.nodes[1].sessions.peer_addr(&id), Some(addr(77)));

    // Authentic and new, but older than what came from the new address.
    net.deliver(&held_back);
    assert_eq!(net.nodes[1].inbox, [(id, 1), (id, 3), (id, 2)]);
    assert_eq!(net.nodes[1].sessions.peer_addr(&id), Some(addr(77)));
    net.send(1, 0, 4);
    net.run(Span::from_secs(1));
    assert_eq!(net.nodes[0].inbox.len(), 1);
}

#[test]
fn a_peer_that_lost_its_keys_is_met_again() {
    let limits = Limits::default();
    let mut net = Net::pair(limits);
    let now = net.now;
    net.nodes[1].sessions = sessions(2, limits, now);
    for _ in 0..20 {
        net.send(0, 1, 1);
        net.run(Span::from_secs(1));
    }
    assert!(net.nodes[1].refused.contains(&Refusal::UnknownSession));
    assert_eq!(chat(&mut net, Span::from_secs(5), Span::from_secs(1)), 0);
    assert_eq!(net.nodes[0].closed(), 0);
}

#[test]
fn a_restarted_peer_that_calls_back_is_heard_at_once() {
    let limits = Limits::default();
    let mut net = Net::pair(limits);
    let now = net.now;
    net.nodes[1].sessions = sessions(2, limits, now);
    net.nodes[1].addr = addr(50);
    net.connect(1, 0);
    net.run(Span::from_secs(1));
    assert_eq!(chat(&mut net, Span::from_secs(5), Span::from_secs(1)), 0);
    assert_eq!(net.nodes[0].sessions.usage().peers, 1);
}

#[test]
fn a_silent_peer_is_forgotten_and_nothing_wakes_us_for_long() {
    let mut net = Net::pair(Limits::default());
    net.wakes = 0;
    net.run(Span::from_secs(3_600));
    for node in &net.nodes {
        assert_eq!(node.closed(), 1);
        assert_eq!(node.sessions.usage().sessions, 0);
        assert_eq!(node.sessions.usage().peers, 0);
        assert_eq!(node.sessions.next_timeout(), None);
    }
    assert!(net.wakes < 40, "{} wakes", net.wakes);
    assert!(!net.send(0, 1, 1));
}

#[test]
fn a_busy_session_needs_few_timers() {
    let mut net = Net::pair(Limits::default());
    net.wakes = 0;
    assert_eq!(
        chat(&mut net, Span::from_secs(1_000), Span::from_secs(1)),
        0
    );
    assert!(net.wakes < 60, "{} wakes", net.wakes);
}

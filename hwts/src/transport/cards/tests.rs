//! Cards as packets and interfaces meet them.

use std::net::SocketAddr;

use super::*;
use crate::stamp::{Source, Stamp};
use crate::transport::cmsg::Control;

fn cards() -> Cards {
    let mut cards = Cards::open(Vec::new(), 4_711).unwrap();
    cards.cards.clear();
    cards.notes.clear();
    let link = |index: u32, name: &str| Link {
        index,
        name: name.to_owned(),
        up: true,
        ..Link::default()
    };
    let vlan = Link {
        kind: Some("vlan".to_owned()),
        lower: Some(70_002),
        ..link(70_003, "test0.7")
    };
    cards.links = vec![link(70_002, "test0"), vlan, link(70_004, "test1")];
    cards.by_interface.clear();
    cards.cards.push(Card {
        index: 70_002,
        interface: "test0".to_owned(),
        phc: 3,
        fallback: None,
        in_flight: IN_FLIGHT,
        tx_compensation: 100,
        rx_compensation: 30,
        tx_losses: Losses::default(),
        rx_losses: Losses::default(),
        next_trial: 0,
    });
    cards
}

fn scoped(interface: u32) -> SocketAddr {
    format!("[fe80::1%{interface}]:9").parse().unwrap()
}

const FREE: [u32; MOST_CARDS] = [0; MOST_CARDS];

#[test]
fn packets_find_their_card_through_what_stands_on_it() {
    let mut cards = cards();
    assert_eq!(cards.choose(scoped(70_002), &FREE, 0), (Some(0), false));
    let mut vlan = cards;
    vlan.by_address.forget();
    assert_eq!(vlan.choose(scoped(70_003), &FREE, 0), (Some(0), false));
    vlan.by_address.forget();
    assert_eq!(vlan.choose(scoped(70_004), &FREE, 0), (None, false));
    let mut full = FREE;
    full[0] = IN_FLIGHT;
    vlan.by_address.forget();
    assert_eq!(vlan.choose(scoped(70_002), &full, 0), (None, true));
}

#[test]
fn stamps_are_those_of_the_card_and_compensated() {
    let mut cards = cards();
    let from = |card, interface| Control {
        hardware: Some(1_000),
        card,
        interface,
        ..Control::default()
    };
    let stamp = |nanos| {
        Some(Stamp {
            nanos,
            domain: Domain::Phc(3),
            source: Source::Hardware,
        })
    };
    assert_eq!(cards.received(&from(Some(70_002), None)), stamp(970));
    // The kernel names a device that has no card: the interface leads to it.
    assert_eq!(
        cards.received(&from(Some(70_004), Some(70_003))),
        stamp(970)
    );
    assert_eq!(cards.received(&from(None, Some(70_004))), None);
    assert_eq!(cards.sent(0, 1_000), stamp(1_100));
    assert_eq!(cards.sent(9, 1_000), None);
}

#[test]
fn a_card_that_stops_is_left_alone_tried_again_and_taken_back() {
    let mut cards = cards();
    let later = 20_000_000_000;
    for k in 0..20 {
        cards.missed(0, k == 3, k * 1_000_000_000);
    }
    assert_eq!(cards.cards[0].fallback, Some(CardFallback::TxStopped));
    assert_eq!(cards.cards[0].in_flight, 1);
    let notes: Vec<String> = std::iter::from_fn(|| cards.next_note())
        .map(|note| note.to_string())
        .collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("no more than 1") && notes[1].contains("kernel stamps"));
    let received = Control {
        hardware: Some(1),
        card: Some(70_002),
        ..Control::default()
    };
    // One direction by the card and one by the kernel would not fit together.
    assert_eq!(cards.received(&received), None);
    cards.cards[0].next_trial = later;
    assert_eq!(
        cards.choose(scoped(70_002), &FREE, later - 1),
        (None, false)
    );
    assert_eq!(cards.choose(scoped(70_002), &FREE, later), (Some(0), false));
    assert_eq!(
        cards.choose(scoped(70_002), &FREE, later + 1),
        (None, false)
    );
    assert!(cards.sent(0, 5).is_some());
    assert_eq!(cards.cards[0].fallback, None);
    assert!(matches!(cards.next_note(), Some(CardNote::Stamping { .. })));
}

#[test]
fn interfaces_that_change_or_go_are_followed() {
    let mut cards = cards();
    let mut link = cards.links[0].clone();
    assert!(!apply(&mut cards.links, LinkChange::Changed(link.clone())));
    link.name = "uplink".to_owned();
    assert!(apply(&mut cards.links, LinkChange::Changed(link)));
    cards.follow();
    assert_eq!(cards.cards()[0].interface, "uplink");
    assert!(matches!(cards.next_note(), Some(CardNote::Renamed { .. })));
    assert!(apply(&mut cards.links, LinkChange::Gone(70_002)));
    assert!(!apply(&mut cards.links, LinkChange::Gone(70_002)));
    cards.follow();
    assert!(cards.cards().is_empty());
    assert!(matches!(cards.next_note(), Some(CardNote::Gone { .. })));
}

//! What the table of packets in flight promises.

use super::*;
use crate::stamp::{Domain, Source};
use proptest::prelude::*;

fn stamp(nanos: i64) -> Stamp {
    Stamp {
        nanos,
        domain: Domain::Realtime,
        source: Source::Kernel,
    }
}

fn events(table: &mut Inflight) -> Vec<(u32, Option<i64>)> {
    std::iter::from_fn(|| table.next_event())
        .map(|event| match event {
            TxEvent::Stamped { token, stamp, .. } => (token.0, Some(stamp.nanos)),
            TxEvent::Lost { token } => (token.0, None),
        })
        .collect()
}

#[test]
fn stamps_out_of_order_find_their_packets() {
    let mut table = Inflight::new();
    for at in 0..3 {
        table.sent(at, None);
    }
    assert_eq!(table.stamped(2, stamp(20)), Match::Packet);
    assert_eq!(table.stamped(0, stamp(0)), Match::Packet);
    assert_eq!(table.stamped(0, stamp(1)), Match::None);
    assert_eq!(events(&mut table), [(0, Some(0)), (2, Some(20))]);
    assert_eq!(table.stamped(1, stamp(10)), Match::Packet);
    assert_eq!(events(&mut table), [(1, Some(10))]);
    assert_eq!(table.waiting(), 0);
}

#[test]
fn what_takes_too_long_is_lost_and_its_late_stamp_unmatched() {
    let mut table = Inflight::new();
    table.sent(100, None);
    table.sent(200, None);
    table.expire(150, |_, _| panic!("no card"));
    assert_eq!(table.stamped(0, stamp(1)), Match::None);
    assert_eq!(table.stamped(1, stamp(2)), Match::Packet);
    assert_eq!(events(&mut table), [(0, None), (1, Some(2))]);
}

fn by_card(nanos: i64) -> Stamp {
    Stamp {
        nanos,
        domain: Domain::Phc(0),
        source: Source::Hardware,
    }
}

#[test]
fn a_cards_stamp_is_waited_for_and_the_kernels_stands_beside_it() {
    let mut table = Inflight::new();
    table.sent(100, Some(2));
    assert_eq!((table.card_of(0), table.awaited()[2]), (Some(2), 1));
    assert_eq!(table.stamped(0, stamp(7)), Match::Packet);
    assert_eq!(table.next_event(), None);
    assert_eq!(table.stamped(0, by_card(9)), Match::Packet);
    let event = TxEvent::Stamped {
        token: TxToken(0),
        stamp: by_card(9),
        beside: Some(stamp(7)),
    };
    assert_eq!(table.next_event(), Some(event));
    assert_eq!((table.waiting(), table.awaited()[2]), (0, 0));
    assert_eq!(table.card_of(0), None);
}

#[test]
fn a_card_that_does_not_stamp_leaves_the_kernels() {
    let mut table = Inflight::new();
    table.sent(100, Some(1));
    table.sent(100, Some(1));
    table.sent(100, None);
    assert_eq!(table.stamped(0, stamp(7)), Match::Packet);
    let mut missed = Vec::new();
    table.expire(200, |card, crowded| missed.push((card, crowded)));
    // Without the kernel's stamp nobody knows that it left at all.
    assert_eq!(missed, [(1, false)]);
    assert_eq!(events(&mut table), [(0, Some(7)), (1, None), (2, None)]);
    assert_eq!((table.waiting(), table.awaited()[1]), (0, 0));
    table.sent(300, Some(1));
    assert_eq!(table.stamped(3, stamp(8)), Match::Packet);
    table.restart();
    assert_eq!(events(&mut table), [(3, Some(8))]);
    assert_eq!(table.awaited()[1], 0);
}

#[test]
fn a_full_table_gives_up_on_the_oldest() {
    let mut table = Inflight::new();
    for at in 0..CAPACITY {
        assert_eq!(table.make_room(), 0);
        table.sent(at.into(), None);
    }
    assert_eq!(table.make_room(), 0);
    assert_eq!(table.sent(999, None), TxToken(CAPACITY));
    assert_eq!(table.waiting(), CAPACITY);
    assert_eq!(table.stamped(0, stamp(1)), Match::None);
    assert_eq!(table.stamped(CAPACITY, stamp(2)), Match::Packet);
    assert_eq!(events(&mut table), [(0, None), (CAPACITY, Some(2))]);
    // Nobody asks for events: the oldest are forgotten, and counted.
    let forgotten: u64 = (0..3 * CAPACITY)
        .map(|at| {
            let forgotten = table.make_room();
            table.sent(at.into(), None);
            forgotten
        })
        .sum();
    let told = events(&mut table).len() as u64;
    assert_eq!(
        forgotten + told + u64::from(table.waiting()),
        u64::from(4 * CAPACITY - 1)
    );
}

#[test]
fn an_unknown_number_is_out_of_step() {
    let mut table = Inflight::new();
    table.sent(0, None);
    assert_eq!(table.stamped(1, stamp(1)), Match::OutOfStep);
    assert_eq!(table.stamped(0, stamp(1)), Match::Packet);
}

#[test]
fn a_stamp_without_number_is_taken_only_where_it_is_clear() {
    let mut table = Inflight::new();
    table.sent(0, None);
    table.sent(0, None);
    assert_eq!(table.stamped_only(stamp(1)), Match::None);
    assert_eq!(table.stamped(0, stamp(1)), Match::Packet);
    assert_eq!(table.stamped_only(stamp(2)), Match::Packet);
    assert_eq!(table.stamped_only(stamp(3)), Match::None);
    assert_eq!(events(&mut table), [(0, Some(1)), (1, Some(2))]);
}

#[test]
fn a_new_count_forgets_what_was_in_flight() {
    let mut table = Inflight::new();
    table.sent(0, None);
    table.sent(0, None);
    table.restart();
    table.sent(0, None);
    assert_eq!(table.stamped(0, stamp(7)), Match::Packet);
    assert_eq!(events(&mut table), [(0, None), (1, None), (2, Some(7))]);
}

#[derive(Debug, Clone)]
enum Step {
    Send,
    User(bool),
    Stamp(u32),
    Expire,
    Restart,
    Deliver,
}

proptest! {
    // Every packet gets exactly one event, and never the stamp of another.
    #[test]
    fn every_packet_ends_in_one_event(steps in proptest::collection::vec(prop_oneof![
        4 => Just(Step::Send),
        1 => any::<bool>().prop_map(Step::User),
        4 => (0_u32..4).prop_map(Step::Stamp),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
        2 => Just(Step::Deliver),
    ], 0..600)) {
        let mut table = Inflight::new();
        let (mut kernel, mut sent, mut got) = (Vec::new(), 0_u32, Vec::new());
        for step in steps {
            match step {
                Step::Send | Step::User(_) => {
                    if table.make_room() > 0 {
                        got.extend(events(&mut table));
                    }
                    let token = match step {
                        Step::User(counted) => {
                            if counted {
                                kernel.push(sent);
                            }
                            table.sent_with(stamp(sent.into()), counted)
                        }
                        _ => {
                            kernel.push(sent);
                            table.sent(0, None)
                        }
                    };
                    prop_assert_eq!(token.0, sent);
                    sent += 1;
                }
                Step::Stamp(back) => {
                    let id = kernel.len().checked_sub(1 + back as usize);
                    if let Some(id) = id {
                        // An uncounted packet shifts the count; only stamps sent after it are
                        // asked for, as in the transport, where that never changes back.
                        let aligned = (id as u32).wrapping_add(table.shift) == kernel[id];
                        if aligned {
                            table.stamped(id as u32, stamp(kernel[id].into()));
                        }
                    }
                }
                Step::Expire => table.expire(1, |_, _| {}),
                Step::Restart => {
                    table.restart();
                    kernel.clear();
                }
                Step::Deliver => got.extend(events(&mut table)),
            }
        }
        table.expire(1, |_, _| {});
        got.extend(events(&mut table));
        got.sort_unstable();
        prop_assert_eq!(got.len(), sent as usize);
        for (i, (token, nanos)) in got.into_iter().enumerate() {
            prop_assert_eq!(token as usize, i);
            prop_assert!(nanos.is_none_or(|n| n == i64::from(token)));
        }
    }
}

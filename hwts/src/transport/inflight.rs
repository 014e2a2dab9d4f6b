//! Packets whose TX stamp is awaited, in a fixed table.

use super::cards::MOST_CARDS;
use super::{TxEvent, TxToken};
use crate::stamp::{Source, Stamp};

/// Packets in flight at most; a power of two. Stamps usually come before the send call returns.
pub(super) const CAPACITY: u32 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Nothing is awaited, or it was delivered.
    Done,
    /// Stamp awaited.
    Waiting(Waiting),
    /// To be delivered, with the kernel's stamp beside a card's.
    Ready(Stamp, Option<Stamp>),
    /// To be reported as lost.
    Lost,
}

/// A packet whose stamp is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    /// The raw instant it was sent.
    at: i64,
    /// The card that is to stamp it.
    card: Option<u8>,
    /// That card was still to stamp others when it was sent.
    crowded: bool,
    /// The kernel's stamp, while the card's is awaited.
    kernel: Option<Stamp>,
}

/// What to do with a stamp of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It found its packet.
    Packet,
    /// It belongs to no packet in flight.
    None,
    /// It belongs to a packet that was never sent: our count is not the kernel's.
    OutOfStep,
}

/// The packets from `oldest` to `next`, which may be waiting, ready or done.
#[derive(Debug)]
pub(super) struct Inflight {
    slots: Box<[Slot; CAPACITY as usize]>,
    oldest: u32,
    next: u32,
    waiting: u32,
    /// Packets that each card is to stamp.
    awaited: [u32; MOST_CARDS],
    /// Token minus the kernel's id.
    shift: u32,
}

impl Inflight {
    pub(super) fn new() -> Self {
        Self {
            slots: Box::new([Slot::Done; CAPACITY as usize]),
            oldest: 0,
            next: 0,
            waiting: 0,
            awaited: [0; MOST_CARDS],
            shift: 0,
        }
    }

    /// Packets whose stamp is awaited.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// How many packets each card is to stamp.
    pub(super) const fn awaited(&self) -> &[u32; MOST_CARDS] {
        &self.awaited
    }

    /// The card that is to stamp the kernel's packet number `id`.
    pub(super) fn card_of(&self, id: u32) -> Option<u8> {
        let token = id.wrapping_add(self.shift);
        let inside = token.wrapping_sub(self.oldest) < self.next.wrapping_sub(self.oldest);
        match self.slots[(token % CAPACITY) as usize] {
            Slot::Waiting(waiting) if inside => waiting.card,
            _ => None,
        }
    }

    /// Makes room for one more packet; gives back the token of a packet that fell out.
    pub(super) fn make_room(&mut self) -> Option<TxToken> {
        if self.next.wrapping_sub(self.oldest) < CAPACITY {
            return None;
        }
        let token = self.oldest;
        let slot = self.take(token);
        self.oldest = token.wrapping_add(1);
        (slot != Slot::Done).then_some(TxToken(token))
    }

    /// A packet was sent whose stamp the kernel will give, and that of `card` if there is one. Room
    /// must have been made.
    pub(super) fn sent(&mut self, at: i64, card: Option<u8>) -> TxToken {
        self.waiting += 1;
        let mut crowded = false;
        if let Some(card) = card {
            let awaited = &mut self.awaited[usize::from(card)];
            crowded = *awaited > 0;
            *awaited += 1;
        }
        self.add(Slot::Waiting(Waiting {
            at,
            card,
            crowded,
            kernel: None,
        }))
    }

    /// A packet was sent that has its stamp already, while the kernel counts it or not.
    pub(super) fn sent_with(&mut self, stamp: Stamp, counted: bool) -> TxToken {
        if !counted {
            self.shift = self.shift.wrapping_add(1);
        }
        self.add(Slot::Ready(stamp, None))
    }

    fn add(&mut self, slot: Slot) -> TxToken {
        let token = self.next;
        *self.slot(token) = slot;
        self.next = token.wrapping_add(1);
        TxToken(token)
    }

    /// The kernel, or a card, stamped the kernel's packet number `id`.
    pub(super) fn stamped(&mut self, id: u32, stamp: Stamp) -> Match {
        let token = id.wrapping_add(self.shift);
        let ahead = token.wrapping_sub(self.next).cast_signed() >= 0;
        if ahead {
            return Match::OutOfStep;
        }
        if token.wrapping_sub(self.oldest) < CAPACITY && self.is_waiting(token) {
            self.set_ready(token, stamp);
            return Match::Packet;
        }
        Match::None
    }

    /// A packet was stamped that has no usable number. With one in flight it must be that.
    pub(super) fn stamped_only(&mut self, stamp: Stamp) -> Match {
        match self.tokens().find(|&t| self.is_waiting(t)) {
            Some(only) if self.waiting == 1 => {
                self.set_ready(only, stamp);
                Match::Packet
            }
            _ => Match::None,
        }
    }

    /// The kernel counts from 0 again; what is in flight is lost.
    pub(super) fn restart(&mut self) {
        for token in self.tokens() {
            if let Slot::Waiting(waiting) = *self.slot(token) {
                *self.slot(token) = given_up(waiting);
            }
        }
        self.waiting = 0;
        self.awaited = [0; MOST_CARDS];
        self.shift = self.next;
    }

    /// Gives up on packets sent before `deadline`: what the kernel has stamped keeps that stamp.
    /// Cards that stamped nothing go to `missed`, with whether they were still to stamp others.
    pub(super) fn expire(&mut self, deadline: i64, mut missed: impl FnMut(u8, bool)) {
        for token in self.tokens() {
            if let Slot::Waiting(waiting) = *self.slot(token) {
                // Sent in order: what follows is younger.
                if waiting.at >= deadline {
                    break;
                }
                *self.slot(token) = given_up(waiting);
                self.no_longer(waiting);
                if let (Some(card), Some(_)) = (waiting.card, waiting.kernel) {
                    missed(card, waiting.crowded);
                }
            }
        }
    }

    /// The next thing to report, in the order the packets were sent as far as known.
    pub(super) fn next_event(&mut self) -> Option<TxEvent> {
        for token in self.tokens() {
            let event = match *self.slot(token) {
                Slot::Waiting(_) => continue,
                Slot::Done => None,
                Slot::Ready(stamp, beside) => Some(TxEvent::Stamped {
                    token: TxToken(token),
                    stamp,
                    beside,
                }),
                Slot::Lost => Some(TxEvent::Lost {
                    token: TxToken(token),
                }),
            };
            *self.slot(token) = Slot::Done;
            if token == self.oldest {
                self.oldest = token.wrapping_add(1);
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn tokens(&self) -> impl Iterator<Item = u32> + use<> {
        let oldest = self.oldest;
        (0..self.next.wrapping_sub(oldest)).map(move |i| oldest.wrapping_add(i))
    }

    fn slot(&mut self, token: u32) -> &mut Slot {
        &mut self.slots[(token % CAPACITY) as usize]
    }

    fn is_waiting(&self, token: u32) -> bool {
        matches!(self.slots[(token % CAPACITY) as usize], Slot::Waiting(_))
    }

    /// Takes a stamp for a packet that waits; a card's ends the wait, the kernel's only if none is
    /// to come.
    fn set_ready(&mut self, token: u32, stamp: Stamp) {
        let Slot::Waiting(mut waiting) = *self.slot(token) else {
            return;
        };
        if stamp.source < Source::Hardware && waiting.card.is_some() {
            waiting.kernel = Some(stamp);
            *self.slot(token) = Slot::Waiting(waiting);
            return;
        }
        *self.slot(token) = Slot::Ready(stamp, waiting.kernel);
        self.no_longer(waiting);
    }

    fn no_longer(&mut self, waiting: Waiting) {
        self.waiting -= 1;
        if let Some(card) = waiting.card {
            self.awaited[usize::from(card)] -= 1;
        }
    }

    fn take(&mut self, token: u32) -> Slot {
        let slot = std::mem::replace(self.slot(token), Slot::Done);
        if let Slot::Waiting(waiting) = slot {
            self.no_longer(waiting);
        }
        slot
    }
}

/// What becomes of a packet whose stamp is no longer awaited.
fn given_up(waiting: Waiting) -> Slot {
    waiting
        .kernel
        .map_or(Slot::Lost, |kernel| Slot::Ready(kernel, None))
}

#[cfg(test)]
mod tests {
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
            assert_eq!(table.make_room(), None);
            table.sent(at.into(), None);
        }
        assert_eq!(table.make_room(), Some(TxToken(0)));
        assert_eq!(table.sent(999, None), TxToken(CAPACITY));
        assert_eq!(table.waiting(), CAPACITY);
        assert_eq!(table.stamped(0, stamp(1)), Match::None);
        assert_eq!(table.stamped(CAPACITY, stamp(2)), Match::Packet);
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
                        if let Some(fallen) = table.make_room() {
                            got.push((fallen.0, None));
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
}

//! Packets whose TX stamp is awaited, in a fixed table.

use super::{TxEvent, TxToken};
use crate::stamp::Stamp;

/// Packets in flight at most; a power of two. Stamps usually come before the send call returns.
pub(super) const CAPACITY: u32 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Nothing is awaited, or it was delivered.
    Done,
    /// Sent at this raw instant, stamp awaited.
    Waiting(i64),
    /// To be delivered.
    Ready(Stamp),
    /// To be reported as lost.
    Lost,
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
            shift: 0,
        }
    }

    /// Packets whose stamp is awaited.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
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

    /// A packet was sent whose stamp the kernel will give. Room must have been made.
    pub(super) fn sent(&mut self, at: i64) -> TxToken {
        self.waiting += 1;
        self.add(Slot::Waiting(at))
    }

    /// A packet was sent that has its stamp already, while the kernel counts it or not.
    pub(super) fn sent_with(&mut self, stamp: Stamp, counted: bool) -> TxToken {
        if !counted {
            self.shift = self.shift.wrapping_add(1);
        }
        self.add(Slot::Ready(stamp))
    }

    fn add(&mut self, slot: Slot) -> TxToken {
        let token = self.next;
        *self.slot(token) = slot;
        self.next = token.wrapping_add(1);
        TxToken(token)
    }

    /// The kernel stamped its packet number `id`.
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
            if self.is_waiting(token) {
                *self.slot(token) = Slot::Lost;
            }
        }
        self.waiting = 0;
        self.shift = self.next;
    }

    /// Gives up on packets sent before `deadline`.
    pub(super) fn expire(&mut self, deadline: i64) {
        for token in self.tokens() {
            if let Slot::Waiting(at) = *self.slot(token) {
                // Sent in order: what follows is younger.
                if at >= deadline {
                    break;
                }
                *self.slot(token) = Slot::Lost;
                self.waiting -= 1;
            }
        }
    }

    /// The next thing to report, in the order the packets were sent as far as known.
    pub(super) fn next_event(&mut self) -> Option<TxEvent> {
        for token in self.tokens() {
            let event = match *self.slot(token) {
                Slot::Waiting(_) => continue,
                Slot::Done => None,
                Slot::Ready(stamp) => Some(TxEvent::Stamped {
                    token: TxToken(token),
                    stamp,
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

    fn set_ready(&mut self, token: u32, stamp: Stamp) {
        *self.slot(token) = Slot::Ready(stamp);
        self.waiting -= 1;
    }

    fn take(&mut self, token: u32) -> Slot {
        if self.is_waiting(token) {
            self.waiting -= 1;
        }
        std::mem::replace(self.slot(token), Slot::Done)
    }
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
                TxEvent::Stamped { token, stamp } => (token.0, Some(stamp.nanos)),
                TxEvent::Lost { token } => (token.0, None),
            })
            .collect()
    }

    #[test]
    fn stamps_out_of_order_find_their_packets() {
        let mut table = Inflight::new();
        for at in 0..3 {
            table.sent(at);
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
        table.sent(100);
        table.sent(200);
        table.expire(150);
        assert_eq!(table.stamped(0, stamp(1)), Match::None);
        assert_eq!(table.stamped(1, stamp(2)), Match::Packet);
        assert_eq!(events(&mut table), [(0, None), (1, Some(2))]);
    }

    #[test]
    fn a_full_table_gives_up_on_the_oldest() {
        let mut table = Inflight::new();
        for at in 0..CAPACITY {
            assert_eq!(table.make_room(), None);
            table.sent(at.into());
        }
        assert_eq!(table.make_room(), Some(TxToken(0)));
        assert_eq!(table.sent(999), TxToken(CAPACITY));
        assert_eq!(table.waiting(), CAPACITY);
        assert_eq!(table.stamped(0, stamp(1)), Match::None);
        assert_eq!(table.stamped(CAPACITY, stamp(2)), Match::Packet);
    }

    #[test]
    fn an_unknown_number_is_out_of_step() {
        let mut table = Inflight::new();
        table.sent(0);
        assert_eq!(table.stamped(1, stamp(1)), Match::OutOfStep);
        assert_eq!(table.stamped(0, stamp(1)), Match::Packet);
    }

    #[test]
    fn a_stamp_without_number_is_taken_only_where_it_is_clear() {
        let mut table = Inflight::new();
        table.sent(0);
        table.sent(0);
        assert_eq!(table.stamped_only(stamp(1)), Match::None);
        assert_eq!(table.stamped(0, stamp(1)), Match::Packet);
        assert_eq!(table.stamped_only(stamp(2)), Match::Packet);
        assert_eq!(table.stamped_only(stamp(3)), Match::None);
        assert_eq!(events(&mut table), [(0, Some(1)), (1, Some(2))]);
    }

    #[test]
    fn a_new_count_forgets_what_was_in_flight() {
        let mut table = Inflight::new();
        table.sent(0);
        table.sent(0);
        table.restart();
        table.sent(0);
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
                                table.sent(0)
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
                    Step::Expire => table.expire(1),
                    Step::Restart => {
                        table.restart();
                        kernel.clear();
                    }
                    Step::Deliver => got.extend(events(&mut table)),
                }
            }
            table.expire(1);
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

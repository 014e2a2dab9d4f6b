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
            // More was counted than was sent. With one packet in flight it must be this one.
            if self.waiting == 1
                && let Some(only) = self.tokens().find(|&t| self.is_waiting(t))
            {
                self.shift = only.wrapping_sub(id);
                self.set_ready(only, stamp);
                return Match::Packet;
            }
            return Match::OutOfStep;
        }
        if token.wrapping_sub(self.oldest) < CAPACITY && self.is_waiting(token) {
            self.set_ready(token, stamp);
            return Match::Packet;
        }
        Match::None
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

    /// Gives up on packets sent before `deadline`; returns how many.
    pub(super) fn expire(&mut self, deadline: i64) -> u32 {
        let mut lost = 0;
        for token in self.tokens() {
            if let Slot::Waiting(at) = *self.slot(token) {
                // Sent in order: what follows is younger.
                if at >= deadline {
                    break;
                }
                *self.slot(token) = Slot::Lost;
                self.waiting -= 1;
                lost += 1;
            }
        }
        lost
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

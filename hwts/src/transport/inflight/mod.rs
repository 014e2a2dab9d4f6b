//! Packets whose TX stamp is awaited, in a fixed table.

use std::collections::VecDeque;

use super::cards::MOST_CARDS;
use super::{Counters, TxEvent, TxToken};
use crate::stamp::{Source, Stamp};

#[cfg(test)]
mod tests;

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

/// How much was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported {
    /// All events.
    pub(super) events: usize,
    /// Those of packets whose stamp never came.
    pub(super) lost: u32,
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
    /// Packets that there was no more room for, not reported yet.
    fallen: VecDeque<TxToken>,
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
            fallen: VecDeque::with_capacity(CAPACITY as usize),
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

    /// Makes room for one more packet; one that falls out is lost. Returns how many packets nobody
    /// will hear of, since nobody asks.
    pub(super) fn make_room(&mut self) -> u64 {
        if self.next.wrapping_sub(self.oldest) < CAPACITY {
            return 0;
        }
        let token = self.oldest;
        let slot = self.take(token);
        self.oldest = token.wrapping_add(1);
        if slot == Slot::Done {
            return 0;
        }
        let full = self.fallen.len() == CAPACITY as usize;
        if full {
            self.fallen.pop_front();
        }
        self.fallen.push_back(TxToken(token));
        u64::from(full)
    }

    /// The token that the next packet gets.
    pub(super) fn next_token(&self) -> TxToken {
        TxToken(self.next)
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

    /// Hands all there is to report to `sink`, and counts it.
    pub(super) fn report(
        &mut self,
        counters: &mut Counters,
        mut sink: impl FnMut(TxEvent),
    ) -> Reported {
        let mut reported = Reported { events: 0, lost: 0 };
        while let Some(event) = self.next_event() {
            match event {
                TxEvent::Stamped { stamp, .. } => counters.count_tx(stamp.source),
                TxEvent::Lost { .. } => reported.lost += 1,
            }
            sink(event);
            reported.events += 1;
        }
        counters.tx_lost += u64::from(reported.lost);
        reported
    }

    /// The next thing to report, in the order the packets were sent as far as known.
    fn next_event(&mut self) -> Option<TxEvent> {
        if let Some(token) = self.fallen.pop_front() {
            return Some(TxEvent::Lost { token });
        }
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

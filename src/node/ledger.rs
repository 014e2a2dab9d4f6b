//! Which packets went to and came from one peer, and when: matches stamps to samples.

use crate::link::OneWay;
use crate::time::{RawTime, Span};
use crate::wire::{Message, PacketStamp, StampSource};

/// Packets remembered in each direction: as many as can be under way at once in a burst.
const REMEMBERED: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Sent {
    seq: u32,
    at: RawTime,
    error: Span,
    /// The stamp is there.
    stamped: bool,
    /// The forward sample of this packet has been given out.
    used: bool,
}

#[derive(Debug, Clone, Copy)]
struct Received {
    seq: u32,
    at: RawTime,
    error: Span,
    /// Our packet that the peer had received when it sent this one.
    answers: Option<PacketStamp>,
    /// The reverse sample of this packet has been given out.
    used: bool,
}

/// The samples that one packet completes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Samples {
    /// A packet of ours reached the peer.
    pub(super) forward: Option<OneWay>,
    /// A packet of the peer reached us, its own and the one before it that it answered.
    pub(super) reverse: Option<OneWay>,
    /// Both directions of the exchange that `reverse` ends.
    pub(super) exchange: Option<(OneWay, OneWay)>,
}

/// Remembers the last few packets of a link in both directions.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    next_seq: u32,
    sent: [Option<Sent>; REMEMBERED],
    received: [Option<Received>; REMEMBERED],
    last_sent: Option<PacketStamp>,
}

impl Ledger {
    /// `first_seq` should be random, so that a restart is not mistaken for a continuation.
    pub(super) const fn new(first_seq: u32) -> Self {
        Self {
            next_seq: first_seq,
            sent: [None; REMEMBERED],
            received: [None; REMEMBERED],
            last_sent: None,
        }
    }

    /// A packet is about to leave: its number.
    pub(super) fn send(&mut self) -> u32 {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        self.sent[seq as usize % REMEMBERED] = Some(Sent {
            seq,
            at: RawTime::from_nanos(0),
            error: Span::ZERO,
            stamped: false,
            used: false,
        });
        seq
    }

    /// The transmit stamp of packet `seq` is there.
    pub(super) fn stamp(&mut self, seq: u32, at: RawTime, error: Span, source: StampSource) {
        let Some(sent) = self.sent[seq as usize % REMEMBERED].as_mut() else {
            return;
        };
        if sent.seq != seq {
            return;
        }
        (sent.at, sent.error, sent.stamped) = (at, error, true);
        self.last_sent = Some(PacketStamp {
            seq,
            at,
            error,
            source,
        });
    }

    /// What the next packet says of the previous one's departure.
    pub(super) const fn last_tx(&self) -> Option<PacketStamp> {
        self.last_sent
    }

    /// A packet arrived: remember it, and tell which samples it completes.
    pub(super) fn receive(&mut self, message: &Message, at: RawTime, error: Span) -> Samples {
        let mut samples = Samples::default();
        if let Some(rx) = message.last_rx
            && let Some(sent) = self.sent_packet(rx.seq)
            && !sent.used
        {
            sent.used = true;
            samples.forward = Some(forward(sent, &rx));
        }
        if let Some(tx) = message.last_tx
            && let Some(received) = self.received[tx.seq as usize % REMEMBERED]
            && received.seq == tx.seq
            && !received.used
        {
            if let Some(slot) = self.received[tx.seq as usize % REMEMBERED].as_mut() {
                slot.used = true;
            }
            let reverse = OneWay::reverse(tx.at, received.at, tx.error + received.error);
            samples.reverse = Some(reverse);
            // The stamp of our packet may have come only after the answer to it.
            if let Some(rx) = received.answers
                && let Some(sent) = self.sent_packet(rx.seq)
            {
                let forward = forward(sent, &rx);
                if !sent.used && samples.forward.is_none() {
                    sent.used = true;
                    samples.forward = Some(forward);
                }
                samples.exchange = Some((forward, reverse));
            }
        }
        self.received[message.seq as usize % REMEMBERED] = Some(Received {
            seq: message.seq,
            at,
            error,
            answers: message.last_rx,
            used: false,
        });
        samples
    }

    fn sent_packet(&mut self, seq: u32) -> Option<&mut Sent> {
        let sent = self.sent[seq as usize % REMEMBERED].as_mut()?;
        (sent.seq == seq && sent.stamped).then_some(sent)
    }
}

fn forward(sent: &Sent, received: &PacketStamp) -> OneWay {
    OneWay::forward(sent.at, received.at, sent.error + received.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Rate, VirtualLine, VirtualTime};
    use crate::wire::ClockState;

    fn stamp(seq: u32, at: i64) -> PacketStamp {
        PacketStamp {
            seq,
            at: RawTime::from_nanos(at),
            error: Span::ZERO,
            source: StampSource::Kernel,
        }
    }

    fn message(seq: u32, tx: Option<PacketStamp>, rx: Option<PacketStamp>) -> Message {
        Message {
            seq,
            wants_reply: false,
            state: ClockState::Joining,
            last_tx: tx,
            last_rx: rx,
            line: VirtualLine::new(
                RawTime::from_nanos(0),
                VirtualTime::from_nanos(0),
                Rate::ZERO,
            ),
            bound: Span::MAX,
        }
    }

    fn at(ns: i64) -> RawTime {
        RawTime::from_nanos(ns)
    }

    #[test]
    fn two_exchanges_interleaved() {
        let mut ledger = Ledger::new(u32::MAX);
        let first = ledger.send();
        ledger.stamp(first, at(100), Span::ZERO, StampSource::Kernel);
        // The reply says when our packet arrived, not yet when the reply itself left.
        let s = ledger.receive(
            &message(7, None, Some(stamp(first, 1_150))),
            at(300),
            Span::ZERO,
        );
        assert_eq!(
            s.forward,
            Some(OneWay::forward(at(100), at(1_150), Span::ZERO))
        );
        assert_eq!((s.reverse, s.exchange), (None, None));
        let second = ledger.send();
        assert_eq!(second, 0);
        ledger.stamp(second, at(900), Span::ZERO, StampSource::Kernel);
        let reply = message(8, Some(stamp(7, 1_250)), Some(stamp(second, 1_950)));
        let s = ledger.receive(&reply, at(1_100), Span::ZERO);
        let reverse = OneWay::reverse(at(1_250), at(300), Span::ZERO);
        assert_eq!(s.reverse, Some(reverse));
        assert_eq!(
            s.exchange,
            Some((OneWay::forward(at(100), at(1_150), Span::ZERO), reverse))
        );
    }

    #[test]
    fn a_late_transmit_stamp_still_completes_the_exchange() {
        let mut ledger = Ledger::new(0);
        let first = ledger.send();
        let s = ledger.receive(
            &message(7, None, Some(stamp(first, 1_150))),
            at(300),
            Span::ZERO,
        );
        assert_eq!(s, Samples::default());
        ledger.stamp(first, at(100), Span::ZERO, StampSource::Kernel);
        let s = ledger.receive(
            &message(8, Some(stamp(7, 1_250)), None),
            at(1_100),
            Span::ZERO,
        );
        assert!(s.forward.is_some() && s.exchange.is_some());
    }

    #[test]
    fn repeated_and_foreign_numbers_give_nothing() {
        let mut ledger = Ledger::new(0);
        let first = ledger.send();
        ledger.stamp(first, at(100), Span::ZERO, StampSource::Kernel);
        ledger.stamp(
            first.wrapping_add(4),
            at(1),
            Span::ZERO,
            StampSource::Kernel,
        );
        let reply = message(7, Some(stamp(99, 5)), Some(stamp(first, 1_150)));
        assert!(
            ledger
                .receive(&reply, at(300), Span::ZERO)
                .forward
                .is_some()
        );
        let again = ledger.receive(&reply, at(301), Span::ZERO);
        assert_eq!(again, Samples::default());
    }
}

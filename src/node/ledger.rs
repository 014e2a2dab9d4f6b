//! Which packets went to and came from one peer, and when: matches stamps to samples.

use crate::link::OneWay;
use crate::time::{RawTime, Span};
use crate::wire::{Message, PacketStamp, StampSource};

/// Packets remembered in each direction: as many as can be under way at once in a burst.
const REMEMBERED: usize = 4;

/// A half-width in nanoseconds, as short as on the wire.
#[derive(Debug, Clone, Copy)]
struct ShortError(u32);

impl From<Span> for ShortError {
    fn from(error: Span) -> Self {
        Self(u32::try_from(error.as_nanos().max(0)).unwrap_or(u32::MAX))
    }
}

impl From<ShortError> for Span {
    fn from(error: ShortError) -> Self {
        match error.0 {
            u32::MAX => Self::MAX,
            nanos => Self::from_nanos(i64::from(nanos)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    seq: u32,
    error: ShortError,
    at: RawTime,
    /// Where it was stamped, once it is.
    source: Option<StampSource>,
    /// The forward sample of this packet has been given out.
    used: bool,
}

#[derive(Debug, Clone, Copy)]
struct Received {
    seq: u32,
    error: ShortError,
    at: RawTime,
    source: StampSource,
    /// Our packet that the peer had received when it sent this one, and when it had.
    answers: Option<u32>,
    answers_error: ShortError,
    answers_at: RawTime,
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
    last_stamped: u32,
    last_received: u32,
    sent: [Option<Sent>; REMEMBERED],
    received: [Option<Received>; REMEMBERED],
}

impl Ledger {
    /// `first_seq` should be random, so that a restart is not mistaken for a continuation.
    pub(super) const fn new(first_seq: u32) -> Self {
        Self {
            next_seq: first_seq,
            last_stamped: 0,
            last_received: 0,
            sent: [None; REMEMBERED],
            received: [None; REMEMBERED],
        }
    }

    /// A packet is about to leave: its number.
    pub(super) fn send(&mut self) -> u32 {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        self.sent[place(seq)] = Some(Sent {
            seq,
            error: ShortError(0),
            at: RawTime::from_nanos(0),
            source: None,
            used: false,
        });
        seq
    }

    /// The transmit stamp of packet `seq` is there.
    pub(super) fn stamp(&mut self, seq: u32, at: RawTime, error: Span, source: StampSource) {
        let sent = self.sent[place(seq)].as_mut();
        if let Some(sent) = sent.filter(|sent| sent.seq == seq) {
            (sent.at, sent.error, sent.source) = (at, error.into(), Some(source));
            self.last_stamped = seq;
        }
    }

    /// What the next packet says of the departure of a previous one: the last whose stamp came, if
    /// it was one of the last few.
    pub(super) fn last_tx(&self) -> Option<PacketStamp> {
        let sent = self.sent[place(self.last_stamped)].filter(|s| s.seq == self.last_stamped)?;
        Some(PacketStamp {
            seq: sent.seq,
            at: sent.at,
            error: sent.error.into(),
            source: sent.source?,
        })
    }

    /// What the next packet says of the arrival of the last one.
    pub(super) fn last_rx(&self) -> Option<PacketStamp> {
        let received = self.received[place(self.last_received)]?;
        Some(PacketStamp {
            seq: received.seq,
            at: received.at,
            error: received.error.into(),
            source: received.source,
        })
    }

    /// A packet arrived: remember it, and tell which samples it completes.
    pub(super) fn receive(
        &mut self,
        message: &Message,
        at: RawTime,
        error: Span,
        source: StampSource,
    ) -> Samples {
        let mut samples = Samples::default();
        if let Some(rx) = message.last_rx
            && let Some(sent) = self.sent_packet(rx.seq)
            && !sent.used
        {
            sent.used = true;
            samples.forward = Some(forward(sent, rx.at, rx.error));
        }
        if let Some(tx) = message.last_tx
            && let Some(received) = self.received[place(tx.seq)].as_mut()
            && received.seq == tx.seq
            && !received.used
        {
            received.used = true;
            let received = *received;
            let error = tx.error + received.error.into();
            let reverse = OneWay::reverse(tx.at, received.at, error);
            samples.reverse = Some(reverse);
            // The stamp of our packet may have come only after the answer to it.
            if let Some(answered) = received.answers
                && let Some(sent) = self.sent_packet(answered)
            {
                let error = received.answers_error.into();
                let forward = forward(sent, received.answers_at, error);
                if !sent.used && samples.forward.is_none() {
                    sent.used = true;
                    samples.forward = Some(forward);
                }
                samples.exchange = Some((forward, reverse));
            }
        }
        let answers = message.last_rx;
        self.last_received = message.seq;
        self.received[place(message.seq)] = Some(Received {
            seq: message.seq,
            error: error.into(),
            at,
            source,
            answers: answers.map(|rx| rx.seq),
            answers_error: answers.map_or(Span::ZERO, |rx| rx.error).into(),
            answers_at: answers.map_or(at, |rx| rx.at),
            used: false,
        });
        samples
    }

    fn sent_packet(&mut self, seq: u32) -> Option<&mut Sent> {
        let sent = self.sent[place(seq)].as_mut()?;
        (sent.seq == seq && sent.source.is_some()).then_some(sent)
    }
}

const fn place(seq: u32) -> usize {
    seq as usize % REMEMBERED
}

fn forward(sent: &Sent, received: RawTime, error: Span) -> OneWay {
    OneWay::forward(sent.at, received, Span::from(sent.error) + error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Rate, VirtualLine, VirtualTime};
    use crate::wire::{ClockState, Tier};

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
            tier: Tier::NONE,
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
            StampSource::Kernel,
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
        let s = ledger.receive(&reply, at(1_100), Span::ZERO, StampSource::Kernel);
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
            StampSource::Kernel,
        );
        assert_eq!(s, Samples::default());
        ledger.stamp(first, at(100), Span::ZERO, StampSource::Kernel);
        let s = ledger.receive(
            &message(8, Some(stamp(7, 1_250)), None),
            at(1_100),
            Span::ZERO,
            StampSource::Kernel,
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
                .receive(&reply, at(300), Span::ZERO, StampSource::Kernel)
                .forward
                .is_some()
        );
        let again = ledger.receive(&reply, at(301), Span::ZERO, StampSource::Kernel);
        assert_eq!(again, Samples::default());
    }

    #[test]
    fn the_next_packet_tells_of_the_last_ones() {
        let mut ledger = Ledger::new(0);
        assert_eq!((ledger.last_tx(), ledger.last_rx()), (None, None));
        let unknown = Span::MAX;
        let first = ledger.send();
        assert_eq!(ledger.last_tx(), None, "not stamped yet");
        ledger.stamp(first, at(100), unknown, StampSource::User);
        let second = ledger.send();
        let tx = ledger.last_tx().unwrap();
        assert_eq!(
            (tx.seq, tx.error, tx.source),
            (first, unknown, StampSource::User)
        );
        ledger.stamp(second, at(200), Span::from_nanos(7), StampSource::Kernel);
        let tx = ledger.last_tx().unwrap();
        assert_eq!(
            (tx.seq, tx.at, tx.error),
            (second, at(200), Span::from_nanos(7))
        );
        for _ in 0..REMEMBERED {
            ledger.send();
        }
        assert_eq!(ledger.last_tx(), None, "too long ago to be of use");

        for seq in [9, 8] {
            let error = Span::from_nanos(3);
            ledger.receive(
                &message(seq, None, None),
                at(300),
                error,
                StampSource::Kernel,
            );
        }
        let rx = ledger.last_rx().unwrap();
        assert_eq!((rx.seq, rx.error), (8, Span::from_nanos(3)));
    }
}

//! Which packets went to and came from one peer, and when: matches stamps to samples.

use serde::{Deserialize, Serialize};

use super::matching::{Matching, Samples};
use crate::link::OneWay;
use crate::time::{RawTime, Span};
use crate::wire::{Message, PacketStamp, StampSource};

/// Packets remembered in each direction: as many as can be under way at once in a burst.
const REMEMBERED: usize = 4;

type Packets = [Option<Passed>; REMEMBERED];

/// A half-width in nanoseconds, as short as on the wire.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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

/// A packet of ours or of the peer's, and what became of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Passed {
    seq: u32,
    /// Half-width of our stamp.
    error: ShortError,
    /// Our stamp, once `source` says where it was taken.
    at: RawTime,
    source: Option<StampSource>,
    /// The peer's stamp of the same packet, once `peer_knows` it; until then, of a packet of its
    /// own, when it was made.
    there: RawTime,
    there_error: ShortError,
    peer_knows: bool,
    /// Its sample has been given out.
    used: bool,
    /// It has been given out as part of an exchange.
    paired: bool,
}

impl Passed {
    fn new(seq: u32, at: RawTime, error: Span, source: Option<StampSource>) -> Self {
        Self {
            seq,
            error: error.into(),
            at,
            source,
            there: at,
            there_error: ShortError(0),
            peer_knows: false,
            used: false,
            paired: false,
        }
    }

    /// Both ends have stamped it, the sender perhaps only by when it was made.
    const fn pairable(&self, made_is_sent: bool) -> bool {
        !self.paired && (self.used || (made_is_sent && self.source.is_some()))
    }

    /// Both ends have stamped it.
    const fn complete(&self) -> bool {
        self.source.is_some() && self.peer_knows
    }

    fn stamped_there(&mut self, stamp: &PacketStamp) {
        if !self.peer_knows {
            (self.there, self.there_error) = (stamp.at, stamp.error.into());
            self.peer_knows = true;
        }
    }

    fn error(&self) -> Span {
        Span::from(self.error) + Span::from(self.there_error)
    }

    fn forward(&self) -> OneWay {
        OneWay::forward(self.at, self.there, self.error())
    }

    fn reverse(&self) -> OneWay {
        OneWay::reverse(self.there, self.at, self.error())
    }
}

/// How long after it was made a packet of the peer's leaves. A transmit stamp comes with the next
/// packet, seconds later if polls are rare; where packets leave as soon as they are made, when they
/// were made says almost as much at once.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Latency {
    /// ns.
    mean: f32,
    variance: f32,
    counted: u8,
}

impl Latency {
    /// So many of the last ones are averaged.
    const MEMORY: u8 = 32;

    /// Fewer say nothing.
    const ENOUGH: u8 = 8;

    fn learn(&mut self, latency: Span) {
        self.counted = (self.counted + 1).min(Self::MEMORY);
        let weight = 1.0 / f32::from(self.counted);
        let deviation = latency.as_nanos_f64() as f32 - self.mean;
        self.mean += weight * deviation;
        self.variance += weight * ((1.0 - weight) * deviation * deviation - self.variance);
    }

    /// Whether it varies by less than `tolerance` (one sigma, ns).
    fn steady(&self, tolerance: f64) -> bool {
        let sigma = f64::from(self.variance).sqrt();
        self.counted >= Self::ENOUGH && sigma <= tolerance
    }
}

/// Remembers the last few packets of a link in both directions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ledger {
    next_seq: u32,
    last_stamped: u32,
    last_received: u32,
    sent: Packets,
    received: Packets,
    latency: Latency,
}

impl Matching for Ledger {
    fn new(first_seq: u32) -> Self {
        Self {
            next_seq: first_seq,
            last_stamped: 0,
            last_received: 0,
            sent: [None; REMEMBERED],
            received: [None; REMEMBERED],
            latency: Latency {
                mean: 0.0,
                variance: 0.0,
                counted: 0,
            },
        }
    }

    fn send(&mut self) -> u32 {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        if let Some(place) = place(&mut self.sent, seq) {
            *place = Some(Passed::new(seq, RawTime::from_nanos(0), Span::ZERO, None));
        }
        seq
    }

    fn stamp(&mut self, seq: u32, at: RawTime, error: Span, source: StampSource) {
        if let Some(sent) = find(&mut self.sent, seq) {
            (sent.at, sent.error, sent.source) = (at, error.into(), Some(source));
            self.last_stamped = seq;
        }
    }

    fn last_tx(&self) -> Option<PacketStamp> {
        let sent = look_up(&self.sent, self.last_stamped)?;
        Some(PacketStamp {
            seq: sent.seq,
            at: sent.at,
            error: sent.error.into(),
            source: sent.source?,
        })
    }

    fn last_rx(&self) -> Option<PacketStamp> {
        self.rx(self.last_received)
    }

    fn prior_rx(&self) -> Option<PacketStamp> {
        self.rx(self.last_received.wrapping_sub(1))
    }

    fn receive(
        &mut self,
        message: &Message,
        at: RawTime,
        error: Span,
        source: StampSource,
        tolerance: f64,
    ) -> Samples {
        let mut samples = Samples::default();
        for rx in [&message.prior_rx, &message.last_rx].into_iter().flatten() {
            if let Some(sent) = find(&mut self.sent, rx.seq) {
                sent.stamped_there(rx);
            }
        }
        if let Some(tx) = &message.last_tx
            && let Some(received) = find(&mut self.received, tx.seq)
            && !received.peer_knows
        {
            self.latency.learn(tx.at - received.there);
            received.stamped_there(tx);
        }
        // A transmit stamp may have come only after the answer, so look at all.
        samples.forward = [(); 2].map(|()| fresh(&mut self.sent).map(Passed::forward));
        samples.reverse = fresh(&mut self.received).map(Passed::reverse);
        self.last_received = message.seq;
        let mut received = Passed::new(message.seq, at, error, Some(source));
        (received.there, ..) = message.line.origin();
        if let Some(place) = place(&mut self.received, message.seq) {
            *place = Some(received);
        }
        let made_is_sent = self.latency.steady(tolerance);
        samples.exchanges = [(); 2].map(|()| self.pair(made_is_sent));
        samples
    }
}

impl Ledger {
    fn rx(&self, seq: u32) -> Option<PacketStamp> {
        let received = look_up(&self.received, seq)?;
        Some(PacketStamp {
            seq: received.seq,
            at: received.at,
            error: received.error.into(),
            source: received.source?,
        })
    }

    /// Of the packets not yet part of an exchange the two, one each way, that are closest: what
    /// the clocks do between them adds to the noise.
    fn pair(&mut self, made_is_sent: bool) -> Option<(OneWay, OneWay)> {
        let mut closest: Option<(Span, usize, usize)> = None;
        for (i, sent) in self.sent.as_ref().iter().enumerate() {
            let Some(sent) = sent.filter(|p| p.pairable(false)) else {
                continue;
            };
            for (j, received) in self.received.as_ref().iter().enumerate() {
                let Some(received) = received.filter(|p| p.pairable(made_is_sent)) else {
                    continue;
                };
                let apart = (received.at - sent.at).abs();
                if closest.is_none_or(|(least, ..)| apart < least) {
                    closest = Some((apart, i, j));
                }
            }
        }
        let (_, i, j) = closest?;
        let sent = self.sent.as_mut()[i].as_mut()?;
        let received = self.received.as_mut()[j].as_mut()?;
        (sent.paired, received.paired) = (true, true);
        let mut reverse = received.reverse();
        if !received.peer_knows {
            // Evenly spread over ± this is one sigma of what the latency varies by.
            let spread = f64::from(self.latency.variance * 12.0).sqrt();
            reverse.offset += self.latency.mean.round() as i64;
            reverse.error += Span::from_nanos_f64(spread);
        }
        Some((sent.forward(), reverse))
    }
}

/// Where packet `seq` is remembered, if any are.
fn place(passed: &mut Packets, seq: u32) -> Option<&mut Option<Passed>> {
    let places = passed.as_mut();
    let place = (seq as usize).checked_rem(places.len())?;
    places.get_mut(place)
}

fn find(passed: &mut Packets, seq: u32) -> Option<&mut Passed> {
    place(passed, seq)?.as_mut().filter(|p| p.seq == seq)
}

fn look_up(passed: &Packets, seq: u32) -> Option<&Passed> {
    let places = passed.as_ref();
    let place = (seq as usize).checked_rem(places.len())?;
    places[place].as_ref().filter(|p| p.seq == seq)
}

/// One that both ends have stamped and that was not given out yet.
fn fresh(passed: &mut Packets) -> Option<&Passed> {
    let mut all = passed.as_mut().iter_mut().flatten();
    let found = all.find(|p| p.complete() && !p.used)?;
    found.used = true;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Rate, VirtualLine, VirtualTime};
    use crate::wire::{ClockState, Excess, Promise, Tier};

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
            prior_rx: None,
            line: VirtualLine::new(
                RawTime::from_nanos(0),
                VirtualTime::from_nanos(0),
                Rate::ZERO,
            ),
            bound: Span::MAX,
            tier: Tier::NONE,
            promise: Promise::NONE,
            local: Span::ZERO,
            excess: Excess::UNKNOWN,
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
            0.0,
        );
        assert_eq!(
            s.forward[0],
            Some(OneWay::forward(at(100), at(1_150), Span::ZERO))
        );
        assert_eq!((s.reverse, s.exchanges[0]), (None, None));
        let second = ledger.send();
        assert_eq!(second, 0);
        ledger.stamp(second, at(900), Span::ZERO, StampSource::Kernel);
        let reply = message(8, Some(stamp(7, 1_250)), Some(stamp(second, 1_950)));
        let s = ledger.receive(&reply, at(1_100), Span::ZERO, StampSource::Kernel, 0.0);
        let reverse = OneWay::reverse(at(1_250), at(300), Span::ZERO);
        assert_eq!(s.reverse, Some(reverse));
        assert_eq!(
            s.exchanges[0],
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
            0.0,
        );
        assert_eq!(s, Samples::default());
        ledger.stamp(first, at(100), Span::ZERO, StampSource::Kernel);
        let s = ledger.receive(
            &message(8, Some(stamp(7, 1_250)), None),
            at(1_100),
            Span::ZERO,
            StampSource::Kernel,
            0.0,
        );
        assert!(s.forward[0].is_some() && s.exchanges[0].is_some());
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
                .receive(&reply, at(300), Span::ZERO, StampSource::Kernel, 0.0)
                .forward[0]
                .is_some()
        );
        let again = ledger.receive(&reply, at(301), Span::ZERO, StampSource::Kernel, 0.0);
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
                0.0,
            );
        }
        let rx = ledger.last_rx().unwrap();
        assert_eq!((rx.seq, rx.error), (8, Span::from_nanos(3)));
    }
}

//! Everything a node remembers of one peer it talks to. Fixed size.

use serde::{Deserialize, Serialize};

use super::NodeConfig;
use super::matching::{Matching, Samples};
use super::size::{Daemon, Size};
use crate::consensus::{Observation, Reading, Verdict};
use crate::link::{Interval, Link, LinkEstimator, Measured};
use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime, floor};
use crate::topology::{Kept, NodeId};
use crate::wire::{ClockState, Excess, Message, Promise, StampSource, Tier};

/// Polls without an answer after which a neighbour counts as unreachable.
pub(super) const SILENT_POLLS: u8 = 4;

/// A sample may be this much worse than the path's jitter and is still worth having early.
const TELLING: f64 = 0.25;

/// What a peer last said of its own clock.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Announced {
    pub(super) line: VirtualLine,
    pub(super) bound: Span,
    pub(super) state: ClockState,
    pub(super) tier: Tier,
    pub(super) promise: Told,
    /// When it said so, on our raw clock.
    pub(super) heard: RawTime,
}

impl Announced {
    /// Least and largest possible offset of its clock from ours, `line`, which does not slew, at each
    /// of the instants `at`, ns. `reference` and `possible` are those of the [`Link`] then.
    #[inline]
    fn limits<const N: usize>(
        &self,
        line: &VirtualLine,
        at: &[RawTime; N],
        (reference, possible): (i64, &[Option<(f64, Interval)>; N]),
        config: &NodeConfig,
    ) -> [Option<(f64, f64)>; N] {
        let Some((believed, _)) = possible[0] else {
            return [None; N];
        };
        // The first is worked out in whole nanoseconds, the others by what happens until then.
        let now = at[0];
        let shown = virtual_offset(line.at_exact(now), &self.line, (reference, believed), now);
        let there = now + Span::from_nanos(reference) + Span::from_nanos_f64(believed);
        let (slew, slew_until) = self.line.slew();
        let slewing = (slew_until - there).max(Span::ZERO).as_nanos_f64();
        let (rate, own_rate) = (self.line.rate().as_fraction(), line.rate().as_fraction());
        // An honest peer may have left its announced line by this much since it said so, which may
        // be long before we heard it if somebody held the packet back.
        let (origin, ..) = self.line.origin();
        let said = (there - origin).as_nanos_f64();
        let heard = (now - self.heard).as_nanos_f64();
        std::array::from_fn(|k| {
            let (then, interval) = possible[k]?;
            let ahead = (at[k] - now).as_nanos_f64();
            let moved = ahead + (then - believed);
            let gained = rate * moved + slew.as_fraction() * moved.min(slewing);
            let shown = shown + (then - believed) + (gained - own_rate * ahead);
            let age = (heard + ahead).abs().max((said + moved).abs());
            let left = self.promise.left(config.max_correction, age);
            Some((
                shown + (interval.lower - then) - left,
                shown + (interval.upper - then) + left,
            ))
        })
    }
}

/// A [`Promise`] in few bytes. What goes over the wire fits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Told {
    /// ns.
    slack: f32,
    /// A fraction.
    rate: f32,
    /// s.
    hold: f32,
    /// 0 if it was not told.
    wander: f32,
}

impl Told {
    fn new(promise: &Promise) -> Self {
        Self {
            slack: promise.slack.as_nanos_f64() as f32,
            rate: promise.rate.as_fraction() as f32,
            hold: promise.hold.as_secs_f64() as f32,
            wander: promise.wander.unwrap_or(0.0) as f32,
        }
    }

    /// How far an honest peer may have left its line in `age` (ns), ns.
    #[inline]
    fn left(&self, max_correction: Rate, age: f64) -> f64 {
        let held = age.min(1e9 * f64::from(self.hold));
        let later = age - held;
        f64::from(self.slack) + f64::from(self.rate) * held + max_correction.as_fraction() * later
    }
}

/// What a peer is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// It chose us and is merely answered.
    Stranger,
    /// A neighbour, as good as any.
    Drawn,
    /// Near: it counts in what those near us agree on, and in nothing else.
    Near,
}

/// One peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(
    serialize = "E: Serialize, E::Kind: Serialize",
    deserialize = "E: Deserialize<'de>, E::Kind: Deserialize<'de>"
))]
pub(super) struct Slot<E: LinkEstimator, S: Size = Daemon> {
    /// As short as it is kept.
    pub(super) peer: <S::Peer as Kept>::Id,
    pub(super) generation: u16,
    pub(super) role: Role,
    /// It is trusted with the frequency.
    pub(super) is_reference: bool,
    /// A session is there, so packets can be sent.
    pub(super) up: bool,
    pub(super) since: RawTime,
    pub(super) link: Link<E, S::Limits>,
    pub(super) ledger: S::Ledger,
    pub(super) announced: Option<Announced>,
    pub(super) verdict: Option<Verdict>,
    pub(super) next_burst: RawTime,
    pub(super) burst_left: u8,
    /// It has polled us since we polled it.
    pub(super) polled_us: bool,
    /// A packet waits to be sent; and whether it asks for a reply.
    pub(super) queued: bool,
    pub(super) request: bool,
    pub(super) reach: u8,
    pub(super) silent: u8,
    pub(super) answered: bool,
    pub(super) exchanges: u32,
    pub(super) min_rtt: Span,
    /// What its users are shown minus its line, ns.
    pub(super) local: f32,
    /// What it says of the network's frequency.
    pub(super) excess: Excess,
    pub(super) stamps: Option<StampSource>,
}

impl<E: LinkEstimator, S: Size> Slot<E, S> {
    pub(super) fn new(
        peer: NodeId,
        generation: u16,
        link: Link<E, S::Limits>,
        now: RawTime,
        first_seq: u32,
    ) -> Self {
        Self {
            peer: peer.into(),
            generation,
            role: Role::Stranger,
            is_reference: false,
            up: false,
            since: now,
            link,
            ledger: S::Ledger::new(first_seq),
            announced: None,
            verdict: None,
            next_burst: now,
            burst_left: 0,
            polled_us: false,
            queued: false,
            request: false,
            reach: 0,
            silent: 0,
            answered: false,
            exchanges: 0,
            min_rtt: Span::MAX,
            local: 0.0,
            excess: Excess::UNKNOWN,
            stamps: None,
        }
    }

    /// We chose it.
    pub(super) fn is_chosen(&self) -> bool {
        self.role != Role::Stranger
    }

    /// It takes part in what the whole network agrees on.
    pub(super) fn is_neighbour(&self) -> bool {
        self.role == Role::Drawn
    }

    /// It is trusted with the true frequency, and says that it knows it.
    pub(super) fn is_knowing(&self) -> bool {
        self.is_reference && self.excess.fraction().is_some()
    }

    /// Who it is.
    pub(super) fn peer(&self) -> NodeId {
        self.peer.into()
    }

    /// Take in an authenticated packet that arrived at `at ± error`; the exchanges it
    /// completes.
    pub(super) fn receive(
        &mut self,
        message: &Message,
        at: RawTime,
        error: Span,
        source: StampSource,
    ) -> [Option<Measured>; 2] {
        let tolerance = TELLING * self.link.jitter();
        let samples = self.ledger.receive(message, at, error, source, tolerance);
        self.hear(message, at, source, &samples)
    }

    /// Take in what the peer says in a packet that arrived at `at`, and the samples that it
    /// completes.
    pub(super) fn hear(
        &mut self,
        message: &Message,
        at: RawTime,
        source: StampSource,
        samples: &Samples,
    ) -> [Option<Measured>; 2] {
        self.stamps = Some(source);
        self.local = message.local.as_nanos_f64() as f32;
        self.excess = message.excess;
        self.announced = Some(Announced {
            line: message.line,
            bound: message.bound,
            state: message.state,
            tier: message.tier,
            promise: Told::new(&message.promise),
            heard: at,
        });
        if !self.is_chosen() {
            return [None; 2];
        }
        let limits = samples.forward.into_iter().chain([samples.reverse]);
        for sample in limits.flatten() {
            self.link.limit(&sample);
        }
        samples.exchanges.map(|exchange| {
            let (forward, reverse) = exchange?;
            self.exchanges = self.exchanges.saturating_add(1);
            self.answered = true;
            let measured = self.link.exchange(&forward, &reverse)?;
            // Before the rate is known, only packets close together tell the round trip.
            let apart = (reverse.at - forward.at).abs();
            if self.exchanges > 8 || apart < Span::from_millis(5) {
                self.min_rtt = self.min_rtt.min(measured.round_trip);
            }
            Some(measured)
        })
    }

    /// What an exchange with a believed neighbour says of the network's clock.
    pub(super) fn observation(&self, measured: &Measured) -> Option<Observation> {
        let announced = self.announced?;
        if self.verdict != Some(Verdict::Used) {
            return None;
        }
        let whole = floor(measured.offset);
        let there = measured.at + Span::from_nanos(measured.reference.saturating_add(whole as i64));
        // Where it wants to be says more than where it is, and holds for the past as well.
        let (at, fraction) = announced.line.settled().at_exact(there);
        Some(Observation {
            key: self.peer().order_key(),
            at: measured.at,
            clock: (at, fraction + measured.offset - whole),
            stamp_sigma: measured.stamp_sigma,
            likelihood: measured.likelihood,
        })
    }

    /// No longer a neighbour, only somebody who is answered.
    pub(super) fn retire(&mut self) {
        self.role = Role::Stranger;
        self.link.reset();
        self.verdict = None;
        self.burst_left = 0;
    }

    /// Our raw clock is another one from now on: whatever relates it to the peer's is void.
    pub(super) fn restart(&mut self, now: RawTime, first_seq: u32) {
        self.link.reset();
        self.ledger = S::Ledger::new(first_seq);
        self.announced = None;
        self.verdict = None;
        self.burst_left = 0;
        self.next_burst = now;
        (self.silent, self.answered) = (0, false);
    }

    /// Whether it has been heard lately enough to count.
    pub(super) const fn reachable(&self) -> bool {
        self.up && self.silent < SILENT_POLLS
    }

    /// A poll begins: account for the last one.
    pub(super) fn begin_poll(&mut self) {
        self.reach = self.reach << 1 | u8::from(self.answered);
        self.silent = if self.answered {
            0
        } else {
            self.silent.saturating_add(1)
        };
        self.answered = false;
    }

    /// Our oscillator wanders by no more than `ours`, that of the peer by what it says or as it is
    /// specified; one sigma, as a fraction per √s.
    pub(super) fn expect_wander(&mut self, ours: f64, specified: f64) {
        let told = self.announced.map(|announced| announced.promise.wander);
        let theirs = told.filter(|told| *told > 0.0).map_or(specified, f64::from);
        self.link.expect_wander(ours.hypot(theirs));
    }

    /// It says that it is synchronized.
    pub(super) fn is_ready(&self) -> bool {
        let announced = self.announced.as_ref();
        announced.is_some_and(|a| a.state == ClockState::Synchronized)
    }

    /// Least and largest possible [`Slot::reading`] against our clock, `line`, which does not slew, at
    /// each of the instants `at`: what guaranteed windows are made of.
    pub(super) fn limits<const N: usize>(
        &self,
        line: &VirtualLine,
        at: &[RawTime; N],
        config: &NodeConfig,
    ) -> [Option<(f64, f64)>; N] {
        let Some(announced) = self.announced.as_ref() else {
            return [None; N];
        };
        let (reference, possible) = self.link.possible(at);
        announced.limits(line, at, (reference, &possible), config)
    }

    /// Its virtual clock against ours (`line`) at `now`, if it is known.
    pub(super) fn reading(
        &self,
        line: &VirtualLine,
        now: RawTime,
        config: &NodeConfig,
    ) -> Option<Reading> {
        let announced = self.announced.as_ref()?;
        let estimate = self.link.estimate(now)?;
        let belief = estimate.belief;
        let (reference, believed) = (estimate.reference, belief.offset);
        let possible = (reference, &[Some((believed, estimate.interval))]);
        let [limits] = announced.limits(line, &[now], possible, config);
        let (lower, upper) = limits?;
        let settled = line.settled().at_exact(now);
        let theirs = announced.line.settled();
        Some(Reading {
            offset: virtual_offset(settled, &theirs, (reference, believed), now),
            sigma: belief.offset_sigma,
            lower,
            upper,
            rate: belief.rate + announced.line.rate().as_fraction() - line.rate().as_fraction(),
            rate_sigma: belief.rate_sigma,
            raw_rate: belief.rate,
            ready: self.is_ready(),
            key: self.peer().order_key(),
            tier: announced.tier,
        })
    }
}

/// The peer's virtual clock minus ours at `now`, ns: what ours shows, its line, and where its raw
/// clock is believed to be.
#[inline]
fn virtual_offset(
    (our_time, our_fraction): (VirtualTime, f64),
    theirs: &VirtualLine,
    (reference, believed): (i64, f64),
    now: RawTime,
) -> f64 {
    let whole = floor(believed);
    let reference = Span::from_nanos(reference) + Span::from_nanos(whole as i64);
    let (their_time, their_fraction) = theirs.at_exact(now + reference);
    (their_time - our_time).as_nanos_f64() + (their_fraction - our_fraction) + (believed - whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::OneSided;
    use crate::node::Crowd;
    use crate::node::ledger::Ledger;

    const AFFORDABLE: usize = 792;

    /// Simulations hold millions of these.
    const CROWDED: usize = 344;

    #[test]
    fn a_peer_takes_few_bytes() {
        let (slot, link) = (
            size_of::<Option<Slot<OneSided>>>(),
            size_of::<Link<OneSided>>(),
        );
        let ledger = size_of::<Ledger>();
        println!("slot {slot} bytes, of these estimator {link}, ledger {ledger}");
        assert!(slot <= AFFORDABLE, "{slot}");
        let slot = size_of::<Option<Slot<OneSided, Crowd>>>();
        let announced = size_of::<Announced>();
        println!("in a crowd {slot} bytes, of these what it announced {announced}");
        assert!(slot <= CROWDED, "{slot}");
    }
}

//! The sans-io protocol machine of one node.
//!
//! Inputs: authenticated [`Message`]s with their receive stamps, transmit stamps, peers found and
//! lost, sessions up and down, and the time. Outputs: messages to send, the next timeout,
//! [`Event`]s, and the virtual clock ([`Node::clock`]). It reads no clock, opens no socket, spawns
//! no thread, and allocates only while it is built; for a seed and a sequence of inputs it always
//! does the same. The daemon and the simulator run this very code.
//!
//! ```text
//! unsynchronized ─► joining ─► synchronized ⇄ holdover ─► free-running
//!                      ▲            │              │            │
//!                      └────────────┴──────────────┴────────────┘  (majority elsewhere, peers back)
//! ```

mod anchor;
mod clock;
mod config;
mod join;
mod ledger;
mod lie;
mod matching;
mod neighbours;
mod polls;
mod promise;
mod reference;
mod round;
mod size;
mod slot;
mod stability;
mod vicinity;
mod whole;

pub use clock::{ClockView, SIGMAS_99_9};
pub use config::{NodeConfig, Strategies};
pub use lie::Lie;
pub use size::{Crowd, Daemon, Size};
pub use stability::Deviation;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::consensus::{Combine, Ensemble};
use crate::link::{Link, LinkEstimator, Measured, OneSided};
use crate::rng::Rng;
use crate::time::{RawTime, Span, VirtualLine};
use crate::topology::{Candidates, Kept, NodeId};
use crate::wire::{ClockState, Message, Promise, StampSource};
use clock::Clockwork;
use matching::Matching;
use polls::Polls;
use slot::Slot;
use stability::Stability;

/// Names one slot of a node for as long as one peer has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkId {
    slot: u16,
    generation: u16,
}

/// A timestamp on the node's own raw clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RawStamp {
    /// The instant.
    pub at: RawTime,
    /// It may be off by this much either way.
    pub error: Span,
    /// Where it was taken.
    pub source: StampSource,
}

/// A message to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transmit {
    /// To whom.
    pub peer: NodeId,
    /// Names the link when the transmit stamp comes ([`Node::transmitted`]).
    pub link: LinkId,
    /// What.
    pub message: Message,
}

/// Something the surroundings should know or do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Open a session with this candidate (it was chosen, or its session seems dead).
    Connect(crate::topology::Candidate),
    /// This peer is no longer talked to.
    Dropped(NodeId),
    /// More peers are wanted; ask the engines for so many.
    WantPeers(usize),
    /// So many peers near us would be welcome, if any are known.
    WantNear(usize),
    /// The clock's state changed.
    State(ClockState),
    /// The virtual clock jumped by this much.
    Stepped(Span),
}

/// Totals since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages handed out for sending.
    pub sent: u64,
    /// Messages taken in.
    pub received: u64,
    /// Exchanges completed with chosen neighbours.
    pub exchanges: u64,
    /// Times the virtual clock jumped.
    pub steps: u64,
}

/// What of a node's clock decides when it does what. Everything else that it does follows from its
/// seed and its inputs, whatever it thinks of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The clock has settled: polls are as rare as they are to be.
    pub settled: bool,
    /// Neighbours are exchanged soon: joining takes long, or more of them are false than can be.
    pub in_vain: bool,
}

/// Mean pause between the exchanges of a burst.
const BURST_PAUSE: Span = Span::from_micros(200);

/// Events that wait for the surroundings; the oldest give way, since a newer one says more.
const MOST_EVENTS: usize = 64;

/// One node. It can be put aside with all that it remembers, and goes on as if nothing had been.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(
    serialize = "E: Serialize, E::Kind: Serialize, C: Serialize",
    deserialize = "E: Deserialize<'de>, E::Kind: Deserialize<'de>, C: Deserialize<'de>"
))]
pub struct Node<E: LinkEstimator = OneSided, C = Ensemble, S: Size = Daemon> {
    config: NodeConfig,
    rng: Rng,
    slots: Vec<Option<Slot<E, S>>>,
    polls: Polls,
    outbox: VecDeque<u16>,
    events: VecDeque<Event>,
    candidates: Candidates<S::Peer>,
    clock: Clockwork,
    estimator: E::Kind,
    combine: C,
    stability: Stability<S::Octaves>,
    pace: Option<Pace>,
    next_round: RawTime,
    /// When the clock takes in what was observed, if that is before the next round.
    next_refinement: Option<RawTime>,
    next_census: RawTime,
    next_rotation: RawTime,
    want_pause: Span,
    next_want: RawTime,
    next_want_near: RawTime,
    totals: Totals,
}

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// A node whose virtual clock starts as `line`. `seed` decides all its random choices.
    pub fn new(config: NodeConfig, now: RawTime, line: VirtualLine, seed: u64) -> Self
    where
        C: Default,
    {
        Self::with_strategies(config, now, line, seed, E::Kind::default(), C::default())
    }

    /// The same with these strategies for one link and for many.
    pub fn with_strategies(
        config: NodeConfig,
        now: RawTime,
        line: VirtualLine,
        seed: u64,
        estimator: E::Kind,
        combine: C,
    ) -> Self {
        let config = config.checked();
        let slots = config.neighbours + config.near + config.inbound;
        let mut rng = Rng::new(seed);
        let phase = config.fast_poll.as_nanos_f64() * rng.unit();
        Self {
            slots: std::iter::repeat_with(|| None).take(slots).collect(),
            polls: Polls::new(slots),
            outbox: VecDeque::with_capacity(slots),
            events: if S::SPARING {
                VecDeque::new()
            } else {
                VecDeque::with_capacity(MOST_EVENTS)
            },
            candidates: Candidates::new(config.candidates),
            clock: Clockwork::new(line, now, config.max_correction),
            estimator,
            combine,
            stability: Stability::default(),
            pace: None,
            next_round: now + Span::from_nanos_f64(phase),
            next_refinement: None,
            next_census: now,
            next_rotation: now + config.rotate,
            want_pause: Span::from_secs(1),
            next_want: now,
            next_want_near: now,
            totals: Totals::default(),
            config,
            rng,
        }
    }

    /// The configuration in force.
    pub const fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The virtual clock as of the last round: as others near us are shown theirs.
    pub fn clock(&self) -> ClockView {
        self.clock.shown()
    }

    /// How much our oscillator wanders, as a fraction per √s, as far as it is measured.
    pub fn wander(&self) -> Option<f64> {
        self.combine.wander()
    }

    /// Allan deviations of our oscillator against the network's clock, as far as they are measured,
    /// from the shortest averaging time on.
    pub fn deviations(&self) -> impl Iterator<Item = Deviation> + '_ {
        self.stability.deviations()
    }

    /// Totals since start.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// The link to `peer`, if it has a slot.
    pub fn link(&self, peer: &NodeId) -> Option<&Link<E, S::Limits>> {
        let slot = self.slots[self.find(peer)?].as_ref();
        slot.map(|slot| &slot.link)
    }

    /// What each peer takes in memory, bytes, with what is known of its address.
    pub const fn link_bytes() -> usize {
        size_of::<Option<Slot<E, S>>>() + Candidates::<S::Peer>::BYTES
    }

    /// Whether [`Node::poll_transmit`] has anything to look at.
    pub fn is_sending(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The pace at `now`.
    pub fn pace(&self, now: RawTime) -> Pace {
        self.pace.unwrap_or_else(|| self.own_pace(now))
    }

    /// From now on keep the pace of another node instead of one's own. A replay runs other
    /// strategies over what one node received: with the same seed, inputs and pace they send the
    /// same packets at the same times, whatever they make of the answers.
    pub const fn keep_pace(&mut self, pace: Pace) {
        self.pace = Some(pace);
    }

    /// The peers known.
    pub const fn candidates(&self) -> &Candidates<S::Peer> {
        &self.candidates
    }

    /// An authenticated message of `peer` arrived.
    ///
    /// Messages of peers without a session ([`Node::session_up`]) are ignored.
    pub fn receive(&mut self, now: RawTime, peer: &NodeId, message: &Message, stamp: RawStamp) {
        let Some(index) = self.find(peer) else {
            return;
        };
        let Some(slot) = self.slots[index].as_mut() else {
            return;
        };
        self.totals.received += 1;
        let before = slot.exchanges;
        let measured = slot.receive(message, stamp.at, stamp.error, stamp.source);
        slot.silent = 0;
        let completed = u64::from(slot.exchanges - before);
        self.totals.exchanges += completed;
        self.observe(index, &measured);
        let Some(slot) = self.slots[index].as_mut() else {
            return;
        };
        if message.wants_reply {
            slot.polled_us = true;
            self.queue(index, false);
        } else if slot.burst_left > 0 {
            // The next exchange of the burst follows its reply while caches are warm, after a random
            // pause that keeps it out of step with whatever else is periodic.
            let pause = BURST_PAUSE.as_nanos_f64() * (0.5 + self.rng.unit());
            let due = now + Span::from_nanos_f64(pause);
            self.polls.plan(index, due);
        }
        if completed > 0 {
            let id = *peer;
            self.candidates.answered(&id);
        }
    }

    /// The clock takes in what an exchange with a believed neighbour measured.
    fn observe(&mut self, index: usize, measured: &[Option<Measured>; 2]) {
        if self.clock.view.state != ClockState::Synchronized {
            return;
        }
        let Some(slot) = &self.slots[index] else {
            return;
        };
        for measured in measured.iter().flatten() {
            if let Some(observation) = slot.observation(measured) {
                self.combine.observe(&observation);
            }
        }
    }

    /// The packet with `seq` on `link` left at `stamp`.
    pub fn transmitted(&mut self, link: LinkId, seq: u32, stamp: RawStamp) {
        if let Some(Some(slot)) = self.slots.get_mut(usize::from(link.slot))
            && slot.generation == link.generation
        {
            slot.ledger.stamp(seq, stamp.at, stamp.error, stamp.source);
        }
    }

    /// The host slept for `span`, which its raw clock did not count. The line goes on where it
    /// must be by now, to the precision of `span`; everything measured is measured anew.
    pub fn slept(&mut self, now: RawTime, span: Span) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(slot) = slot else { continue };
            slot.restart(now, self.rng.next() as u32);
            if self.polls.is_polled(index) {
                self.polls.plan(index, now);
            }
        }
        self.restart_clock(now, span);
    }

    /// The next message to send, if any. Ask until there is none, after every other input.
    pub fn poll_transmit(&mut self, now: RawTime) -> Option<Transmit> {
        while let Some(index) = self.outbox.pop_front() {
            let Some(slot) = self.slots[usize::from(index)].as_mut() else {
                continue;
            };
            slot.queued = false;
            if !slot.up {
                continue;
            }
            let peer = slot.peer();
            let link = LinkId {
                slot: index,
                generation: slot.generation,
            };
            let (last_tx, seq) = (slot.ledger.last_tx(), slot.ledger.send());
            let (last_rx, prior_rx) = (slot.ledger.last_rx(), slot.ledger.prior_rx());
            let wants_reply = std::mem::take(&mut slot.request);
            self.totals.sent += 1;
            let message = Message {
                last_tx,
                seq,
                wants_reply,
                last_rx,
                prior_rx,
                ..self.announce(now)
            };
            return Some(Transmit {
                peer,
                link,
                message,
            });
        }
        None
    }

    /// What a packet that leaves at `now` says of our clock, to whomever it goes.
    pub fn announce(&mut self, now: RawTime) -> Message {
        let view = self.clock.view;
        let promise = if view.state == ClockState::Synchronized {
            let wander = self.combine.wander().map(|_| self.wander_limit());
            self.clock.promise.announce(now, &view.line, wander)
        } else {
            Promise::NONE
        };
        Message {
            last_tx: None,
            seq: 0,
            wants_reply: false,
            state: view.state,
            last_rx: None,
            prior_rx: None,
            line: view.line.anchored_at(now),
            bound: view.bound_at(now).unwrap_or(Span::MAX),
            tier: self.combine.tier(),
            promise,
            excess: self.told_excess(),
            local: Span::from_nanos_f64(self.clock.vicinity.apart(now, &view.line).round()),
        }
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if S::SPARING && self.events.is_empty() {
            self.events = VecDeque::new();
        }
        event
    }

    /// When [`Node::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> RawTime {
        let polls = self.polls.earliest();
        let next = polls.min(self.next_round).min(self.next_census);
        self.next_refinement.map_or(next, |due| next.min(due))
    }

    /// Do what is due at `now`.
    pub fn handle_timeout(&mut self, now: RawTime) {
        if now >= self.next_census {
            self.census(now);
        }
        if now >= self.polls.earliest() {
            for index in 0..self.slots.len() {
                if self.polls.is_due(index, now) {
                    self.poll_neighbour(index, now);
                }
            }
        }
        if now >= self.next_round {
            self.round(now);
        } else if self.next_refinement.is_some_and(|due| now >= due) {
            self.refine(now);
        }
    }

    fn queue(&mut self, index: usize, request: bool) {
        if let Some(slot) = self.slots[index].as_mut() {
            slot.request |= request;
            if !slot.queued {
                slot.queued = true;
                self.outbox.push_back(index as u16);
            }
        }
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn find(&self, peer_id: &NodeId) -> Option<usize> {
        let peer = <S::Peer as Kept>::Id::from(*peer_id);
        let is_peer = |slot: &Option<Slot<E, S>>| slot.as_ref().is_some_and(|s| s.peer == peer);
        self.polls
            .of(peer_id)
            .find(|index| is_peer(&self.slots[*index]))
    }
}

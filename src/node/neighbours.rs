//! Peers come, are chosen, polled, found silent, exchanged, and go.

use super::slot::{Role, SILENT_POLLS, Slot};
use super::{Event, Node, Pace, SIGMAS_99_9, Size};
use crate::consensus::{Combine, Reading, Verdict};
use crate::export::status::{Peer, Use};
use crate::link::{Link, LinkEstimator};
use crate::time::{RawTime, Span};
use crate::topology::{Candidate, FoundBy, NodeId};
use crate::wire::ClockState;
use std::net::SocketAddr;

/// Time between looks at the neighbourhood as a whole.
const CENSUS: Span = Span::from_millis(250);

/// Silent polls after which a neighbour is given up for another.
const GIVE_UP_POLLS: u8 = 12;

/// With fewer neighbours than this, peers that merely spoke to us are better than none.
const DESPERATE: usize = 3;

/// Time a session may take to come up before the candidate counts as unreachable.
const CONNECT_TIMEOUT: Span = Span::from_secs(10);

/// An inbound peer that is silent for this long, and for a few polls, may make room for another.
const IDLE: Span = Span::from_secs(10);

/// The pause between two exchanges of neighbours while those at hand do not let us join, or too
/// many of them disagree.
const HASTY_ROTATE: Span = Span::from_secs(10);

/// Longest pause between two requests for more peers.
const LONGEST_WANT_PAUSE: Span = Span::from_secs(60);

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// A peer was found, or found under a new address.
    pub fn peer_found(&mut self, peer: Candidate) {
        let (id, trusted) = (peer.id, peer.found_by == FoundBy::Reference);
        if trusted
            && let Some(index) = self.find(&id)
            && let Some(slot) = self.slots[index].as_mut()
        {
            slot.is_reference = true;
            if slot.role == Role::Near {
                slot.role = Role::Drawn;
            }
        }
        if self.candidates.learn(peer)
            && let Some(index) = self.find(&id)
            && let Some(slot) = &self.slots[index]
            && slot.is_chosen()
            && !slot.reachable()
        {
            self.reconnect(&id);
        }
    }

    /// A peer has left, its engine says. If it still answers us, that counts for more.
    pub fn peer_lost(&mut self, id: &NodeId, now: RawTime) {
        if let Some(index) = self.find(id) {
            if self.slots[index].as_ref().is_some_and(Slot::reachable) {
                return;
            }
            self.drop_slot(index, now, true);
        }
        self.candidates.forget(id);
    }

    /// A session with `peer` is up, at `addr`. `inbound`: it opened it.
    pub fn session_up(&mut self, now: RawTime, peer: NodeId, addr: SocketAddr, inbound: bool) {
        let index = match self.find(&peer) {
            Some(index) => Some(index),
            None if inbound => {
                self.candidates.learn(Candidate {
                    id: peer,
                    addr,
                    found_by: FoundBy::Inbound,
                });
                self.occupy(peer, now, false)
            }
            None => {
                // We have given it up meanwhile: the session is of no use to us.
                self.emit(Event::Dropped(peer));
                return;
            }
        };
        if let Some(slot) = index.and_then(|index| self.slots[index].as_mut()) {
            slot.up = true;
            slot.silent = 0;
            if slot.is_chosen()
                && let Some(index) = index
            {
                self.polls.hasten(index, now);
            }
        }
        self.next_census = self.next_census.min(now);
    }

    /// Whose clocks count, among those that there is a session with.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        let slots = self.slots.iter().flatten();
        slots
            .filter(|slot| slot.is_neighbour() && slot.up)
            .map(Slot::peer)
    }

    /// Whether `peer` has a slot, so that its messages are taken in.
    pub fn knows(&self, peer: &NodeId) -> bool {
        self.find(peer).is_some()
    }

    /// The session with `peer` is gone.
    pub fn session_down(&mut self, now: RawTime, peer: &NodeId) {
        if let Some(index) = self.find(peer) {
            self.drop_slot(index, now, true);
        }
    }

    /// A session with `peer` could not be opened; one that still works is kept.
    pub fn connect_failed(&mut self, now: RawTime, peer: &NodeId) {
        if let Some(index) = self.find(peer)
            && !self.slots[index].as_ref().is_some_and(Slot::reachable)
        {
            self.drop_slot(index, now, true);
        }
    }

    /// An authenticated packet of `peer` came from a new address.
    pub fn peer_moved(&mut self, peer: &NodeId, addr: SocketAddr) {
        self.candidates.moved(peer, addr);
    }

    /// Every slot in use, for people.
    pub fn peers(&self, now: RawTime) -> impl Iterator<Item = Peer> {
        let line = self.clock.view.line;
        self.slots.iter().flatten().map(move |slot| {
            let known = self.candidates.get(&slot.peer());
            let reading = slot.reading(&line, now, &self.config);
            Peer {
                id: slot.peer(),
                addr: known
                    .as_ref()
                    .map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |k| k.addr),
                found_by: known.as_ref().map_or(FoundBy::Inbound, |k| k.found_by),
                used: standing(slot),
                state: slot
                    .announced
                    .map_or(ClockState::Unsynchronized, |a| a.state),
                offset_ns: reading.map(|r| r.offset),
                offset_sigma_ns: reading.map(|r| r.sigma),
                offset_statistical_ns: reading.map(|r| statistical(&r)),
                offset_min_ns: reading.map(|r| r.lower),
                offset_max_ns: reading.map(|r| r.upper),
                rate_ppm: reading.map(|r| r.raw_rate * 1e6),
                claimed_bound_ns: slot
                    .announced
                    .and_then(|a| (a.bound != Span::MAX).then_some(a.bound.as_nanos())),
                rtt_ns: (slot.min_rtt != Span::MAX).then_some(slot.min_rtt.as_nanos()),
                stamps: slot.stamps,
                reach: slot.reach,
                exchanges: u64::from(slot.exchanges),
            }
        })
    }

    /// Look at the neighbourhood as a whole: fill it, renew it.
    pub(super) fn census(&mut self, now: RawTime) {
        self.next_census = now + CENSUS;
        for index in 0..self.slots.len() {
            let Some(slot) = &self.slots[index] else {
                continue;
            };
            let dead = slot.is_chosen() && slot.silent >= GIVE_UP_POLLS;
            let stillborn = slot.is_chosen() && !slot.up && now - slot.since > CONNECT_TIMEOUT;
            if dead || stillborn {
                self.drop_slot(index, now, true);
            }
        }
        while self.drawn() < self.config.neighbours {
            let desperate = self.drawn() < DESPERATE;
            let random = self.rng.next();
            let Some(candidate) = self.candidates.draw(now, random, desperate) else {
                break;
            };
            self.choose(candidate, Role::Drawn, now);
        }
        if self.drawn() < self.config.neighbours && now >= self.next_want {
            self.emit(Event::WantPeers(self.config.neighbours - self.drawn()));
            self.next_want = now + self.want_pause;
            self.want_pause = (self.want_pause * 2).min(LONGEST_WANT_PAUSE);
        }
        self.fill_vicinity(now);
        if self.pace(now).in_vain {
            // Whoever drew bad neighbours must not be left with them.
            self.next_rotation = self.next_rotation.min(now + HASTY_ROTATE);
        }
        if self.candidates.lacks_reference(now) {
            self.next_rotation = now;
        }
        if now >= self.next_rotation {
            self.next_rotation = now + self.config.rotate;
            self.rotate(now);
        }
    }

    /// How many neighbours there are, near ones apart.
    fn drawn(&self) -> usize {
        let slots = self.slots.iter().flatten();
        slots.filter(|slot| slot.is_neighbour()).count()
    }

    /// Poll neighbour `index`, which is due.
    pub(super) fn poll_neighbour(&mut self, index: usize, now: RawTime) {
        let period = self.poll_period();
        let Some(slot) = self.slots[index].as_mut() else {
            return;
        };
        if slot.burst_left > 0 {
            slot.burst_left -= 1;
            self.polls.plan(index, slot.next_burst);
            self.queue(index, true);
            return;
        }
        slot.begin_poll();
        let seems_dead = slot.silent == SILENT_POLLS;
        // An exchange serves both sides, so two nodes that poll each other take turns, each at
        // half the pace. The one that asks comes from sleep and the one that answers does not;
        // with roles that change, what that does to the delays averages out.
        let shared = std::mem::take(&mut slot.polled_us);
        let stretch = if shared { 2.0 } else { 1.0 };
        let jitter = 0.75 + 0.5 * self.rng.unit();
        slot.next_burst = now + Span::from_nanos_f64(stretch * period.as_nanos_f64() * jitter);
        slot.burst_left = self.config.burst - 1;
        self.polls.plan(index, slot.next_burst);
        self.queue(index, true);
        if seems_dead && let Some(slot) = &self.slots[index] {
            let peer = slot.peer();
            self.reconnect(&peer);
        }
    }

    /// Faster until the clock has settled.
    pub(super) fn poll_period(&self) -> Span {
        let settled = self.pace.map_or_else(|| self.is_settled(), |p| p.settled);
        if settled {
            self.config.poll
        } else {
            self.config.fast_poll
        }
    }

    /// The pace that this node's own clock asks for.
    pub(super) fn own_pace(&self, now: RawTime) -> Pace {
        Pace {
            settled: self.is_settled(),
            in_vain: self.clock.in_vain(now),
        }
    }

    fn is_settled(&self) -> bool {
        /// Rounds at the fast pace after the clock became synchronized.
        const SETTLE_ROUNDS: u32 = 20;
        self.clock.view.state == ClockState::Synchronized
            && self.clock.settled_rounds >= SETTLE_ROUNDS
    }

    pub(super) fn choose(&mut self, candidate: Candidate, role: Role, now: RawTime) {
        let Some(index) = self
            .find(&candidate.id)
            .or_else(|| self.occupy(candidate.id, now, true))
        else {
            self.candidates.release(&candidate.id);
            return;
        };
        if let Some(slot) = self.slots[index].as_mut() {
            slot.role = role;
            slot.is_reference = candidate.found_by == FoundBy::Reference;
            slot.since = now;
            slot.silent = 0;
            if slot.up {
                self.polls.plan(index, now);
            } else {
                self.emit(Event::Connect(candidate));
            }
        }
    }

    /// Exchange one neighbour for a fresh one, so that no path's asymmetry stays for ever.
    fn rotate(&mut self, now: RawTime) {
        let exchangeable = |slot: &Option<Slot<E, S>>| {
            slot.as_ref().is_some_and(|slot| {
                let found_by = self.candidates.get(&slot.peer()).map(|c| c.found_by);
                slot.is_neighbour() && !found_by.is_some_and(FoundBy::is_configured)
            })
        };
        let count = self.slots.iter().filter(|s| exchangeable(s)).count();
        if count == 0 || self.drawn() < self.config.neighbours {
            return;
        }
        if self.candidates.free(now) == 0 {
            self.emit(Event::WantPeers(1));
            return;
        }
        let indices = self.slots.iter().enumerate();
        let nth = self.rng.clone().next() as usize % count;
        let victim = indices
            .filter(|(_, s)| exchangeable(s))
            .nth(nth)
            .map(|(i, _)| i);
        if let Some(index) = victim {
            self.rng.next();
            self.part_with(index, now);
        }
    }

    /// No longer poll neighbour `index`; if it polls us, it goes on being answered.
    fn part_with(&mut self, index: usize, now: RawTime) {
        let Some(slot) = self.slots[index].as_mut() else {
            return;
        };
        if slot.announced.is_none_or(|a| now - a.heard > IDLE) {
            return self.drop_slot(index, now, false);
        }
        slot.retire();
        self.polls.never(index);
        let peer = slot.peer();
        self.candidates.release(&peer);
        self.emit(Event::Dropped(peer));
    }

    fn reconnect(&mut self, peer: &NodeId) {
        if let Some(candidate) = self.candidates.get(peer) {
            self.emit(Event::Connect(candidate));
        }
    }

    /// A slot for `peer`: a free one, or that of the inbound peer that has been idle longest. For
    /// another inbound peer only one that has been silent for a while is taken: where more want to
    /// be answered than there is room for, some are, rather than none for long.
    fn occupy(&mut self, peer: NodeId, now: RawTime, chosen: bool) -> Option<usize> {
        let inbound = self
            .slots
            .iter()
            .flatten()
            .filter(|s| !s.is_chosen())
            .count();
        let free = self.slots.iter().position(Option::is_none);
        let index = match free {
            Some(index) if chosen || inbound < self.config.inbound => index,
            _ => {
                let idle = self.slots.iter().enumerate().filter_map(|(index, slot)| {
                    let slot = slot.as_ref().filter(|s| !s.is_chosen())?;
                    Some((slot.announced.map_or(slot.since, |a| a.heard), index))
                });
                let patience = IDLE.max(self.config.poll * 4);
                let (_, index) = idle
                    .min()
                    .filter(|(heard, _)| chosen || now - *heard > patience)?;
                self.drop_slot(index, now, false);
                index
            }
        };
        // Any random number serves as the first generation; it only has to change.
        let (generation, first_seq) = (self.rng.next() as u16, self.rng.next() as u32);
        let link = Link::new(self.estimator, self.config.oscillator);
        let slot = Slot::new(peer, generation, link, now, first_seq);
        self.slots[index] = Some(slot);
        self.polls.occupy(index, &peer);
        Some(index)
    }

    pub(super) fn drop_slot(&mut self, index: usize, now: RawTime, failed: bool) {
        let Some(slot) = self.slots[index].take() else {
            return;
        };
        self.polls.free(index);
        let peer = slot.peer();
        if slot.queued {
            self.outbox.retain(|queued| usize::from(*queued) != index);
        }
        if failed {
            self.candidates.failed(&peer, now);
        } else {
            self.candidates.release(&peer);
        }
        if !slot.is_chosen() {
            self.candidates.forget_stranger(&peer);
        } else if slot.up {
            // A neighbour less. Those that never were one are no reason to ask more often.
            self.want_pause = Span::from_secs(1);
        }
        self.emit(Event::Dropped(peer));
    }
}

/// Half the width of the interval around a reading's offset that holds in 99.9 % of all cases: no
/// end of it is beyond what is guaranteed.
fn statistical(reading: &Reading) -> f64 {
    let farthest = (reading.upper - reading.offset).max(reading.offset - reading.lower);
    farthest.min(SIGMAS_99_9 * reading.sigma)
}

/// Whether a neighbour is used, and if not why.
fn standing<E: LinkEstimator, S: Size>(slot: &Slot<E, S>) -> Use {
    if !slot.is_chosen() {
        return Use::Inbound;
    }
    if !slot.reachable() {
        return Use::Unreachable;
    }
    if slot.role == Role::Near {
        return Use::Near;
    }
    match slot.verdict {
        None => Use::Starting,
        Some(Verdict::Used) => Use::Used,
        Some(Verdict::NotReady) => Use::NotReady,
        Some(Verdict::Falseticker) => Use::Falseticker,
        Some(Verdict::WrongRate) => Use::WrongRate,
    }
}

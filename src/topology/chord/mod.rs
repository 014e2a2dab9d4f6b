//! Chord: keys lie on a ring, a node is in charge of those between its predecessor and itself,
//! and knows a *finger* at each power of two of distance ahead.
//!
//! I. Stoica, R. Morris, D. Karger, M. F. Kaashoek, H. Balakrishnan, *Chord: A scalable
//! peer-to-peer lookup service for Internet applications*, SIGCOMM 2001: lookups take ½·log₂ n
//! steps, and rings stay whole while one of each node's successors is alive. Lookups are
//! iterative here, and answers tell of successors too, which saves the last steps.

use super::overlay::{
    Actions, Answer, Contact, Key, LinkStructure, MAX_REFERRALS, Place, Query, Referral, Rng,
    admits,
};
use crate::time::RawTime;

/// Successors known: all of them fail at once with 2⁻¹⁵ when half of the nodes do.
const SUCCESSORS: usize = MAX_REFERRALS - 1;
/// Of an answer's contacts, those that follow the key.
const FOLLOWING: usize = MAX_REFERRALS / 2;
/// Every so many steps of upkeep the node looks itself up from afar: where two rings exist side
/// by side, neither notices otherwise.
const CHECK_EVERY: u32 = 8;

const JOIN: u8 = 0;
const FINGER: u8 = 1;
const CHECK: u8 = 2;

/// One node's ring and fingers.
#[derive(Debug, Clone)]
pub struct Chord<A> {
    own: Key,
    predecessor: Option<Contact<A>>,
    /// The next first.
    successors: Vec<Contact<A>>,
    /// One for each power of two of distance, the nearest first. Those that would be the
    /// successor are left out.
    fingers: Vec<Contact<A>>,
    member: bool,
    steps: u32,
}

impl<A: Place> Chord<A> {
    /// The empty ring of the node with this key.
    pub const fn new(own: Key) -> Self {
        Self {
            own,
            predecessor: None,
            successors: Vec::new(),
            fingers: Vec::new(),
            member: false,
            steps: 0,
        }
    }

    /// The next node on the ring.
    pub fn successor(&self) -> Option<Contact<A>> {
        self.successors.first().copied()
    }

    /// The node before on the ring.
    pub const fn predecessor(&self) -> Option<Contact<A>> {
        self.predecessor
    }

    fn ahead(&self, contact: &Contact<A>) -> u64 {
        self.own.clockwise(contact.key)
    }

    /// Which finger a contact could be: the power of two of its distance.
    fn octave(&self, contact: &Contact<A>) -> u32 {
        self.ahead(contact).checked_ilog2().unwrap_or(0)
    }

    fn has_finger(&self, octave: u32) -> bool {
        self.fingers.iter().any(|f| self.octave(f) == octave)
    }

    fn is_successor(&self, contact: &Contact<A>) -> bool {
        let nearer = |last: &Contact<A>| self.ahead(contact) < self.ahead(last);
        self.successors.len() < SUCCESSORS || self.successors.last().is_some_and(nearer)
    }

    fn is_predecessor(&self, contact: &Contact<A>) -> bool {
        let nearer = |p: &Contact<A>| contact.key.clockwise(self.own) < p.key.clockwise(self.own);
        self.predecessor.as_ref().is_none_or(nearer)
    }

    fn knows_near(&self, contact: &Contact<A>) -> bool {
        let known = |c: &Contact<A>| c.key == contact.key;
        self.successors.iter().any(known)
    }

    fn admits(&self, contact: &Contact<A>) -> bool {
        let table = self.fingers.iter().map(|f| f.at);
        admits(&contact.at, std::iter::empty(), table)
    }

    fn set_finger(&mut self, contact: Contact<A>) {
        let octave = self.octave(&contact);
        let own = self.own;
        self.fingers
            .retain(|f| own.clockwise(f.key).checked_ilog2().unwrap_or(0) != octave);
        if self.admits(&contact) {
            let place = self
                .fingers
                .partition_point(|f| own.clockwise(f.key) < own.clockwise(contact.key));
            self.fingers.insert(place, contact);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Contact<A>> {
        self.successors
            .iter()
            .chain(&self.fingers)
            .chain(&self.predecessor)
    }
}

impl<A: Place> LinkStructure<A> for Chord<A> {
    fn progress(&self, target: Key, seat: Key) -> u64 {
        seat.clockwise(target)
    }

    fn ownership(&self, target: Key, seat: Key) -> u64 {
        target.clockwise(seat)
    }

    fn seat(&self, _target: Key) -> Key {
        self.own
    }

    fn nearest(&self, target: Key, count: usize, out: &mut Vec<Referral<A>>) {
        let mut all: Vec<_> = self.all().copied().collect();
        all.sort_unstable_by_key(|c| c.key.clockwise(target));
        all.dedup_by_key(|c| c.key);
        // The first precede the key, the last follow it.
        let following = FOLLOWING.min(count / 2).min(all.len());
        let preceding = (count - following).min(all.len() - following);
        let (before, after) = all.split_at(all.len() - following);
        out.extend(before[..preceding].iter().map(|c| Referral::from(*c)));
        out.extend(after.iter().rev().map(|c| Referral::from(*c)));
    }

    fn wants(&self, referral: &Referral<A>) -> bool {
        let contact = &referral.contact;
        let near = self.is_successor(contact) || self.is_predecessor(contact);
        let finger = || !self.has_finger(self.octave(contact)) && self.admits(contact);
        contact.key != self.own && !self.knows_near(contact) && (near || finger())
    }

    fn alive(&mut self, _now: RawTime, contact: Contact<A>) {
        if contact.key == self.own {
            return;
        }
        let own = self.own;
        let ahead = own.clockwise(contact.key);
        match self
            .successors
            .binary_search_by_key(&ahead, |c| own.clockwise(c.key))
        {
            Ok(index) => self.successors[index] = contact,
            Err(index) => {
                self.successors.insert(index, contact);
                self.successors.truncate(SUCCESSORS);
            }
        }
        if self.is_predecessor(&contact) {
            self.predecessor = Some(contact);
        }
        if !self.has_finger(self.octave(&contact)) && !self.knows_near(&contact) {
            self.set_finger(contact);
        }
    }

    fn failed(&mut self, _now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        let first = self.successor().map(|c| c.key);
        self.successors.retain(|c| c.key != contact.key);
        self.fingers.retain(|c| c.key != contact.key);
        if self.predecessor.is_some_and(|c| c.key == contact.key) {
            self.predecessor = None;
        }
        match self.successor() {
            Some(next) if Some(next.key) != first => actions.ask(next, Query::Ring),
            Some(_) => {}
            None => {
                // Nobody is left ahead. Through the fingers the ring is found again, if there
                // are any; else the node has to join anew.
                self.member = !self.fingers.is_empty();
                actions.lookup(JOIN, Key(self.own.0.wrapping_add(1)), None, 2);
            }
        }
    }

    fn answer(
        &mut self,
        _now: RawTime,
        _from: Contact<A>,
        query: &Query,
        _actions: &mut Actions<A>,
    ) -> Answer<A> {
        match query {
            Query::Ring => Answer::Ring {
                predecessor: self.predecessor,
                successors: self.successors.clone(),
            },
            _ => Answer::Pong,
        }
    }

    fn looked_up(
        &mut self,
        _now: RawTime,
        purpose: u8,
        target: Key,
        found: &[Referral<A>],
        actions: &mut Actions<A>,
    ) {
        let Some(owner) = found.first().map(|r| &r.contact) else {
            return;
        };
        match purpose {
            FINGER if !self.knows_near(owner) => {
                // The target is the start of the finger's octave.
                let octave = self.own.clockwise(target).checked_ilog2().unwrap_or(0);
                if self.octave(owner) == octave {
                    self.set_finger(*owner);
                }
            }
            JOIN | CHECK => {
                self.member = true;
                // Asking for the ring is also what tells the successor that we are here.
                actions.ask(*owner, Query::Ring);
            }
            _ => {}
        }
    }

    fn found(&mut self) {
        self.member = true;
    }

    fn join(&mut self, _now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        actions.lookup(JOIN, Key(self.own.0.wrapping_add(1)), Some(contact), 2);
    }

    fn upkeep(&mut self, _now: RawTime, rng: &mut Rng, actions: &mut Actions<A>) {
        self.steps = self.steps.wrapping_add(1);
        let Some(next) = self.successor() else {
            return;
        };
        actions.ask(next, Query::Ring);
        if let Some(before) = self.predecessor {
            actions.ask(before, Query::Ring);
        }
        let other = self.successors[rng.below(self.successors.len())];
        if other.key != next.key {
            actions.ask(other, Query::Ping);
        }
        // Octaves below the successor's are empty.
        let lowest = self.octave(&next);
        let octave = 63 - self.steps % (64 - lowest);
        let start = Key(self.own.0.wrapping_add(1 << octave));
        actions.lookup(FINGER, start, None, 1);
        if self.steps.is_multiple_of(CHECK_EVERY) {
            let all: Vec<_> = self.all().copied().collect();
            let via = all[rng.below(all.len())];
            actions.lookup(CHECK, Key(self.own.0.wrapping_add(1)), Some(via), 2);
        }
    }

    fn is_member(&self) -> bool {
        self.member
    }

    fn links(&self, see: &mut dyn FnMut(&Contact<A>)) {
        self.all().for_each(see);
    }

    fn estimate(&self) -> f64 {
        // The m-th successor lies at about m · 2⁶⁴ / n.
        match self.successors.last() {
            Some(last) if self.successors.len() == SUCCESSORS => {
                SUCCESSORS as f64 * 2f64.powi(64) / self.ahead(last) as f64
            }
            _ => self.successors.len() as f64 + 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::overlay::testing::{At, contact};

    const NOW: RawTime = RawTime::from_nanos(0);

    fn keys(contacts: &[Contact<At>]) -> Vec<u64> {
        contacts.iter().map(|c| c.key.0).collect()
    }

    #[test]
    fn the_nearest_ahead_are_successors_and_the_nearest_behind_is_the_predecessor() {
        let mut chord = Chord::new(Key(1000));
        for n in 0..40 {
            chord.alive(NOW, contact(n * 100));
        }
        assert_eq!(chord.successor().unwrap().key, Key(1100));
        assert_eq!(chord.predecessor().unwrap().key, Key(900));
        assert_eq!(chord.successors.len(), SUCCESSORS);
        assert!(chord.wants(&contact(1050).into()));
        assert!(chord.wants(&contact(950).into()));
        assert!(!chord.wants(&contact(1000).into()), "ourselves");
        assert!(
            !chord.wants(&contact(3900).into()),
            "its octave has a finger"
        );
    }

    #[test]
    fn who_fails_is_followed_by_the_next() {
        let mut chord = Chord::new(Key(0));
        (1..4).for_each(|n| chord.alive(NOW, contact(n)));
        let mut actions = Actions::new();
        chord.failed(NOW, contact(1), &mut actions);
        assert_eq!(keys(&chord.successors), [2, 3]);
        assert_eq!(actions.len(), 1, "the new successor is told");
    }

    #[test]
    fn answers_name_those_before_the_key_and_those_after() {
        let mut chord = Chord::new(Key(0));
        (1..=15).for_each(|n| chord.alive(NOW, contact(n * 10)));
        let mut out = Vec::new();
        chord.nearest(Key(55), 8, &mut out);
        let keys: Vec<_> = out.iter().map(|r| r.contact.key.0).collect();
        assert_eq!(keys, [50, 40, 30, 20, 60, 70, 80, 90]);
    }
}

//! CAN: keys are points of a torus of *d* dimensions, each node owns a zone of it and knows the
//! nodes whose zones touch its own. A newcomer takes half of the zone in which its key lies; the
//! zones of a node that goes are taken over by a neighbour.
//!
//! S. Ratnasamy, P. Francis, M. Handley, R. Karp, S. Shenker, *A scalable content-addressable
//! network*, SIGCOMM 2001: 2d neighbours, (d/4)·n^(1/d) steps a lookup.
//!
//! Zones, unlike keys, cannot be checked: who owns which is what nodes say of themselves. Two
//! that claim the same zone settle it by rule (see `Can::settle`), and lookups go over disjoint
//! paths; still CAN is the weakest of the four against liars.

mod territory;
mod zone;

use super::overlay::{
    Actions, Answer, Contact, Key, LinkStructure, MAX_REFERRALS, Place, Query, Referral, Rng,
};
use crate::time::{RawTime, Span};
use zone::{MOST_DIMENSIONS, Zone};

/// Zones of neighbours that are remembered at most.
const NEIGHBOURS: usize = 160;
/// Zones of neighbours that failed that are remembered at most.
const ORPHANS: usize = 32;
/// Neighbours that hear of our zones with each step of upkeep.
const TOLD: usize = 3;
/// The neighbour with the smallest zone takes an orphan over; the others wait for it so long,
/// and the longer the more there are before them.
const TURN: Span = Span::from_secs(4);

const JOIN: u8 = 0;
const ORPHAN: u8 = 1;
const FACE: u8 = 2;
const CHECK: u8 = 3;

#[derive(Debug, Clone, Copy)]
struct Neighbour<A> {
    contact: Contact<A>,
    zone: Zone,
}

#[derive(Debug, Clone, Copy)]
struct Orphan {
    zone: Zone,
    since: RawTime,
}

/// One node's zones and neighbours.
#[derive(Debug, Clone)]
pub struct Can<A> {
    own: Key,
    dimensions: u8,
    zones: Vec<Zone>,
    neighbours: Vec<Neighbour<A>>,
    orphans: Vec<Orphan>,
    /// A zone nobody was found for once.
    hole: Option<Zone>,
    steps: u32,
}

impl<A: Place> Can<A> {
    /// Dimensions unless others are chosen: 11 steps a lookup among a million nodes.
    pub const DIMENSIONS: usize = 8;

    /// The node with this key, without a zone. 2 to 8 `dimensions`: with one, the smallest zones
    /// would be shorter than coordinates can tell.
    pub const fn new(own: Key, dimensions: usize) -> Self {
        let dimensions = if dimensions > MOST_DIMENSIONS {
            MOST_DIMENSIONS
        } else if dimensions < 2 {
            2
        } else {
            dimensions
        };
        Self {
            own,
            dimensions: dimensions as u8,
            zones: Vec::new(),
            neighbours: Vec::new(),
            orphans: Vec::new(),
            hole: None,
            steps: 0,
        }
    }

    /// The codes of its zones.
    pub fn zones(&self) -> impl Iterator<Item = Key> {
        self.zones.iter().map(|zone| zone.code())
    }

    /// How much of the space is its.
    pub fn volume(&self) -> f64 {
        self.zones
            .iter()
            .map(|z| 0.5f64.powi(z.depth() as i32))
            .sum()
    }

    fn d(&self) -> usize {
        usize::from(self.dimensions)
    }

    fn touches_own(&self, zone: Zone) -> bool {
        self.zones.iter().any(|own| own.touches(zone, self.d()))
    }

    fn is_own(&self, point: Key) -> bool {
        self.zones.iter().any(|zone| zone.contains(point))
    }

    /// The distinct nodes among the neighbours.
    fn contacts(&self) -> Vec<Contact<A>> {
        let mut all: Vec<_> = self.neighbours.iter().map(|n| n.contact).collect();
        all.sort_unstable_by_key(|c| c.key);
        all.dedup_by_key(|c| c.key);
        all
    }

    /// Tells everybody in `who` our zones.
    fn tell(&self, who: impl IntoIterator<Item = Contact<A>>, actions: &mut Actions<A>) {
        for contact in who {
            actions.ask(contact, Query::Zones(self.zones().collect()));
        }
    }

    /// Sees who owns a point just outside our zones, unless that is known.
    fn look_beyond(&self, point: Key, actions: &mut Actions<A>) {
        let known = self.neighbours.iter().any(|n| n.zone.contains(point));
        if !known && !self.is_own(point) {
            actions.lookup(FACE, point, None, 3);
        }
    }

    fn answer_zones(&self, asker: &[Zone], granted: Option<Zone>, from: Key) -> Answer<A> {
        let d = self.d();
        let concerns = |zone: Zone| asker.iter().any(|a| a.touches(zone, d) || a.overlaps(zone));
        let mut neighbours = Vec::new();
        for n in &self.neighbours {
            if n.contact.key != from && concerns(n.zone) && neighbours.len() < MAX_REFERRALS {
                neighbours.push(Referral {
                    contact: n.contact,
                    seat: n.zone.code(),
                });
            }
        }
        Answer::Zones {
            granted: granted.map(Zone::code),
            own: self.zones().collect(),
            neighbours,
        }
    }
}

impl<A: Place> LinkStructure<A> for Can<A> {
    fn progress(&self, target: Key, seat: Key) -> u64 {
        Zone::from_code(seat).map_or(u64::MAX, |zone| zone.distance(target, self.d()))
    }

    fn extent(&self, _target: Key, last: Key) -> u64 {
        // The volume of the one zone, which is known.
        Zone::from_code(last).map_or(u64::MAX, |zone| (1 << 63) >> zone.depth())
    }

    fn spread(&self) -> u8 {
        1
    }

    fn seat(&self, target: Key) -> Key {
        let nearest = self
            .zones
            .iter()
            .min_by_key(|z| z.distance(target, self.d()));
        nearest.map_or(Key(0), |zone| zone.code())
    }

    fn nearest(&self, target: Key, count: usize, out: &mut Vec<Referral<A>>) {
        let mut all: Vec<_> = self
            .neighbours
            .iter()
            .map(|n| (n.zone.distance(target, self.d()), n))
            .collect();
        all.sort_unstable_by_key(|(far, n)| (*far, n.contact.key));
        for (_, n) in all {
            if out.len() >= count {
                break;
            }
            if out.iter().all(|r| r.contact.key != n.contact.key) {
                out.push(Referral {
                    contact: n.contact,
                    seat: n.zone.code(),
                });
            }
        }
    }

    fn wants(&self, _referral: &Referral<A>) -> bool {
        // A ping would not tell its zones; those who concern us are asked in `answered`.
        false
    }

    fn alive(&mut self, _now: RawTime, _contact: Contact<A>) {}

    fn failed(&mut self, now: RawTime, contact: Contact<A>, _actions: &mut Actions<A>) {
        for n in self
            .neighbours
            .iter()
            .filter(|n| n.contact.key == contact.key)
        {
            let known = self.orphans.iter().any(|o| o.zone == n.zone);
            if !known && self.orphans.len() < ORPHANS {
                self.orphans.push(Orphan {
                    zone: n.zone,
                    since: now,
                });
            }
        }
        self.neighbours.retain(|n| n.contact.key != contact.key);
    }

    fn answer(
        &mut self,
        now: RawTime,
        from: Contact<A>,
        query: &Query,
        actions: &mut Actions<A>,
    ) -> Answer<A> {
        match query {
            Query::Join => self.admit(from, actions),
            Query::Zones(claims) => {
                if self.claimed(now, from, claims) {
                    self.tell(self.contacts(), actions);
                }
                let zones: Vec<_> = claims.iter().filter_map(|z| Zone::from_code(*z)).collect();
                self.answer_zones(&zones, None, from.key)
            }
            Query::Give(code) => {
                if let Some(zone) = Zone::from_code(*code)
                    && let Some(half) = zone.sibling()
                    && self.zones.contains(&half)
                {
                    self.neighbours
                        .retain(|n| n.contact.key != from.key || n.zone != zone);
                    self.zones.push(zone);
                    self.trim();
                    self.tell(self.contacts(), actions);
                }
                self.answer_zones(&[], None, from.key)
            }
            _ => Answer::Pong,
        }
    }

    fn answered(
        &mut self,
        now: RawTime,
        from: Contact<A>,
        query: &Query,
        answer: &Answer<A>,
        actions: &mut Actions<A>,
    ) {
        let Answer::Zones {
            granted,
            own,
            neighbours,
        } = answer
        else {
            return;
        };
        match query {
            Query::Join if self.zones.is_empty() => {
                // It must be the one in which our key lies: nobody else's key does.
                let zone = granted.and_then(Zone::from_code);
                let Some(zone) = zone.filter(|zone| zone.contains(self.own)) else {
                    return;
                };
                self.zones.push(zone);
                self.orphans.clear();
            }
            Query::Give(code) => {
                let given = |zone: &Zone| zone.code() == *code;
                let taken = own.iter().filter_map(|z| Zone::from_code(*z));
                let covered = |zone: Zone| taken.clone().any(|theirs| theirs.covers(zone));
                if let Some(index) = self.zones.iter().position(given)
                    && self.zones.len() > 1
                    && covered(self.zones[index])
                {
                    self.zones.swap_remove(index);
                    let before = self.contacts();
                    self.trim();
                    self.tell(before, actions);
                }
            }
            _ => {}
        }
        if self.claimed(now, from, own) {
            self.tell(self.contacts(), actions);
        }
        // Those it knows that touch our zones, or claim them, and of which we do not know.
        let mut asked = Vec::new();
        for referral in neighbours {
            let key = referral.contact.key;
            let known = |n: &Neighbour<A>| n.contact.key == key && n.zone.code() == referral.seat;
            if let Some(zone) = Zone::from_code(referral.seat)
                && key != self.own
                && !asked.contains(&key)
                && !self.neighbours.iter().any(known)
                && (self.touches_own(zone) || self.zones.iter().any(|own| own.overlaps(zone)))
            {
                asked.push(key);
                self.tell([referral.contact], actions);
            }
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
        let Some(nearest) = found.first() else {
            // Nobody else is there.
            if purpose == ORPHAN && self.neighbours.is_empty() {
                self.take_over(Zone::from_code(target), actions);
            }
            return;
        };
        let owner = Zone::from_code(nearest.seat).filter(|zone| zone.contains(target));
        match purpose {
            JOIN => actions.ask(nearest.contact, Query::Join),
            CHECK => self.tell([nearest.contact], actions),
            _ if owner.is_some() => self.tell([nearest.contact], actions),
            ORPHAN => self.take_over(Zone::from_code(target), actions),
            // A hole, if it is one the second time as well: all around it have gone at once.
            _ => {
                let depth = self.zones.iter().map(|zone| zone.depth()).max();
                let hole = depth.map(|depth| Zone::around(target, depth));
                if self.hole.take() == hole {
                    self.take_over(hole, actions);
                } else {
                    self.hole = hole;
                }
            }
        }
    }

    fn found(&mut self) {
        if self.zones.is_empty() {
            self.zones.push(Zone::WHOLE);
        }
    }

    fn join(&mut self, _now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        // Two that each began a network of their own: one gives its up.
        if self.zones == [Zone::WHOLE] && self.neighbours.is_empty() && contact.key < self.own {
            self.zones.clear();
        }
        match self.zones.first() {
            None => actions.lookup(JOIN, self.own, Some(contact), 3),
            // Whether the network there has another owner for our zone.
            Some(zone) => actions.lookup(CHECK, zone.code(), Some(contact), 3),
        }
    }

    fn upkeep(&mut self, now: RawTime, rng: &mut Rng, actions: &mut Actions<A>) {
        self.steps = self.steps.wrapping_add(1);
        if self.zones.is_empty() {
            return;
        }
        let contacts = self.contacts();
        for n in 0..TOLD.min(contacts.len()) {
            let index = (self.steps as usize * TOLD + n) % contacts.len();
            self.tell([contacts[index]], actions);
        }
        self.mind_orphans(now, actions);
        self.give_away(actions);
        if let Some(hole) = self.hole {
            let point = hole.code();
            if self.is_own(point) || self.neighbours.iter().any(|n| n.zone.contains(point)) {
                self.hole = None;
            } else {
                return self.look_beyond(point, actions);
            }
        }
        // Somebody must be behind every point of every face.
        let zone = self.zones[rng.below(self.zones.len())];
        let point = zone.beyond(rng.below(2 * self.d()), rng.next(), self.d());
        self.look_beyond(point, actions);
    }

    fn is_member(&self) -> bool {
        !self.zones.is_empty()
    }

    fn links(&self, see: &mut dyn FnMut(&Contact<A>)) {
        self.neighbours.iter().for_each(|n| see(&n.contact));
    }

    fn estimate(&self) -> f64 {
        // The mean volume of the zones around, our own among them.
        let zones = self
            .zones
            .iter()
            .chain(self.neighbours.iter().map(|n| &n.zone));
        let depths: Vec<_> = zones.map(|zone| 0.5f64.powi(zone.depth() as i32)).collect();
        let nodes = self.contacts().len() + 1;
        nodes as f64 / depths.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    }
}

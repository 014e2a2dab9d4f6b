//! Pastry: a node knows one node for each first digit in which keys can differ (base 16), and its
//! nearest on either side of the ring, the *leaf set*; who is numerically nearest to a key is in
//! charge of it.
//!
//! A. Rowstron, P. Druschel, *Pastry: Scalable, decentralized object location and routing for
//! large-scale peer-to-peer systems*, Middleware 2001: lookups take log₁₆ n steps.

use super::overlay::{
    Actions, Answer, Contact, Key, LinkStructure, MAX_REFERRALS, Place, Query, Referral, Rng,
    admits,
};
use crate::time::RawTime;

/// Leaves on each side.
const SIDE: usize = MAX_REFERRALS / 2;
/// A side with fewer leaves is filled by looking the own key up.
const FEW: usize = SIDE / 2;
/// Nodes met on the way in that are asked for a row.
const ROWS_ASKED: usize = 8;
/// Every so many steps of upkeep the node looks itself up from afar, so that parts of a network
/// that lost each other meet.
const CHECK_EVERY: u32 = 8;

const JOIN: u8 = 0;
const CHECK: u8 = 1;

/// One node's routing table and leaf set.
#[derive(Debug, Clone)]
pub struct Pastry<A> {
    own: Key,
    /// Upwards, the nearest first.
    above: Vec<Contact<A>>,
    /// Downwards, the nearest first.
    below: Vec<Contact<A>>,
    /// One for each row and digit, in this order.
    rows: Vec<Contact<A>>,
    member: bool,
    steps: u32,
}

impl<A: Place> Pastry<A> {
    /// The empty table of the node with this key.
    pub const fn new(own: Key) -> Self {
        Self {
            own,
            above: Vec::new(),
            below: Vec::new(),
            rows: Vec::new(),
            member: false,
            steps: 0,
        }
    }

    /// The routing table's entries.
    pub fn routing_table(&self) -> &[Contact<A>] {
        &self.rows
    }

    /// The leaf set.
    pub fn leaves(&self) -> impl Iterator<Item = &Contact<A>> {
        self.above.iter().chain(&self.below)
    }

    fn row(&self, key: Key) -> u32 {
        (self.own.common_bits(key) / 4).min(15)
    }

    fn slot(&self, key: Key) -> (u32, u8) {
        let row = self.row(key);
        (row, key.digit(row))
    }

    fn find_slot(&self, key: Key) -> Result<usize, usize> {
        let slot = self.slot(key);
        self.rows.binary_search_by_key(&slot, |c| self.slot(c.key))
    }

    fn is_leaf(&self, contact: &Contact<A>) -> bool {
        let own = self.own;
        let up = |c: &Contact<A>| own.clockwise(c.key);
        let down = |c: &Contact<A>| c.key.clockwise(own);
        belongs(&self.above, up, contact) || belongs(&self.below, down, contact)
    }

    fn is_entry(&self, contact: &Contact<A>) -> bool {
        let table = self.rows.iter().map(|c| c.at);
        self.find_slot(contact.key).is_err() && admits(&contact.at, std::iter::empty(), table)
    }

    fn all(&self) -> impl Iterator<Item = &Contact<A>> {
        self.leaves().chain(&self.rows)
    }

    fn entries_of(&self, row: u32) -> impl Iterator<Item = &Contact<A>> {
        self.rows.iter().filter(move |c| self.row(c.key) == row)
    }
}

/// Whether `contact` belongs among the nearest on one side and is not there.
fn belongs<A: Place>(
    side: &[Contact<A>],
    far: impl Fn(&Contact<A>) -> u64,
    contact: &Contact<A>,
) -> bool {
    let known = side.iter().any(|c| c.key == contact.key);
    !known && (side.len() < SIDE || side.last().is_some_and(|last| far(contact) < far(last)))
}

fn enter<A: Place>(
    side: &mut Vec<Contact<A>>,
    far: impl Fn(&Contact<A>) -> u64,
    contact: Contact<A>,
) {
    match side.binary_search_by_key(&far(&contact), &far) {
        Ok(index) => side[index] = contact,
        Err(index) => {
            side.insert(index, contact);
            side.truncate(SIDE);
        }
    }
}

impl<A: Place> LinkStructure<A> for Pastry<A> {
    // A node that shares more digits with the key is nearer to it but at the edges, so the
    // numerical distance orders candidates as the paper's two rules do together.
    fn progress(&self, target: Key, seat: Key) -> u64 {
        target.around(seat)
    }

    fn seat(&self, _target: Key) -> Key {
        self.own
    }

    fn nearest(&self, target: Key, count: usize, out: &mut Vec<Referral<A>>) {
        let mut all: Vec<_> = self.all().copied().collect();
        all.sort_unstable_by_key(|c| (c.key.around(target), c.key));
        all.dedup_by_key(|c| c.key);
        out.extend(all.into_iter().take(count).map(Referral::from));
    }

    fn wants(&self, referral: &Referral<A>) -> bool {
        let contact = &referral.contact;
        contact.key != self.own && (self.is_leaf(contact) || self.is_entry(contact))
    }

    fn alive(&mut self, _now: RawTime, contact: Contact<A>) {
        if contact.key == self.own {
            return;
        }
        let own = self.own;
        enter(&mut self.above, |c| own.clockwise(c.key), contact);
        enter(&mut self.below, |c| c.key.clockwise(own), contact);
        match self.find_slot(contact.key) {
            Ok(index) if self.rows[index].key == contact.key => self.rows[index] = contact,
            Err(index) if self.is_entry(&contact) => self.rows.insert(index, contact),
            _ => {}
        }
    }

    fn failed(&mut self, _now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        let gone = |c: &Contact<A>| c.key == contact.key;
        let was_leaf = self.leaves().any(gone);
        let was_entry = self.rows.iter().any(gone);
        self.above.retain(|c| !gone(c));
        self.below.retain(|c| !gone(c));
        self.rows.retain(|c| !gone(c));
        if was_leaf {
            // The farthest on that side knows who comes after it.
            let upwards = self.own.clockwise(contact.key) < contact.key.clockwise(self.own);
            let side = if upwards { &self.above } else { &self.below };
            if let Some(farthest) = side.last() {
                actions.ask(*farthest, Query::Leaves);
            }
            if side.len() < FEW {
                actions.lookup(CHECK, self.own, None, 4);
            }
        }
        if was_entry {
            let row = self.row(contact.key);
            if let Some(other) = self.entries_of(row).next() {
                actions.ask(*other, Query::Row(row as u8));
            }
        }
        if self.all().next().is_none() {
            self.member = false;
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
            Query::Row(row) => {
                let row = self.entries_of(u32::from(*row));
                Answer::Contacts(row.take(MAX_REFERRALS).copied().collect())
            }
            Query::Leaves => Answer::Contacts(self.leaves().copied().collect()),
            _ => Answer::Pong,
        }
    }

    fn looked_up(
        &mut self,
        _now: RawTime,
        purpose: u8,
        _target: Key,
        found: &[Referral<A>],
        actions: &mut Actions<A>,
    ) {
        let Some(nearest) = found.first() else {
            return;
        };
        actions.ask(nearest.contact, Query::Leaves);
        if purpose == JOIN {
            if !self.member {
                // Whoever shares `row` digits with us has a row that fits us, too.
                for met in found.iter().rev().take(ROWS_ASKED) {
                    let row = self.row(met.contact.key);
                    actions.ask(met.contact, Query::Row(row as u8));
                }
            }
            self.member = true;
        }
    }

    fn found(&mut self) {
        self.member = true;
    }

    fn join(&mut self, _now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        actions.lookup(JOIN, self.own, Some(contact), 4);
    }

    fn upkeep(&mut self, _now: RawTime, rng: &mut Rng, actions: &mut Actions<A>) {
        self.steps = self.steps.wrapping_add(1);
        for side in [&self.above, &self.below] {
            // The next ones most often: between them there must be nobody else.
            let count = side.len();
            if count > 0 {
                let index = rng.below(count).min(rng.below(count));
                actions.ask(side[index], Query::Leaves);
            }
        }
        if !self.rows.is_empty() {
            // In turn, so that a dead entry is found within one turn of the table.
            let entry = self.rows[self.steps as usize % self.rows.len()];
            actions.ask(entry, Query::Row(self.row(entry.key) as u8));
        }
        let all: Vec<_> = self.all().copied().collect();
        if self.steps.is_multiple_of(CHECK_EVERY) && !all.is_empty() {
            actions.lookup(CHECK, self.own, Some(all[rng.below(all.len())]), 4);
        }
    }

    fn is_member(&self) -> bool {
        self.member
    }

    fn links(&self, see: &mut dyn FnMut(&Contact<A>)) {
        self.all().for_each(see);
    }

    fn estimate(&self) -> f64 {
        // So many leaves lie between the farthest on both sides.
        match (self.above.last(), self.below.last()) {
            (Some(up), Some(down)) if self.above.len() + self.below.len() == 2 * SIDE => {
                let (up, down) = (self.own.clockwise(up.key), down.key.clockwise(self.own));
                2.0 * SIDE as f64 * 2f64.powi(64) / (up as f64 + down as f64)
            }
            _ => self.above.len() as f64 + 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::overlay::testing::contact;

    const NOW: RawTime = RawTime::from_nanos(0);

    #[test]
    fn a_slot_belongs_to_a_row_and_a_digit() {
        let mut pastry = Pastry::new(Key(0x1234 << 48));
        for key in [0x5000u64, 0x5fff, 0x1334, 0x1244, 0x1235] {
            pastry.alive(NOW, contact(key << 48));
        }
        let rows: Vec<_> = pastry.rows.iter().map(|c| pastry.slot(c.key)).collect();
        assert_eq!(rows, [(0, 5), (1, 3), (2, 4), (3, 5)]);
        assert_eq!(pastry.rows[0].key, Key(0x5000 << 48), "the first stays");
    }

    #[test]
    fn the_leaf_set_has_the_nearest_on_either_side() {
        let mut pastry = Pastry::new(Key(1000));
        for n in 0..20 {
            pastry.alive(NOW, contact(1001 + n));
            pastry.alive(NOW, contact(999 - n));
        }
        assert!(pastry.above.iter().all(|c| c.key.0 <= 1000 + SIDE as u64));
        assert!(pastry.below.iter().all(|c| c.key.0 >= 1000 - SIDE as u64));
        let mut actions = Actions::new();
        pastry.failed(NOW, contact(1003), &mut actions);
        assert!(pastry.leaves().all(|c| c.key != Key(1003)));
        assert!(actions.len() > 0, "the gap is to be filled");
        assert!(pastry.wants(&contact(1003).into()));
    }
}

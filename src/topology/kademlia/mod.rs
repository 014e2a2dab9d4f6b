//! Kademlia: distance is the exclusive or of two keys, and a node knows up to *k* nodes at each
//! power of two of distance.
//!
//! P. Maymounkov, D. Mazières, *Kademlia: A peer-to-peer information system based on the XOR
//! metric*, IPTPS 2002. A step shortens the way by one bit at least, and by the more the more
//! contacts a bucket holds.

mod table;

use super::overlay::{Actions, Answer, Contact, Key, LinkStructure, Place, Query, Referral};
use crate::rng::Rng;
use crate::time::{RawTime, Span};
use table::Table;

/// Upkeep refreshes a part of the key space every so many steps; the others check a contact.
const REFRESH_EVERY: u32 = 4;
/// Contacts heard later than this ago are not checked.
const FRESH: Span = Span::from_secs(60);
/// Lookups over the far parts of the key space after joining.
const FIRST_LOOKUPS: u32 = 4;
/// A lookup of the own neighbourhood ends when so many of the nearest have answered.
const NEIGHBOURHOOD: u8 = 8;

const JOIN: u8 = 0;
const REFRESH: u8 = 1;

/// One node's Kademlia table and rules.
#[derive(Debug, Clone)]
pub struct Kademlia<A> {
    table: Table<A>,
    member: bool,
    steps: u32,
}

impl<A: Place> Kademlia<A> {
    /// Contacts in a bucket, as in the paper's *k*.
    pub const BUCKET: usize = 16;

    /// The empty table of the node with this key, with `bucket` contacts at each distance.
    pub const fn new(own: Key, bucket: usize) -> Self {
        Self {
            table: Table::new(own, bucket),
            member: false,
            steps: 0,
        }
    }

    /// Contacts in the table.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<A: Place> LinkStructure<A> for Kademlia<A> {
    fn progress(&self, target: Key, seat: Key) -> u64 {
        target.xor(seat)
    }

    fn seat(&self, _target: Key) -> Key {
        self.table.own()
    }

    fn nearest(&self, target: Key, count: usize, out: &mut Vec<Referral<A>>) {
        self.table.nearest(target, count, out);
    }

    fn wants(&self, referral: &Referral<A>) -> bool {
        self.table.wants(&referral.contact)
    }

    fn alive(&mut self, now: RawTime, contact: Contact<A>) {
        self.table.alive(now, contact);
    }

    fn failed(&mut self, _now: RawTime, contact: Contact<A>, _actions: &mut Actions<A>) {
        self.table.remove(contact.key);
    }

    fn answer(
        &mut self,
        _now: RawTime,
        _from: Contact<A>,
        _query: &Query,
        _actions: &mut Actions<A>,
    ) -> Answer<A> {
        // Kademlia asks nothing but what every structure answers.
        Answer::Pong
    }

    fn looked_up(
        &mut self,
        _now: RawTime,
        purpose: u8,
        _target: Key,
        found: &[Referral<A>],
        actions: &mut Actions<A>,
    ) {
        if purpose == JOIN && !found.is_empty() {
            if !self.member {
                for bit in 0..FIRST_LOOKUPS {
                    // The far buckets' keys; whatever the tail, it is the right bucket.
                    let target = self.table.own().flipped(bit);
                    actions.lookup(REFRESH, target, None, 3);
                }
            }
            self.member = true;
        }
    }

    fn found(&mut self) {
        self.member = true;
    }

    fn join(&mut self, _now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        actions.lookup(JOIN, self.table.own(), Some(contact), NEIGHBOURHOOD);
    }

    fn upkeep(&mut self, now: RawTime, rng: &mut Rng, actions: &mut Actions<A>) {
        self.steps = self.steps.wrapping_add(1);
        if !self.steps.is_multiple_of(REFRESH_EVERY) {
            if let Some(contact) = self.table.stalest(now - FRESH) {
                actions.ask(contact, Query::Ping);
            }
            return;
        }
        // Every part of the key space in turn, the own neighbourhood among them.
        let parts = self.table.depth() + 1;
        let part = self.steps / REFRESH_EVERY % parts;
        if part + 1 == parts {
            actions.lookup(JOIN, self.table.own(), None, NEIGHBOURHOOD);
        } else {
            let target = self
                .table
                .own()
                .flipped(part)
                .with_tail(part + 1, rng.next());
            actions.lookup(REFRESH, target, None, 3);
        }
    }

    fn is_member(&self) -> bool {
        self.member
    }

    fn links(&self, see: &mut dyn FnMut(&Contact<A>)) {
        self.table.iter().for_each(|contact| see(&contact));
    }

    fn estimate(&self) -> f64 {
        self.table.estimate()
    }
}

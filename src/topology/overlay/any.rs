//! The structures by name, and one chosen at run time.

use serde::{Deserialize, Serialize};

use super::{Actions, Answer, Contact, Key, LinkStructure, Place, Query, Referral};
use crate::rng::Rng;
use crate::time::RawTime;
use crate::topology::can::Can;
use crate::topology::chord::Chord;
use crate::topology::kademlia::Kademlia;
use crate::topology::pastry::Pastry;

/// A link structure's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Structure {
    /// Exclusive-or distances and buckets.
    Kademlia,
    /// A ring with fingers.
    Chord,
    /// Digits and leaf sets.
    Pastry,
    /// Zones of a torus.
    Can,
}

impl Structure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kademlia, Self::Chord, Self::Pastry, Self::Can];

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kademlia => "kademlia",
            Self::Chord => "chord",
            Self::Pastry => "pastry",
            Self::Can => "can",
        }
    }
}

/// Any one of the structures.
#[derive(Debug, Clone)]
pub enum AnyStructure<A> {
    /// Kademlia.
    Kademlia(Kademlia<A>),
    /// Chord.
    Chord(Chord<A>),
    /// Pastry.
    Pastry(Pastry<A>),
    /// CAN.
    Can(Can<A>),
}

impl<A: Place> AnyStructure<A> {
    /// The structure of this name for the node with this key, with its usual sizes.
    pub const fn new(which: Structure, own: Key) -> Self {
        match which {
            Structure::Kademlia => Self::Kademlia(Kademlia::new(own, Kademlia::<A>::BUCKET)),
            Structure::Chord => Self::Chord(Chord::new(own)),
            Structure::Pastry => Self::Pastry(Pastry::new(own)),
            Structure::Can => Self::Can(Can::new(own, Can::<A>::DIMENSIONS)),
        }
    }
}

macro_rules! each {
    ($any:expr, $structure:ident => $what:expr) => {
        match $any {
            AnyStructure::Kademlia($structure) => $what,
            AnyStructure::Chord($structure) => $what,
            AnyStructure::Pastry($structure) => $what,
            AnyStructure::Can($structure) => $what,
        }
    };
}

impl<A: Place> LinkStructure<A> for AnyStructure<A> {
    fn progress(&self, target: Key, seat: Key) -> u64 {
        each!(self, s => s.progress(target, seat))
    }

    fn ownership(&self, target: Key, seat: Key) -> u64 {
        each!(self, s => s.ownership(target, seat))
    }

    fn extent(&self, target: Key, last: Key) -> u64 {
        each!(self, s => s.extent(target, last))
    }

    fn spread(&self) -> u8 {
        each!(self, s => LinkStructure::<A>::spread(s))
    }

    fn seat(&self, target: Key) -> Key {
        each!(self, s => s.seat(target))
    }

    fn nearest(&self, target: Key, count: usize, out: &mut Vec<Referral<A>>) {
        each!(self, s => s.nearest(target, count, out));
    }

    fn wants(&self, referral: &Referral<A>) -> bool {
        each!(self, s => s.wants(referral))
    }

    fn alive(&mut self, now: RawTime, contact: Contact<A>) {
        each!(self, s => s.alive(now, contact));
    }

    fn failed(&mut self, now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        each!(self, s => s.failed(now, contact, actions));
    }

    fn answer(
        &mut self,
        now: RawTime,
        from: Contact<A>,
        query: &Query,
        actions: &mut Actions<A>,
    ) -> Answer<A> {
        each!(self, s => s.answer(now, from, query, actions))
    }

    fn answered(
        &mut self,
        now: RawTime,
        from: Contact<A>,
        query: &Query,
        answer: &Answer<A>,
        actions: &mut Actions<A>,
    ) {
        each!(self, s => s.answered(now, from, query, answer, actions));
    }

    fn looked_up(
        &mut self,
        now: RawTime,
        purpose: u8,
        target: Key,
        found: &[Referral<A>],
        actions: &mut Actions<A>,
    ) {
        each!(self, s => s.looked_up(now, purpose, target, found, actions));
    }

    fn found(&mut self) {
        each!(self, s => s.found());
    }

    fn join(&mut self, now: RawTime, contact: Contact<A>, actions: &mut Actions<A>) {
        each!(self, s => s.join(now, contact, actions));
    }

    fn upkeep(&mut self, now: RawTime, rng: &mut Rng, actions: &mut Actions<A>) {
        each!(self, s => s.upkeep(now, rng, actions));
    }

    fn is_member(&self) -> bool {
        each!(self, s => s.is_member())
    }

    fn links(&self, see: &mut dyn FnMut(&Contact<A>)) {
        each!(self, s => s.links(see));
    }

    fn estimate(&self) -> f64 {
        each!(self, s => s.estimate())
    }
}

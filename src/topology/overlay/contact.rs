//! Somebody in a link structure.

use std::fmt::Debug;
use std::hash::Hash;

use super::Key;

/// How to reach a node: an address with an identity between daemons, a small number in a
/// simulation.
pub trait Place: Copy + Eq + Hash + Debug {
    /// The block of addresses that one owner is likely to hold whole, so that it can be given no
    /// more than its share; `None` where that means nothing (a LAN, one host).
    fn block(&self) -> Option<u64>;
}

/// A node as others know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Contact<A> {
    /// Its key; whoever runs the machine has checked that it is the node's own.
    pub key: Key,
    /// How to reach it.
    pub at: A,
}

/// A contact of which somebody else told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Referral<A> {
    /// The contact.
    pub contact: Contact<A>,
    /// Where it sits in the structure: its key, in CAN the code of its zone.
    pub seat: Key,
}

impl<A> From<Contact<A>> for Referral<A> {
    fn from(contact: Contact<A>) -> Self {
        let seat = contact.key;
        Self { contact, seat }
    }
}

/// Places of one address block in one part of a table, and in the whole table, at most: the
/// figures of go-ethereum (`bucketIPLimit`, `tableIPLimit`).
const IN_PART: usize = 2;
const IN_TABLE: usize = 10;

/// Whether a newcomer may join `part` of a table and the whole `table` (that part included).
pub(in crate::topology) fn admits<A: Place>(
    newcomer: &A,
    part: impl Iterator<Item = A>,
    table: impl Iterator<Item = A>,
) -> bool {
    let Some(own) = newcomer.block() else {
        return true;
    };
    let same = |other: &A| other.block() == Some(own);
    part.filter(same).count() < IN_PART && table.filter(same).count() < IN_TABLE
}

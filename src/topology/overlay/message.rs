//! What nodes of a link structure say to each other.

use super::{Contact, Key, Referral};

/// Contacts in one answer at most: what fits in a datagram of 1232 bytes between daemons.
pub const MAX_REFERRALS: usize = 16;

/// A message. The sender is known from what carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<A> {
    /// Of a query: a number that is not easily guessed. Of an answer: the query's.
    pub number: u64,
    /// What it says.
    pub body: Body<A>,
}

/// A query or the answer to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<A> {
    /// Wants an answer.
    Query(Query),
    /// Is one.
    Answer(Answer<A>),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Are you there?
    Ping,
    /// Who is nearer to this key?
    Find(Key),
    /// Chord's *stabilize*: your predecessor and successors, please. Also its *notify*: the
    /// asker believes itself to be the predecessor of the asked.
    Ring,
    /// Pastry: row `n` of your routing table.
    Row(u8),
    /// Pastry: your leaf set.
    Leaves,
    /// CAN: part of your zone, please; the one in which my key lies.
    Join,
    /// CAN: these are my zones, and they touch yours.
    Zones(Vec<Key>),
    /// CAN: this zone is to be yours, since its other half is.
    Give(Key),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<A> {
    /// I am.
    Pong,
    /// To [`Query::Find`].
    Found {
        /// Where the answering node itself sits; in CAN the code of its zone nearest to the key.
        seat: Key,
        /// Contacts nearer to the key, the nearest first, at most [`MAX_REFERRALS`].
        nearer: Vec<Referral<A>>,
    },
    /// To [`Query::Ring`].
    Ring {
        /// The node before.
        predecessor: Option<Contact<A>>,
        /// The nodes after, the next one first, at most `MAX_REFERRALS - 1`.
        successors: Vec<Contact<A>>,
    },
    /// To [`Query::Row`] and [`Query::Leaves`], at most [`MAX_REFERRALS`].
    Contacts(Vec<Contact<A>>),
    /// To [`Query::Join`], [`Query::Zones`] and [`Query::Give`].
    Zones {
        /// CAN: the zone that is the asker's from now on; only to a join.
        granted: Option<Key>,
        /// The answering node's zones.
        own: Vec<Key>,
        /// Its neighbours, at most [`MAX_REFERRALS`].
        neighbours: Vec<Referral<A>>,
    },
}

/// Zones that one message tells of at most.
pub const MAX_ZONES: usize = 16;

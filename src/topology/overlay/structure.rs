//! What one link structure knows and decides.

use super::{Answer, Contact, Key, Place, Query, Referral};
use crate::rng::Rng;
use crate::time::RawTime;

/// A link structure: a node's table, the rules by which it is filled and repaired, and the
/// geometry that lookups follow. [`Overlay`](super::Overlay) gives it requests that are repeated
/// and time out, and lookups over disjoint paths, which are the same for all.
///
/// Two rules hold for every structure:
/// - only who answered one of our own requests enters a table, so nobody is put there by hearsay
///   or under an address at which it does not listen;
/// - tables are bounded, and an address block gets no more than its share of their places.
pub trait LinkStructure<A: Place> {
    /// How far a node at `seat` is from `target` for a lookup on its way; who is nearest is asked
    /// next.
    fn progress(&self, target: Key, seat: Key) -> u64;

    /// How far a node at `seat` is from being the one in charge of `target`; who is nearest is.
    fn ownership(&self, target: Key, seat: Key) -> u64 {
        self.progress(target, seat)
    }

    /// Of how much of the key space the nodes nearest to `target` are in charge, of which the last
    /// sits at `last`: the more, the likelier is one of them the outcome of a random lookup.
    fn extent(&self, target: Key, last: Key) -> u64 {
        self.ownership(target, last)
    }

    /// Among how many of the nearest a draw chooses, to even out how much each is in charge of.
    fn spread(&self) -> u8 {
        8
    }

    /// Where this node sits, as far as `target` is concerned.
    fn seat(&self, target: Key) -> Key;

    /// Appends the known contacts nearest to `target`, the nearest first, at most `count`.
    fn nearest(&self, target: Key, count: usize, out: &mut Vec<Referral<A>>);

    /// Whether the table has use for `contact`, of which we heard.
    fn wants(&self, referral: &Referral<A>) -> bool;

    /// `contact` answered a request of ours.
    fn alive(&mut self, now: RawTime, contact: Contact<A>);

    /// `contact` does not answer, or has left.
    fn failed(&mut self, now: RawTime, contact: Contact<A>, actions: &mut Actions<A>);

    /// The answer to a query of another node, whose key has been checked. Everything but
    /// [`Query::Ping`] and [`Query::Find`], which are answered alike for all.
    fn answer(
        &mut self,
        now: RawTime,
        from: Contact<A>,
        query: &Query,
        actions: &mut Actions<A>,
    ) -> Answer<A>;

    /// The answer to a query of ours that this structure made. Most have nothing to do: whom an
    /// answer names is pinged if wanted, and comes in when it answers.
    fn answered(
        &mut self,
        _now: RawTime,
        _from: Contact<A>,
        _query: &Query,
        _answer: &Answer<A>,
        _actions: &mut Actions<A>,
    ) {
    }

    /// A lookup that this structure asked for has ended. `found` are the nodes nearest to the
    /// target that answered, with where they said they sit, the one in charge first.
    fn looked_up(
        &mut self,
        now: RawTime,
        purpose: u8,
        target: Key,
        found: &[Referral<A>],
        actions: &mut Actions<A>,
    );

    /// Be the first node of a network.
    fn found(&mut self);

    /// Take part in the network that `contact` belongs to. Called again now and then, so that
    /// parts of a network that lost each other meet.
    fn join(&mut self, now: RawTime, contact: Contact<A>, actions: &mut Actions<A>);

    /// One step of upkeep; its work does not grow with the network.
    fn upkeep(&mut self, now: RawTime, rng: &mut Rng, actions: &mut Actions<A>);

    /// Whether this node has its place in the structure, so that others find it.
    fn is_member(&self) -> bool;

    /// Shows every contact in the table to `see`, some perhaps more than once.
    fn links(&self, see: &mut dyn FnMut(&Contact<A>));

    /// About how many nodes the network has, judged by how densely they lie around this one.
    fn estimate(&self) -> f64;
}

/// What a structure wants done.
#[derive(Debug)]
pub struct Actions<A> {
    pub(super) wanted: Vec<Action<A>>,
}

#[derive(Debug)]
pub(super) enum Action<A> {
    Ask(Contact<A>, Query),
    Lookup {
        purpose: u8,
        target: Key,
        via: Option<Contact<A>>,
        width: u8,
    },
}

impl<A> Actions<A> {
    pub(in crate::topology) const fn new() -> Self {
        Self { wanted: Vec::new() }
    }

    /// How many there are.
    #[cfg(test)]
    pub(in crate::topology) const fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Ask `contact`; the answer comes to [`LinkStructure::answered`], or the contact to
    /// [`LinkStructure::failed`].
    pub fn ask(&mut self, contact: Contact<A>, query: Query) {
        self.wanted.push(Action::Ask(contact, query));
    }

    /// Look up `target`, through `via` instead of the own table if given; the outcome comes to
    /// [`LinkStructure::looked_up`] with `purpose`. `width`: how many of the nearest must have
    /// answered.
    pub fn lookup(&mut self, purpose: u8, target: Key, via: Option<Contact<A>>, width: u8) {
        self.wanted.push(Action::Lookup {
            purpose,
            target,
            via,
            width,
        });
    }
}

//! Requests under way.

use super::{Contact, Place, Query};
use crate::time::{RawTime, Span};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether somebody is there of whom we heard.
    Probe,
    /// The owner of the machine wants to know whether somebody is there.
    Check,
    /// The structure asked.
    Structure,
    /// A step of the lookup with this number.
    Lookup(u32),
}

/// A request that has not been answered yet.
#[derive(Debug)]
pub(super) struct Pending<A> {
    pub(super) number: u64,
    pub(super) to: Contact<A>,
    pub(super) query: Query,
    pub(super) purpose: Purpose,
    pub(super) sent: RawTime,
    pub(super) due: RawTime,
    pub(super) repeated: bool,
}

/// All of them; bounded.
#[derive(Debug)]
pub(super) struct Requests<A> {
    pending: Vec<Pending<A>>,
    capacity: usize,
}

/// What to do with a request that was not answered in time.
#[derive(Debug)]
pub(super) enum Overdue<A> {
    /// Send it once more.
    Repeat(u64, Contact<A>, Query, Purpose),
    /// Nobody is there.
    Failed(Contact<A>, Purpose),
}

impl<A: Place> Requests<A> {
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            pending: Vec::new(),
            capacity,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= self.capacity
    }

    pub(super) fn probes(&self) -> usize {
        let probe = |p: &&Pending<A>| p.purpose == Purpose::Probe;
        self.pending.iter().filter(probe).count()
    }

    pub(super) fn is_asked(&self, contact: &Contact<A>) -> bool {
        self.pending.iter().any(|p| p.to.key == contact.key)
    }

    pub(super) fn begin(&mut self, request: Pending<A>) {
        self.pending.push(request);
    }

    /// The request that `from` answers with `number`, taken out.
    pub(super) fn take(&mut self, number: u64, from: &Contact<A>) -> Option<Pending<A>> {
        let answered = |p: &Pending<A>| p.number == number && p.to.key == from.key;
        let index = self.pending.iter().position(answered)?;
        Some(self.pending.swap_remove(index))
    }

    /// Takes out everything that was asked of `contact`.
    pub(super) fn give_up(&mut self, contact: &Contact<A>) {
        self.pending.retain(|p| p.to.key != contact.key);
    }

    pub(super) fn next_due(&self) -> Option<RawTime> {
        self.pending.iter().map(|p| p.due).min()
    }

    /// A request that is overdue, if there is any. Each is sent twice: one lost datagram must not
    /// cost a contact its place.
    pub(super) fn overdue(&mut self, now: RawTime, patience: Span) -> Option<Overdue<A>> {
        let index = self.pending.iter().position(|p| p.due <= now)?;
        let late = &mut self.pending[index];
        if late.repeated {
            let failed = self.pending.swap_remove(index);
            return Some(Overdue::Failed(failed.to, failed.purpose));
        }
        late.repeated = true;
        late.due = now + patience;
        let (number, to, query) = (late.number, late.to, late.query.clone());
        Some(Overdue::Repeat(number, to, query, late.purpose))
    }
}

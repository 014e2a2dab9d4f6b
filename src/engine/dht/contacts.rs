//! The bootstrap addresses: tried until one answers, and now and then ever after, so that parts of
//! a network that lost each other meet again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::engine::random;

/// Newly started nodes spread their first contact over this.
const STAGGER: Duration = Duration::from_millis(60);
/// First wait after a failure; doubles up to [`SLOWEST`].
const RETRY: Duration = Duration::from_millis(500);
const SLOWEST: Duration = Duration::from_secs(60);
/// Wait after a contact that worked.
const AGAIN: Duration = Duration::from_secs(150);
/// Wait after the address turned out to be our own: it could become another's.
const OWN: Duration = Duration::from_secs(1800);

/// All bootstrap addresses.
pub(super) struct Contacts(Vec<Contact>);

struct Contact {
    addr: Option<SocketAddr>,
    expect: Option<PeerId>,
    due: Instant,
    failures: u32,
    busy: bool,
}

/// How a contact ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A node answered.
    Reached,
    /// It was ourselves.
    Ourselves,
    /// Nobody answered, or somebody else than expected.
    Failed,
}

impl Contacts {
    pub(super) fn new(now: Instant, expected: impl Iterator<Item = Option<PeerId>>) -> Self {
        let contact = |expect| {
            let due = now + random::up_to(STAGGER);
            Contact {
                addr: None,
                expect,
                due,
                failures: 0,
                busy: false,
            }
        };
        Self(expected.map(contact).collect())
    }

    /// The contact at `index` is now at `addr`.
    pub(super) fn resolved(&mut self, now: Instant, index: usize, addr: SocketAddr) {
        if let Some(contact) = self.0.get_mut(index) {
            if contact.addr.is_some() {
                contact.due = now;
                contact.failures = 0;
            }
            contact.addr = Some(addr);
        }
    }

    /// The contacts to try now, by index; each must be [`finished`](Self::finished).
    pub(super) fn due(&mut self, now: Instant) -> Vec<(usize, SocketAddr, Option<PeerId>)> {
        let due = |(index, contact): (usize, &mut Contact)| {
            let addr = contact
                .addr
                .filter(|_| !contact.busy && contact.due <= now)?;
            contact.busy = true;
            Some((index, addr, contact.expect))
        };
        self.0.iter_mut().enumerate().filter_map(due).collect()
    }

    /// When the next one is due, if there is any.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let idle = self
            .0
            .iter()
            .filter(|contact| !contact.busy && contact.addr.is_some());
        idle.map(|contact| contact.due).min()
    }

    /// How trying the contact at `index` ended.
    pub(super) fn finished(&mut self, now: Instant, index: usize, outcome: Outcome) {
        let Some(contact) = self.0.get_mut(index) else {
            return;
        };
        contact.busy = false;
        let wait = match outcome {
            Outcome::Reached => random::spread(AGAIN),
            Outcome::Ourselves => random::spread(OWN),
            Outcome::Failed => random::backoff(RETRY, contact.failures, SLOWEST),
        };
        contact.failures = if outcome == Outcome::Failed {
            contact.failures + 1
        } else {
            0
        };
        contact.due = now + wait;
    }

    /// Nobody is left: contacts that worked before are worth a try now.
    pub(super) fn alone(&mut self, now: Instant) {
        for contact in self.0.iter_mut().filter(|contact| contact.failures == 0) {
            contact.due = contact.due.min(now + random::spread(RETRY));
        }
    }

    /// How many addresses did not answer the last time.
    pub(super) fn failing(&self) -> usize {
        self.0.iter().filter(|contact| contact.failures > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(now: Instant) -> Contacts {
        let mut contacts = Contacts::new(now, [None, None].into_iter());
        contacts.resolved(now, 0, ([127, 0, 0, 1], 1).into());
        contacts
    }

    #[test]
    fn failures_back_off_and_success_is_checked_now_and_then() {
        let now = Instant::now();
        let mut contacts = contacts(now);
        let soon = now + STAGGER;
        assert_eq!(contacts.due(soon).len(), 1, "one is not resolved");
        assert_eq!(contacts.due(soon).len(), 0, "it is being tried");
        assert_eq!(contacts.next_due(), None);
        for _ in 0..20 {
            contacts.finished(now, 0, Outcome::Failed);
        }
        assert_eq!(contacts.failing(), 1);
        let wait = contacts.next_due().unwrap() - now;
        assert!(wait > SLOWEST / 2 && wait < 2 * SLOWEST);
        contacts.finished(now, 0, Outcome::Reached);
        assert!(contacts.next_due().unwrap() > now + SLOWEST);
        contacts.alone(now);
        assert!(contacts.next_due().unwrap() < now + 2 * RETRY);
        contacts.finished(now, 0, Outcome::Ourselves);
        assert!(contacts.next_due().unwrap() > now + OWN / 2);
    }

    #[test]
    fn a_new_address_is_tried_at_once() {
        let now = Instant::now();
        let mut contacts = contacts(now);
        contacts.finished(now, 0, Outcome::Reached);
        let addr = ([127, 0, 0, 1], 2).into();
        contacts.resolved(now, 0, addr);
        assert_eq!(contacts.due(now), [(0, addr, None)]);
    }
}

//! The bootstrap addresses: tried until one answers, and now and then ever after, so that parts of
//! a network that lost each other meet again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

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
pub(super) struct Contacts<P>(Vec<Contact<P>>);

struct Contact<P> {
    addr: Option<SocketAddr>,
    who: Who<P>,
    due: Instant,
    failures: u32,
    busy: bool,
}

/// Who is to be met at a contact's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who<P> {
    /// This peer and no other.
    Expected(P),
    /// Whoever answers; this one did the last time.
    Answered(P),
    /// Whoever answers.
    Unknown,
}

impl<P: Copy> Contacts<P> {
    pub(super) fn new(now: Instant, expected: impl Iterator<Item = Option<P>>) -> Self {
        let contact = |expect: Option<P>| {
            let who = expect.map_or(Who::Unknown, Who::Expected);
            let due = now + random::up_to(STAGGER);
            Contact {
                addr: None,
                who,
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

    /// The contacts to try now, by index; each must end in one of the next four.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(usize, SocketAddr, Who<P>)> {
        let due = |(index, contact): (usize, &mut Contact<P>)| {
            let addr = contact
                .addr
                .filter(|_| !contact.busy && contact.due <= now)?;
            contact.busy = true;
            Some((index, addr, contact.who))
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

    /// `peer` answered at the contact at `index`.
    pub(super) fn reached(&mut self, now: Instant, index: usize, peer: P) {
        if let Some(contact) = self.0.get_mut(index)
            && !matches!(contact.who, Who::Expected(_))
        {
            contact.who = Who::Answered(peer);
        }
        self.met(now, index);
    }

    /// There is a connection with the contact at `index`.
    pub(super) fn met(&mut self, now: Instant, index: usize) {
        self.finished(now, index, random::spread(AGAIN), false);
    }

    /// The contact at `index` turned out to be ourselves.
    pub(super) fn ourselves(&mut self, now: Instant, index: usize) {
        self.finished(now, index, random::spread(OWN), false);
    }

    /// Nobody answered at the contact at `index`, or somebody else than expected.
    pub(super) fn failed(&mut self, now: Instant, index: usize) {
        let failures = self.0.get(index).map_or(0, |contact| contact.failures);
        let wait = random::backoff(RETRY, failures, SLOWEST);
        self.finished(now, index, wait, true);
    }

    fn finished(&mut self, now: Instant, index: usize, wait: Duration, failed: bool) {
        if let Some(contact) = self.0.get_mut(index) {
            contact.busy = false;
            contact.failures = if failed { contact.failures + 1 } else { 0 };
            contact.due = now + wait;
        }
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

    fn contacts(now: Instant) -> Contacts<u8> {
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
            contacts.failed(now, 0);
        }
        assert_eq!(contacts.failing(), 1);
        let wait = contacts.next_due().unwrap() - now;
        assert!(wait > SLOWEST / 2 && wait < 2 * SLOWEST);
        contacts.met(now, 0);
        assert!(contacts.next_due().unwrap() > now + SLOWEST);
        contacts.alone(now);
        assert!(contacts.next_due().unwrap() < now + 2 * RETRY);
        contacts.ourselves(now, 0);
        assert!(contacts.next_due().unwrap() > now + OWN / 2);
    }

    #[test]
    fn a_new_address_is_tried_at_once() {
        let now = Instant::now();
        let mut contacts = contacts(now);
        let peer = 7;
        contacts.reached(now, 0, peer);
        let addr = ([127, 0, 0, 1], 2).into();
        contacts.resolved(now, 0, addr);
        assert_eq!(contacts.due(now), [(0, addr, Who::Answered(peer))]);
    }
}

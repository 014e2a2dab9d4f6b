//! The peers that were told to the node: looked after until they are gone.

use super::endpoint::Endpoint;
use crate::time::{RawTime, Span};
use crate::topology::overlay::Contact;

/// Peers told to the node and looked after at most; as the libp2p engine's.
const MOST: usize = 48;
/// Pause between looks at one of them.
const CHECK_EVERY: Span = Span::from_secs(60);

/// Whom the node has been told of.
#[derive(Default)]
pub(super) struct Told(Vec<(Contact<Endpoint>, RawTime)>);

impl Told {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `contact` answered, at this address. Whether it is one of them at the same place.
    pub(super) fn seen(&mut self, now: RawTime, contact: &Contact<Endpoint>) -> bool {
        let known = self.0.iter_mut().find(|(c, _)| c.key == contact.key);
        let Some((known, due)) = known else {
            return false;
        };
        *due = now + CHECK_EVERY;
        let same = known.at == contact.at;
        *known = *contact;
        same
    }

    /// `contact` is told now. Beyond the limit whoever was told the longest ago gives way; it may
    /// well be there still, so nothing is said of it.
    pub(super) fn add(&mut self, now: RawTime, contact: Contact<Endpoint>) {
        if !self.seen(now, &contact) && !self.has(&contact) {
            if self.0.len() >= MOST {
                self.0.remove(0);
            }
            self.0.push((contact, now + CHECK_EVERY));
        }
    }

    pub(super) fn has(&self, contact: &Contact<Endpoint>) -> bool {
        self.0.iter().any(|(c, _)| c.key == contact.key)
    }

    /// `contact` is gone. Whether it was one of them.
    pub(super) fn gone(&mut self, contact: &Contact<Endpoint>) -> bool {
        let before = self.0.len();
        self.0.retain(|(c, _)| c.key != contact.key);
        self.0.len() < before
    }

    /// Those to look at now.
    pub(super) fn due(&mut self, now: RawTime) -> Vec<Contact<Endpoint>> {
        let due = self.0.iter_mut().filter(|(_, due)| *due <= now);
        due.map(|(contact, due)| {
            *due = now + CHECK_EVERY;
            *contact
        })
        .collect()
    }
}

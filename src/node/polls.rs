//! Whom the slots are for and when they are due, in few bytes: slots themselves are too large to
//! be looked through for every packet.

use serde::{Deserialize, Serialize};

use crate::time::RawTime;
use crate::topology::NodeId;

/// When there is nothing to do.
const NEVER: RawTime = RawTime::from_nanos(i64::MAX);

/// What stands for no peer; a peer that it stands for is found as well.
const NOBODY: u32 = 0;

/// An entry for each slot of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Polls {
    /// What others may have as well, see [`key`].
    keys: Vec<u32>,
    /// When the next packet of our own accord is due; within a burst earlier than the next burst.
    due: Vec<RawTime>,
    earliest: RawTime,
}

impl Polls {
    /// Of so many free slots.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            keys: vec![NOBODY; slots],
            due: vec![NEVER; slots],
            earliest: NEVER,
        }
    }

    /// Slot `index` is that of `peer` now, who is not polled yet.
    pub(super) fn occupy(&mut self, index: usize, peer: &NodeId) {
        self.keys[index] = key(peer);
        self.never(index);
    }

    /// Slot `index` is free now.
    pub(super) fn free(&mut self, index: usize) {
        self.keys[index] = NOBODY;
        self.never(index);
    }

    /// Slots that may be that of `peer`.
    pub(super) fn of(&self, peer: &NodeId) -> impl Iterator<Item = usize> {
        let key = key(peer);
        let keys = self.keys.iter().enumerate();
        keys.filter(move |(_, own)| **own == key).map(|(k, _)| k)
    }

    /// Slot `index` is polled at `at`.
    pub(super) fn plan(&mut self, index: usize, at: RawTime) {
        let before = std::mem::replace(&mut self.due[index], at);
        if at <= self.earliest {
            self.earliest = at;
        } else if before == self.earliest {
            self.earliest = self.due.iter().copied().min().unwrap_or(NEVER);
        }
    }

    /// The same if it was not to be polled sooner.
    pub(super) fn hasten(&mut self, index: usize, at: RawTime) {
        self.plan(index, at.min(self.due[index]));
    }

    /// Slot `index` is not polled.
    pub(super) fn never(&mut self, index: usize) {
        self.plan(index, NEVER);
    }

    /// Whether slot `index` is polled at all.
    pub(super) fn is_polled(&self, index: usize) -> bool {
        self.due[index] != NEVER
    }

    /// Whether slot `index` is due at `now`.
    pub(super) fn is_due(&self, index: usize, now: RawTime) -> bool {
        now >= self.due[index]
    }

    /// When the first of them is due.
    pub(super) const fn earliest(&self) -> RawTime {
        self.earliest
    }
}

/// Part of an identity.
const fn key(peer: &NodeId) -> u32 {
    (peer.order_key() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    #[test]
    fn slots_are_found_by_their_peers() {
        let mut polls = Polls::new(3);
        polls.occupy(1, &peer(7));
        assert_eq!(polls.of(&peer(7)).collect::<Vec<_>>(), [1]);
        polls.free(1);
        assert_eq!(polls.of(&peer(7)).count(), 0);
    }

    proptest! {
        #[test]
        fn the_earliest_is_the_least(plans in prop::collection::vec((0..5usize, 0..9i64), 1..50)) {
            let mut polls = Polls::new(5);
            for (index, at) in plans {
                match at {
                    0 => polls.never(index),
                    1..3 => polls.hasten(index, RawTime::from_nanos(at)),
                    _ => polls.plan(index, RawTime::from_nanos(at)),
                }
                let least = polls.due.iter().copied().min();
                prop_assert_eq!(Some(polls.earliest()), least);
            }
        }
    }
}

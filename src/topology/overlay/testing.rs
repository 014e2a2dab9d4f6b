//! Places for tests.

use super::{Contact, Key, Place};

/// A node's number, and the address block it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::topology) struct At(u64, Option<u64>);

impl Place for At {
    fn block(&self) -> Option<u64> {
        self.1
    }
}

/// A contact at a place of its own.
pub(in crate::topology) const fn contact(key: u64) -> Contact<At> {
    Contact {
        key: Key(key),
        at: At(key, None),
    }
}

/// A contact in an address block.
pub(in crate::topology) const fn in_block(key: u64, block: u64) -> Contact<At> {
    Contact {
        key: Key(key),
        at: At(key, Some(block)),
    }
}

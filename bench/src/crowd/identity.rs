//! Who is who: identities and addresses that follow from a host's number.

use std::net::{Ipv4Addr, SocketAddr};

use parisync::topology::{Candidate, FoundBy, NodeId};
use serde::{Deserialize, Serialize};

/// A host, and how often it has been replaced by another at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Who {
    pub(super) host: u32,
    pub(super) life: u32,
}

/// Scatters the bits of a number; different numbers stay different (Stafford's mix 13).
pub(super) const fn scatter(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Who {
    /// As others know it: identities are as good as random, and tell which host it is.
    pub(super) fn id(self) -> NodeId {
        let number = u64::from(self.life) << 32 | u64::from(self.host);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&scatter(number).to_be_bytes());
        bytes[8..12].copy_from_slice(&self.host.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.life.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    /// As engines tell of one that is near.
    pub(super) fn nearby(self) -> Candidate {
        Candidate {
            found_by: FoundBy::Near,
            ..self.candidate(false)
        }
    }

    /// As those know of it who are configured to trust it with the frequency.
    pub(super) fn reference(self) -> Candidate {
        Candidate {
            found_by: FoundBy::Reference,
            ..self.candidate(false)
        }
    }

    /// Who has this identity.
    pub(super) fn of(id: &NodeId) -> Self {
        let part = |at: usize| {
            let bytes = &id.as_bytes()[at..at + 4];
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        Self {
            host: part(8),
            life: part(12),
        }
    }

    /// As engines tell of it. `crowded`: its address is in one of few blocks, with others like it.
    pub(super) fn candidate(self, crowded: bool) -> Candidate {
        let spread = scatter(u64::from(self.host) ^ 0x61_64_64_72);
        let address = if crowded {
            0x0a00_0000 | (spread as u32 & 0x0001_ffff)
        } else {
            0x2000_0000 | (spread as u32 & 0x1fff_ffff)
        };
        Candidate {
            id: self.id(),
            addr: SocketAddr::from((Ipv4Addr::from(address), 0)),
            found_by: FoundBy::Dht,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_tell_who_has_them_and_lives_differ() {
        let first = Who { host: 7, life: 0 };
        let second = Who { host: 7, life: 1 };
        assert_eq!(Who::of(&second.id()), second);
        assert_ne!(first.id().order_key(), second.id().order_key());
    }
}

//! Which network a datagram belongs to.

use blake2::{Blake2s256, Digest};
use std::fmt;

/// A network's number in every datagram: the first four bytes of the BLAKE2s-256 hash of its
/// name, little-endian.
///
/// It keeps networks that share a wire apart; it is no secret and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkId(u32);

impl NetworkId {
    /// The name of the network of those who configure none.
    pub const DEFAULT_NAME: &str = "parisync";

    /// The number of the network called `name`.
    pub fn from_name(name: &str) -> Self {
        let hash = Blake2s256::digest(name.as_bytes());
        Self(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }

    /// The network with this number.
    pub const fn from_u32(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl Default for NetworkId {
    fn default() -> Self {
        Self::from_name(Self::DEFAULT_NAME)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_name_never_changes() {
        assert_eq!(NetworkId::default(), NetworkId::from_name("parisync"));
        assert_eq!(NetworkId::default().as_u32(), 0xb90b_3d73);
        assert_ne!(NetworkId::from_name("a"), NetworkId::from_name("b"));
        // BLAKE2s-256 of the empty string begins 69 21 7a 30 (RFC 7693's reference code).
        assert_eq!(NetworkId::from_name("").as_u32(), 0x307a_2169);
    }
}

//! Places in a link structure.

use std::fmt;

/// A place in the key space: 64 bits, uniformly spread.
///
/// Published structures use 128 or 160 bits so that ids never meet. 64 are enough to order some
/// millions of nodes, and tables of a simulated network shrink by half. Where a place belongs to
/// an identity, see [`super::position`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

impl Key {
    /// Kademlia's distance: symmetric, and each key has exactly one at every distance.
    pub const fn xor(self, other: Self) -> u64 {
        self.0 ^ other.0
    }

    /// The way from here to `other` along the ring, upwards.
    pub const fn clockwise(self, other: Self) -> u64 {
        other.0.wrapping_sub(self.0)
    }

    /// The shorter way to `other` along the ring.
    pub const fn around(self, other: Self) -> u64 {
        let up = self.clockwise(other);
        let down = other.clockwise(self);
        if up < down { up } else { down }
    }

    /// How many leading bits are the same.
    pub const fn common_bits(self, other: Self) -> u32 {
        (self.0 ^ other.0).leading_zeros()
    }

    /// Digit `row` of base 16, the most significant first.
    pub const fn digit(self, row: u32) -> u8 {
        (self.0 >> (60 - 4 * row) & 15) as u8
    }

    /// The key with bit `index` (0 the most significant) flipped.
    pub const fn flipped(self, index: u32) -> Self {
        Self(self.0 ^ 1 << (63 - index))
    }

    /// The key with the first `bits` bits of this one and all others of `random`.
    pub const fn with_tail(self, bits: u32, random: u64) -> Self {
        match bits {
            0 => Self(random),
            1..64 => {
                let tail = u64::MAX >> bits;
                Self(self.0 & !tail | random & tail)
            }
            _ => self,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_what_they_are_called() {
        let (a, b) = (Key(0x10 << 56), Key(0xf0 << 56));
        assert_eq!(a.xor(b), 0xe0 << 56);
        assert_eq!(a.clockwise(b), 0xe0 << 56);
        assert_eq!(b.clockwise(a), 0x20 << 56);
        assert_eq!(a.around(b), 0x20 << 56);
        assert_eq!(a.common_bits(b), 0);
        assert_eq!(a.common_bits(a), 64);
        assert_eq!(Key(0x1234 << 48).digit(2), 3);
    }

    #[test]
    fn tails_and_flips_keep_the_rest() {
        let key = Key(0xabcd << 48);
        assert_eq!(key.flipped(0), Key(0x2bcd << 48));
        assert_eq!(key.with_tail(16, u64::MAX), Key(0xabcd_ffff_ffff_ffff));
        assert_eq!(key.with_tail(0, 5), Key(5));
        assert_eq!(key.with_tail(64, 5), key);
    }
}

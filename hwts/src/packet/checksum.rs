//! The Internet checksum (RFC 1071).

/// A sum in the making: 16-bit words, carries kept until the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds bytes, as big-endian words; an odd one out is filled up with zero.
    pub(super) fn add(mut self, bytes: &[u8]) -> Self {
        // Four bytes at a time: carries between the halves fold into the same sum.
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.0 += u64::from(u32::from_be_bytes(last));
        self
    }

    /// Adds one word.
    pub(super) fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// The checksum of what was added.
    pub(super) fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_standard() {
        // RFC 1071, section 3: the words 0001 f203 f4f5 f6f7 add up to ddf2.
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), !0xddf2);
    }

    proptest! {
        #[test]
        fn as_the_textbook_has_it(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut want = 0_u32;
            for pair in bytes.chunks(2) {
                want += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
                want = (want & 0xffff) + (want >> 16);
            }
            prop_assert_eq!(Sum::default().add(&bytes).finish(), !(want as u16));
        }

        #[test]
        fn a_packet_with_its_checksum_sums_to_nothing(mut bytes: [u8; 20]) {
            bytes[10..12].fill(0);
            let sum = Sum::default().add(&bytes).finish();
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            prop_assert_eq!(Sum::default().add(&bytes).finish(), 0);
        }
    }
}

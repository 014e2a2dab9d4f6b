//! The check sum of a record.

use std::fmt;
use std::str::FromStr;

/// FNV-1a, 64 bits (G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, *The FNV non-cryptographic hash
/// algorithm*): finds what was changed by accident, not who changed it on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Sum {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        // From the test vectors of the FNV internet draft.
        for (text, sum) in [("", "cbf29ce484222325"), ("foobar", "85944171f73967e8")] {
            let mut found = Sum::default();
            found.add(text.as_bytes());
            assert_eq!(found.to_string(), sum);
            assert_eq!(sum.parse(), Ok(found));
        }
    }
}

//! Stamps of `CLOCK_TAI` as stamps of `CLOCK_REALTIME`: the two differ by whole seconds.

use crate::stamp::{Domain, Source, Stamp};

const SECOND: i64 = 1_000_000_000;
/// Two readings with less than this between them tell the difference.
const QUICK: i64 = SECOND / 4;

/// What TAI is ahead of UTC, as the kernel was told.
#[derive(Debug)]
pub(super) struct Tai {
    offset: i64,
}

impl Tai {
    pub(super) fn new() -> Self {
        let mut tai = Self { offset: 0 };
        tai.refresh();
        tai
    }

    /// Looks again. False if somebody changed it: stamps from before cannot be told from those
    /// after.
    pub(super) fn refresh(&mut self) -> bool {
        let offset = loop {
            let before = Domain::Realtime.now();
            let tai = Domain::Tai.now();
            let after = Domain::Realtime.now();
            if (0..QUICK).contains(&(after - before)) {
                break whole_seconds(tai - before);
            }
        };
        let same = offset == self.offset;
        self.offset = offset;
        same
    }

    /// A stamp that was taken in TAI.
    pub(super) fn stamp(&self, nanos: u64) -> Option<Stamp> {
        Some(Stamp {
            nanos: i64::try_from(nanos).ok()? - self.offset,
            domain: Domain::Realtime,
            source: Source::Xdp,
        })
    }
}

/// The nearest multiple of a second.
const fn whole_seconds(nanos: i64) -> i64 {
    (nanos + SECOND / 2).div_euclid(SECOND) * SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_takes_no_second() {
        assert_eq!(whole_seconds(37 * SECOND + 80), 37 * SECOND);
        assert_eq!(whole_seconds(200_000_000), 0);
        assert_eq!(whole_seconds(-SECOND + 5), -SECOND);
    }

    #[test]
    fn both_clocks_agree_about_now() {
        let mut tai = Tai::new();
        assert!(tai.refresh());
        let before = Domain::Realtime.now();
        let now = u64::try_from(Domain::Tai.now()).unwrap();
        let stamp = tai.stamp(now).unwrap();
        let after = Domain::Realtime.now();
        assert!((before..=after).contains(&stamp.nanos));
        assert_eq!(tai.stamp(u64::MAX), None);
    }
}

//! How often one source may ask for work.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::time::{RawTime, Span};

/// A token bucket: how many at once, and how fast they come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Sustained rate, per second; at least 1.
    pub per_second: u32,
    /// How many may come at once; at least 1.
    pub burst: u32,
}

impl Allowance {
    fn interval(self) -> Span {
        Span::from_nanos(1_000_000_000 / i64::from(self.per_second.max(1)))
    }

    /// The bucket's new level if it has a token left. A level is the instant at which the bucket
    /// will be full again (GCRA, ITU-T I.371), which makes it one number.
    fn take(self, level: RawTime, now: RawTime) -> Option<RawTime> {
        let level = level.max(now);
        let room = self.interval() * i64::from(self.burst.saturating_sub(1));
        (level - now <= room).then(|| level + self.interval())
    }
}

/// Token buckets for sources (an IPv4 address, an IPv6 /64), in a table that never grows.
///
/// Where the table is full, the source that has asked least of late is forgotten: it loses
/// nothing, as its bucket was the fullest.
pub(crate) struct Limiter {
    allowance: Allowance,
    buckets: Box<[Bucket]>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Bucket {
    source: u64,
    level: RawTime,
}

const WAYS: usize = 4;

impl Limiter {
    /// A limiter that tells about `sources` sources apart.
    pub(crate) fn new(allowance: Allowance, sources: usize, now: RawTime) -> Self {
        let sets = sources.div_ceil(WAYS).max(1);
        let empty = Bucket {
            source: 0,
            level: now,
        };
        Self {
            allowance,
            buckets: vec![empty; sets * WAYS].into_boxed_slice(),
            hasher: RandomState::new(),
        }
    }

    /// Takes a token of `ip`; false if there is none.
    pub(crate) fn allow(&mut self, now: RawTime, ip: IpAddr) -> bool {
        let source = self.hasher.hash_one(prefix(ip));
        let sets = self.buckets.len() / WAYS;
        let first = (source % sets as u64) as usize * WAYS;
        let set = &mut self.buckets[first..first + WAYS];
        let known = set.iter_mut().find(|bucket| bucket.source == source);
        let bucket = match known {
            Some(bucket) => bucket,
            None => {
                let Some(bucket) = set.iter_mut().min_by_key(|bucket| bucket.level) else {
                    return false;
                };
                *bucket = Bucket { source, level: now };
                bucket
            }
        };
        match self.allowance.take(bucket.level, now) {
            Some(level) => {
                bucket.level = level;
                true
            }
            None => false,
        }
    }

    /// How many sources it can tell apart.
    pub(crate) fn capacity(&self) -> usize {
        self.buckets.len()
    }
}

/// One bucket for everybody together.
pub(crate) struct Budget {
    allowance: Allowance,
    level: RawTime,
}

impl Budget {
    pub(crate) const fn new(allowance: Allowance, now: RawTime) -> Self {
        Self {
            allowance,
            level: now,
        }
    }

    /// Takes a token; false if there is none.
    pub(crate) fn allow(&mut self, now: RawTime) -> bool {
        match self.allowance.take(self.level, now) {
            Some(level) => {
                self.level = level;
                true
            }
            None => false,
        }
    }
}

/// What counts as one source: whoever has an IPv6 address has its whole /64.
fn prefix(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        per_second: 10,
        burst: 5,
    };

    fn at(ms: i64) -> RawTime {
        RawTime::from_nanos(0) + Span::from_millis(ms)
    }

    fn count(limiter: &mut Limiter, now: RawTime, ip: &str, tries: usize) -> usize {
        let ip = ip.parse().unwrap();
        (0..tries).filter(|_| limiter.allow(now, ip)).count()
    }

    #[test]
    fn a_source_gets_its_burst_then_its_rate() {
        let mut limiter = Limiter::new(ALLOWANCE, 64, at(0));
        assert_eq!(count(&mut limiter, at(0), "192.0.2.1", 100), 5);
        assert_eq!(count(&mut limiter, at(0), "192.0.2.2", 100), 5);
        assert_eq!(count(&mut limiter, at(200), "192.0.2.1", 100), 2);
        assert_eq!(count(&mut limiter, at(60_000), "192.0.2.1", 100), 5);
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let mut limiter = Limiter::new(ALLOWANCE, 64, at(0));
        assert_eq!(count(&mut limiter, at(0), "2001:db8::1", 5), 5);
        assert_eq!(count(&mut limiter, at(0), "2001:db8::2", 5), 0);
        assert_eq!(count(&mut limiter, at(0), "2001:db8:0:1::1", 5), 5);
    }

    #[test]
    fn a_flood_of_sources_does_not_grow_the_table() {
        let mut limiter = Limiter::new(ALLOWANCE, 64, at(0));
        for n in 0..10_000_u32 {
            limiter.allow(at(0), IpAddr::V4(n.into()));
        }
        assert_eq!(limiter.capacity(), 64);
    }
}

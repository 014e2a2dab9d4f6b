//! Randomness for jitter and choices; nothing secret.

use std::time::Duration;

use rand_core::{OsRng, RngCore};

/// A number below `limit`, which must not be zero. The bias is below `limit / 2^64`.
#[cfg(any(feature = "dht", test))]
pub(super) fn below(limit: usize) -> usize {
    (OsRng.next_u64() % limit.max(1) as u64) as usize
}

/// Any number.
pub(super) fn number() -> u64 {
    OsRng.next_u64()
}

/// `span` times a factor between 0.75 and 1.25, so that hosts started together drift apart.
pub(super) fn spread(span: Duration) -> Duration {
    span.mul_f64(0.75 + 0.5 * unit())
}

/// A span between nothing and `limit`.
pub(super) fn up_to(limit: Duration) -> Duration {
    limit.mul_f64(unit())
}

/// `base` doubled `failures` times, `limit` at most, spread.
pub(super) fn backoff(base: Duration, failures: u32, limit: Duration) -> Duration {
    let doubled = base.saturating_mul(1 << failures.min(20));
    spread(doubled.min(limit))
}

fn unit() -> f64 {
    f64::from(OsRng.next_u32()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_range() {
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            let s = spread(second).as_secs_f64();
            assert!((0.74..1.26).contains(&s));
            assert!(up_to(second) <= second);
            assert!(below(3) < 3);
            let b = backoff(second, 40, 8 * second).as_secs_f64();
            assert!((5.9..10.1).contains(&b));
        }
        assert_eq!(below(0), 0);
    }
}

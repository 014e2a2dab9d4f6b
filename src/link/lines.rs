//! The lines that limits from above and from below leave possible.

use super::Interval;

/// A limit on the offset at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// Seconds since the link's epoch.
    pub(super) at: f64,
    /// The limit, ns.
    pub(super) limit: f64,
}

/// A form in which a limit is kept.
pub trait Limit: Clone + Copy + Default + std::fmt::Debug {
    /// The form of `exact`, a limit from above or below; what it loses makes it say less, whatever
    /// the rate is up to `max_rate`.
    fn keep(exact: Point, above: bool, max_rate: f64) -> Self;

    /// The limit.
    fn point(&self) -> Point;
}

impl Limit for Point {
    #[inline]
    fn keep(exact: Point, _: bool, _: f64) -> Self {
        exact
    }

    #[inline]
    fn point(&self) -> Point {
        *self
    }
}

/// Half the bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ShortPoint {
    at: f32,
    limit: f32,
}

impl Limit for ShortPoint {
    #[inline]
    fn keep(exact: Point, above: bool, max_rate: f64) -> Self {
        let at = exact.at as f32;
        let moved = 1e9 * max_rate * (f64::from(at) - exact.at).abs();
        let limit = if above {
            let wanted = exact.limit + moved;
            let near = wanted as f32;
            if f64::from(near) < wanted {
                near.next_up()
            } else {
                near
            }
        } else {
            let wanted = exact.limit - moved;
            let near = wanted as f32;
            if f64::from(near) > wanted {
                near.next_down()
            } else {
                near
            }
        };
        Self { at, limit }
    }

    #[inline]
    fn point(&self) -> Point {
        Point {
            at: f64::from(self.at),
            limit: f64::from(self.limit),
        }
    }
}

/// Limits from both sides.
///
/// The possible lines are those with `L_j + b·s_j ≤ a ≤ U_i + b·s_i` (`a` the offset now, `s` the
/// ages). Each pair (i, j) limits the rate `b`; a limit rises with `b` if its sample is older than
/// the instant asked for, and falls with `b` if it is newer: stamps arrive one packet late, so an
/// instant between two samples is asked for as well.
pub(super) struct Lines<'a> {
    pub(super) above: &'a [Point],
    pub(super) below: &'a [Point],
    /// The rate is no further from zero than this, as a fraction.
    pub(super) max_rate: f64,
}

impl Lines<'_> {
    /// What is possible at `at`; `None` without limits from both sides, or if they contradict each
    /// other.
    #[inline]
    pub(super) fn interval(&self, at: f64) -> Option<Interval> {
        if self.above.is_empty() || self.below.is_empty() {
            return None;
        }
        let (rate_lower, rate_upper) = self.rates()?;
        let mut upper = f64::INFINITY;
        for p in self.above {
            let age = at - p.at;
            let gain = (rate_upper * age).max(rate_lower * age);
            upper = upper.min(p.limit + 1e9 * gain);
        }
        let mut lower = f64::NEG_INFINITY;
        for p in self.below {
            let age = at - p.at;
            let gain = (rate_upper * age).min(rate_lower * age);
            lower = lower.max(p.limit + 1e9 * gain);
        }
        (lower <= upper).then_some(Interval {
            lower,
            upper,
            rate_lower,
            rate_upper,
        })
    }

    /// The possible rates, or `None` if there are none.
    #[inline]
    pub(super) fn rates(&self) -> Option<(f64, f64)> {
        let (mut least, mut most) = (-self.max_rate, self.max_rate);
        for u in self.above {
            for l in self.below {
                let room = (u.limit - l.limit) * 1e-9;
                let apart = u.at - l.at;
                if apart > 0.0 {
                    most = most.min(room / apart);
                } else if apart < 0.0 {
                    least = least.max(room / apart);
                } else if room < 0.0 {
                    return None;
                }
            }
        }
        (least <= most).then_some((least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_short_limit_never_says_more(
            at in 0.0..1e5f64, limit in -1e10..1e10f64, rate in -2e-4..2e-4f64, above: bool,
        ) {
            let exact = Point { at, limit };
            let kept = ShortPoint::keep(exact, above, 2e-4).point();
            // The line at that rate through the kept limit, where the exact one is.
            let there = kept.limit + 1e9 * rate * (at - kept.at);
            let less = if above { there - limit } else { limit - there };
            prop_assert!(less >= -1e-3, "{less}");
            prop_assert!(less <= 2e-2 * at + 3e-7 * limit.abs() + 1.0, "{less}");
        }
    }
}

//! The lines that limits from above and from below leave possible.

use serde::{Deserialize, Serialize};

use super::Interval;

/// A limit on the offset at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
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

/// A limit as it is at several instants, by when it is more or less out of date.
#[derive(Debug, Clone, Copy)]
pub struct Fan<const N: usize> {
    /// Seconds since the link's epoch: when it was taken.
    pub(super) at: f64,
    /// At each of the instants, ns.
    pub(super) limits: [f64; N],
}

impl From<Point> for Fan<1> {
    fn from(point: Point) -> Self {
        Self {
            at: point.at,
            limits: [point.limit],
        }
    }
}

/// Limits from both sides, as they are at several instants, which processors work out at once.
///
/// The possible lines are those with `L_j + b·s_j ≤ a ≤ U_i + b·s_i` (`a` the offset now, `s` the
/// ages). Each pair (i, j) limits the rate `b`; a limit rises with `b` if its sample is older than
/// the instant asked for, and falls with `b` if it is newer: stamps arrive one packet late, so an
/// instant between two samples is asked for as well.
pub(super) struct Lines<A, B> {
    pub(super) above: A,
    pub(super) below: B,
    /// The rate is no further from zero than this, as a fraction.
    pub(super) max_rate: f64,
}

impl<A, B> Lines<A, B> {
    /// What is possible at each of the instants; `None` if the limits contradict each other. There
    /// must be limits from both sides.
    #[inline]
    pub(super) fn intervals<const N: usize>(&self, at: &[f64; N]) -> [Option<Interval>; N]
    where
        A: AsRef<[Fan<N>]>,
        B: AsRef<[Fan<N>]>,
    {
        let (least, most) = self.extremes();
        let mut upper = [f64::INFINITY; N];
        for p in self.above.as_ref() {
            for k in 0..N {
                let age = at[k] - p.at;
                let gain = larger(most[k] * age, least[k] * age);
                upper[k] = smaller(upper[k], p.limits[k] + 1e9 * gain);
            }
        }
        let mut lower = [f64::NEG_INFINITY; N];
        for p in self.below.as_ref() {
            for k in 0..N {
                let age = at[k] - p.at;
                let gain = smaller(most[k] * age, least[k] * age);
                lower[k] = larger(lower[k], p.limits[k] + 1e9 * gain);
            }
        }
        std::array::from_fn(|k| {
            (least[k] <= most[k] && lower[k] <= upper[k]).then_some(Interval {
                lower: lower[k],
                upper: upper[k],
                rate_lower: least[k],
                rate_upper: most[k],
            })
        })
    }

    /// The possible rates at each of the instants, or `None` if there are none.
    #[inline]
    pub(super) fn rates<const N: usize>(&self) -> [Option<(f64, f64)>; N]
    where
        A: AsRef<[Fan<N>]>,
        B: AsRef<[Fan<N>]>,
    {
        let (least, most) = self.extremes();
        std::array::from_fn(|k| (least[k] <= most[k]).then_some((least[k], most[k])))
    }

    /// Least and largest possible rates; if there are none, the least is larger.
    #[inline]
    fn extremes<const N: usize>(&self) -> ([f64; N], [f64; N])
    where
        A: AsRef<[Fan<N>]>,
        B: AsRef<[Fan<N>]>,
    {
        let (mut least, mut most) = ([-self.max_rate; N], [self.max_rate; N]);
        for u in self.above.as_ref() {
            for l in self.below.as_ref() {
                let apart = u.at - l.at;
                let room: [f64; N] = std::array::from_fn(|k| (u.limits[k] - l.limits[k]) * 1e-9);
                if apart > 0.0 {
                    for k in 0..N {
                        most[k] = smaller(most[k], room[k] / apart);
                    }
                } else if apart < 0.0 {
                    for k in 0..N {
                        least[k] = larger(least[k], room[k] / apart);
                    }
                } else {
                    for k in 0..N {
                        if room[k] < 0.0 {
                            least[k] = f64::INFINITY;
                        }
                    }
                }
            }
        }
        (least, most)
    }
}

/// As [`f64::min`] of what is no NaN, in one instruction.
#[inline]
fn smaller(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

/// As [`f64::max`] of what is no NaN, in one instruction.
#[inline]
fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
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

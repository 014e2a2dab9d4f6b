//! What happens to a whole network at once.

use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::identity::scatter;
use crate::units::Fraction;

/// Something that happens to many hosts together. Written `flash-crowd=0.5@30`,
/// `mass-exit=0.5@30`, `partition=0.3@30-60`, `warmth=1ppm@30-40`; times are rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happening {
    /// This share of the hosts is not there before that round, and comes at once.
    FlashCrowd {
        /// Of all hosts.
        share: f64,
        /// Round.
        at: f64,
    },
    /// This share of the hosts leaves at once and does not come back.
    MassExit {
        /// Of all hosts.
        share: f64,
        /// Round.
        at: f64,
    },
    /// No packet passes between this share of the hosts and the others.
    Partition {
        /// Of all hosts.
        share: f64,
        /// First round.
        from: f64,
        /// The round in which it heals.
        until: f64,
    },
    /// The temperature shifts the frequency of each host by up to this, for good.
    Warmth {
        /// The largest shift.
        shift: Fraction,
        /// First round.
        from: f64,
        /// The round in which it has got there.
        until: f64,
    },
}

impl Happening {
    /// Whether host `n` is away in `round`.
    pub(super) fn is_away(&self, n: u32, round: f64) -> bool {
        match *self {
            Self::FlashCrowd { share, at } => round < at && is_among(n, 1, share),
            Self::MassExit { share, at } => round >= at && is_among(n, 2, share),
            Self::Partition { .. } | Self::Warmth { .. } => false,
        }
    }

    /// Whether no packet passes between hosts `a` and `b` in `round`.
    pub(super) fn parts(&self, a: u32, b: u32, round: f64) -> bool {
        match *self {
            Self::Partition { share, from, until } => {
                (from..until).contains(&round) && is_among(a, 3, share) != is_among(b, 3, share)
            }
            _ => false,
        }
    }
}

/// Whether host `n` is of a share of the hosts; different shares are drawn for each `purpose`.
pub(super) fn is_among(n: u32, purpose: u64, share: f64) -> bool {
    let drawn = scatter(scatter(purpose) ^ u64::from(n)) >> 11;
    (drawn as f64) < share * (1u64 << 53) as f64
}

/// The text is nothing that happens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is nothing that happens: write flash-crowd=SHARE@ROUND, mass-exit=SHARE@ROUND, \
     partition=SHARE@FROM-UNTIL or warmth=FREQUENCY@FROM-UNTIL, as in partition=0.3@30-60"
)]
pub struct HappeningError(String);

impl FromStr for Happening {
    type Err = HappeningError;

    fn from_str(text: &str) -> Result<Self, HappeningError> {
        let parse = || {
            let (what, rest) = text.split_once('=')?;
            let (much, when) = rest.split_once('@')?;
            let share = || much.parse().ok().filter(|s| (0.0..=1.0).contains(s));
            let at = || when.parse().ok().filter(|r: &f64| *r >= 0.0);
            let span = || {
                let (from, until) = when.split_once('-')?;
                let (from, until): (f64, f64) = (from.parse().ok()?, until.parse().ok()?);
                (0.0 <= from && from <= until).then_some((from, until))
            };
            Some(match what {
                "flash-crowd" => Self::FlashCrowd {
                    share: share()?,
                    at: at()?,
                },
                "mass-exit" => Self::MassExit {
                    share: share()?,
                    at: at()?,
                },
                "partition" => Self::Partition {
                    share: share()?,
                    from: span()?.0,
                    until: span()?.1,
                },
                "warmth" => Self::Warmth {
                    shift: much.parse().ok()?,
                    from: span()?.0,
                    until: span()?.1,
                },
                _ => return None,
            })
        };
        parse().ok_or_else(|| HappeningError(text.to_owned()))
    }
}

impl std::fmt::Display for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FlashCrowd { share, at } => write!(f, "flash-crowd={share}@{at}"),
            Self::MassExit { share, at } => write!(f, "mass-exit={share}@{at}"),
            Self::Partition { share, from, until } => write!(f, "partition={share}@{from}-{until}"),
            Self::Warmth { shift, from, until } => {
                write!(f, "warmth={}ppm@{from}-{until}", shift.0 * 1e6)
            }
        }
    }
}

impl Serialize for Happening {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Happening {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_refused() {
        for text in [
            "flash-crowd=0.5@30",
            "mass-exit=0.25@7",
            "partition=0.3@30-60",
            "warmth=1ppm@1-2",
        ] {
            let happening: Happening = text.parse().unwrap();
            assert_eq!(happening.to_string(), text);
        }
        for text in [
            "",
            "flood=1@2",
            "mass-exit=2@3",
            "partition=0.5@9-3",
            "warmth=1@2",
        ] {
            assert!(text.parse::<Happening>().is_err(), "{text}");
        }
    }

    #[test]
    fn halves_are_parted_for_as_long_as_it_says() {
        let parted: Happening = "partition=0.5@10-20".parse().unwrap();
        let pairs = || (0..100).flat_map(|a| (0..100).map(move |b| (a, b)));
        let cut = |round| pairs().filter(|(a, b)| parted.parts(*a, *b, round)).count();
        assert_eq!((cut(9.9), cut(20.0)), (0, 0));
        assert!((4_000..6_000).contains(&cut(10.0)), "{}", cut(10.0));
    }
}

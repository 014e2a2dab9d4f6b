//! The paths between hosts: delay, loss, and all that makes the two directions differ.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::delay::Delay;
use super::random::Random;
use crate::units::Nanos;

/// What the network between the hosts is like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathModel {
    /// Of one packet in one direction.
    pub delay: Delay,
    /// Share of the packets that never arrive.
    pub loss: f64,
    /// Of each pair of hosts one direction takes longer than the other by up to this, for good.
    pub asymmetry: Nanos,
    /// Of each host's access line one direction takes longer by up to this, for good.
    pub access_asymmetry: Nanos,
    /// Routes that change now and then.
    pub routes: Option<Routes>,
    /// Times of much other traffic.
    pub congestion: Option<Congestion>,
}

/// Each pair of hosts has two routes and changes between them at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// By how much the second is longer.
    pub longer: Nanos,
    /// Mean time on either.
    pub stay: Nanos,
    /// Only one direction takes the longer route; otherwise both do.
    #[serde(default)]
    pub one_way: bool,
}

/// Queues of a host's access line fill up together for a while, outwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Congestion {
    /// Mean of the exponential wait on top of the usual.
    pub wait: Nanos,
    /// Mean time such a state lasts.
    pub lasts: Nanos,
    /// Mean time between two of them.
    pub every: Nanos,
}

/// A state that goes on and off at random (telegraph process).
#[derive(Debug, Clone)]
struct Telegraph {
    on: bool,
    until: i64,
    /// Mean time off and on, ns.
    means: (f64, f64),
    random: Random,
}

impl Telegraph {
    fn new(off: f64, on: f64, mut random: Random) -> Self {
        // Starts as it is found at a random time: on for the share on / (on + off).
        let starts_on = random.unit() * (on + off) < on;
        let first = random.exponential(if starts_on { on } else { off });
        Self {
            on: starts_on,
            until: first as i64,
            means: (off, on),
            random,
        }
    }

    fn at(&mut self, time: i64) -> bool {
        while time >= self.until {
            self.on = !self.on;
            let mean = if self.on { self.means.1 } else { self.means.0 };
            self.until += self.random.exponential(mean).max(1.0) as i64;
        }
        self.on
    }
}

/// What is particular to one pair of hosts, `a < b`.
#[derive(Debug, Clone, Default)]
struct Pair {
    /// What the ways from a to b and from b to a take on top, ns.
    extra: (f64, f64),
    route: Option<Telegraph>,
}

/// One host's access line.
#[derive(Debug, Clone, Default)]
struct Access {
    /// What it adds outwards and inwards, ns.
    extra: (f64, f64),
    congestion: Option<Telegraph>,
}

/// All paths of one network.
#[derive(Debug, Clone)]
pub struct Paths {
    model: PathModel,
    seed: u64,
    access: Vec<Access>,
    /// Only pairs that differ from the model, made when first used.
    pairs: HashMap<(usize, usize), Pair>,
    random: Random,
}

/// Streams of random numbers, apart from those of hosts and pairs.
const PACKETS: u64 = 1 << 60;
const LINES: u64 = 2 << 60;
const PAIRS: u64 = 3 << 60;

impl Paths {
    /// The paths among `hosts` hosts.
    pub fn new(model: &PathModel, hosts: usize, seed: u64) -> Self {
        let access = (0..hosts as u64).map(|host| {
            let mut random = Random::new(seed, LINES | host);
            let extra = one_sided(random.symmetric(model.access_asymmetry.0));
            let congestion = model
                .congestion
                .as_ref()
                .map(|c| Telegraph::new(c.every.0, c.lasts.0, random));
            Access { extra, congestion }
        });
        Self {
            access: access.collect(),
            model: model.clone(),
            seed,
            pairs: HashMap::new(),
            random: Random::new(seed, PACKETS),
        }
    }

    /// When a packet that leaves `from` for `to` at `now` takes, ns; `None` if it is lost.
    pub fn packet(&mut self, from: usize, to: usize, now: i64) -> Option<f64> {
        let mut delay = self.model.delay.draw(&mut self.random);
        if self.model.loss > 0.0 && self.random.unit() < self.model.loss {
            return None;
        }
        if let (Some(congestion), Some(state)) =
            (&self.model.congestion, &mut self.access[from].congestion)
            && state.at(now)
        {
            delay += self.random.exponential(congestion.wait.0);
        }
        Some(delay + self.detour(from, to, now) + self.constant(from, to))
    }

    /// What the route takes on top.
    fn detour(&mut self, from: usize, to: usize, now: i64) -> f64 {
        let Some(routes) = self.model.routes.clone() else {
            return 0.0;
        };
        let route = &mut self.pair(from, to).route;
        let taken = route.as_mut().is_some_and(|state| state.at(now));
        if taken && (!routes.one_way || from < to) {
            routes.longer.0
        } else {
            0.0
        }
    }

    /// The least that a packet that leaves `from` for `to` at `now` can take, ns.
    pub fn least(&mut self, from: usize, to: usize, now: i64) -> f64 {
        self.model.delay.least() + self.detour(from, to, now) + self.constant(from, to)
    }

    /// Share of the packets that are lost from now on.
    pub const fn lose(&mut self, share: f64) {
        self.model.loss = share;
    }

    /// Host `host`'s access line adds so much more, outwards and inwards, ns.
    pub fn lengthen_access(&mut self, host: usize, out: f64, into: f64) {
        let extra = &mut self.access[host].extra;
        (extra.0, extra.1) = (extra.0 + out, extra.1 + into);
    }

    /// The path from `from` to `to` takes `there` ns more, and that back `back`.
    pub fn lengthen(&mut self, from: usize, to: usize, there: f64, back: f64) {
        let (ab, ba) = if from < to {
            (there, back)
        } else {
            (back, there)
        };
        let extra = &mut self.pair(from, to).extra;
        (extra.0, extra.1) = (extra.0 + ab, extra.1 + ba);
    }

    fn constant(&mut self, from: usize, to: usize) -> f64 {
        let access = self.access[from].extra.0 + self.access[to].extra.1;
        let plain = self.model.asymmetry.0 == 0.0 && self.pairs.is_empty();
        if plain {
            return access;
        }
        let (ab, ba) = self.pair(from, to).extra;
        access + if from < to { ab } else { ba }
    }

    fn pair(&mut self, from: usize, to: usize) -> &mut Pair {
        let (a, b) = (from.min(to), from.max(to));
        let (model, seed) = (&self.model, self.seed);
        self.pairs.entry((a, b)).or_insert_with(|| {
            let mut random = Random::new(seed, PAIRS | (a as u64) << 30 | b as u64);
            let extra = one_sided(random.symmetric(model.asymmetry.0));
            let route = model.routes.as_ref().map(|r| {
                let stay = r.stay.0;
                Telegraph::new(stay, stay, random)
            });
            Pair { extra, route }
        })
    }
}

/// A difference between two directions as what each takes on top: none takes less.
const fn one_sided(difference: f64) -> (f64, f64) {
    (difference.max(0.0), (-difference).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn still() -> PathModel {
        PathModel {
            delay: Delay::Exponential {
                least: Nanos(1_000.0),
                mean: Nanos(0.0),
            },
            ..PathModel::default()
        }
    }

    #[test]
    fn a_plain_path_is_the_same_both_ways() {
        let mut paths = Paths::new(&still(), 3, 1);
        assert_eq!(paths.packet(0, 1, 0), Some(1_000.0));
        assert_eq!(paths.packet(1, 0, 0), Some(1_000.0));
        paths.lengthen_access(0, 30.0, 0.0);
        paths.lengthen(1, 0, 5.0, 7.0);
        assert_eq!(paths.packet(0, 1, 0), Some(1_037.0));
        assert_eq!(paths.packet(1, 0, 0), Some(1_005.0));
        assert_eq!(paths.packet(1, 2, 0), Some(1_000.0));
        assert_eq!(paths.least(0, 1, 0), 1_037.0);
    }

    #[test]
    fn asymmetry_is_on_one_side_and_constant() {
        let model = PathModel {
            asymmetry: Nanos(500.0),
            ..still()
        };
        let mut paths = Paths::new(&model, 20, 1);
        let mut slow = 0;
        for a in 0..20 {
            for b in 0..a {
                let there = paths.packet(a, b, 0).unwrap();
                let back = paths.packet(b, a, SECOND).unwrap();
                assert_eq!(there.min(back), 1_000.0);
                assert!(there.max(back) <= 1_500.0);
                assert_eq!(paths.packet(a, b, 9 * SECOND), Some(there));
                slow += u32::from(there > back);
            }
        }
        assert!((70..120).contains(&slow), "{slow} of 190");
    }

    #[test]
    fn routes_change_at_their_pace() {
        for one_way in [false, true] {
            let model = PathModel {
                routes: Some(Routes {
                    longer: Nanos(100.0),
                    stay: Nanos::from_secs(10.0),
                    one_way,
                }),
                ..still()
            };
            let mut paths = Paths::new(&model, 2, 1);
            let (mut longer, mut changes, mut last) = (0, 0, 0.0);
            for k in 0..10_000 {
                let there = paths.packet(0, 1, k * SECOND).unwrap();
                let back = paths.packet(1, 0, k * SECOND).unwrap();
                assert_eq!(back, if one_way { 1_000.0 } else { there });
                longer += u32::from(there > 1_000.0);
                changes += u32::from(there != last);
                last = there;
            }
            assert!((4_300..5_700).contains(&longer), "{longer}");
            // Seen once a second, two changes may hide each other.
            assert!((850..1_100).contains(&changes), "{changes}");
        }
    }

    #[test]
    fn congestion_comes_and_goes_with_the_sender() {
        let model = PathModel {
            congestion: Some(Congestion {
                wait: Nanos(1_000.0),
                lasts: Nanos::from_secs(2.0),
                every: Nanos::from_secs(8.0),
            }),
            ..still()
        };
        let mut paths = Paths::new(&model, 3, 1);
        let mut slow = [0; 2];
        for k in 0..20_000 {
            let to_one = paths.packet(0, 1, k * SECOND).unwrap() > 1_000.0;
            let to_other = paths.packet(0, 2, k * SECOND).unwrap() > 1_000.0;
            assert_eq!(to_one, to_other);
            slow[0] += u32::from(to_one);
            slow[1] += u32::from(paths.packet(1, 0, k * SECOND).unwrap() > 1_000.0);
        }
        for share in slow {
            assert!((3_400..4_600).contains(&share), "{slow:?}");
        }
    }

    #[test]
    fn the_lost_share_is_lost() {
        let mut paths = Paths::new(
            &PathModel {
                loss: 0.2,
                ..still()
            },
            2,
            1,
        );
        let lost = (0..10_000).filter(|_| paths.packet(0, 1, 0).is_none());
        let lost = lost.count();
        assert!((1_840..2_160).contains(&lost), "{lost}");
        paths.lose(0.0);
        assert!((0..1_000).all(|_| paths.packet(0, 1, 0).is_some()));
    }
}

//! The paths of a network of millions: nothing of a pair is kept, all of it follows from its two
//! numbers. [`crate::sim::Paths`] keeps a record for each pair, which is why it is not used here.

use serde::{Deserialize, Serialize};

use super::identity::scatter;
use super::plan::Plan;
use crate::sim::Random;

/// What the links are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Links {
    /// One building: 50 µs, exponential queues of 5 µs
    Lan,
    /// One city: 0.5 to 2 ms, exponential queues of 50 µs
    Metro,
    /// Eight regions of the world: median round trip 155 ms, log-normal jitter, heavy tails
    #[default]
    Wan,
    /// The same, hosts in data centres of sixteen: 50 µs and 5 µs within each
    Sites,
}

/// One-way delays between regions in ms, halves of round trips as public measurements have them:
/// North America east and west, South America, Europe west and east, Asia east and south, Oceania.
const REGIONS: [[f64; 8]; 8] = [
    [8.0, 32.0, 60.0, 40.0, 52.0, 90.0, 105.0, 105.0],
    [32.0, 8.0, 85.0, 70.0, 82.0, 60.0, 110.0, 75.0],
    [60.0, 85.0, 15.0, 95.0, 108.0, 150.0, 160.0, 155.0],
    [40.0, 70.0, 95.0, 8.0, 18.0, 115.0, 70.0, 135.0],
    [52.0, 82.0, 108.0, 18.0, 10.0, 100.0, 75.0, 140.0],
    [90.0, 60.0, 150.0, 115.0, 100.0, 18.0, 45.0, 60.0],
    [105.0, 110.0, 160.0, 70.0, 75.0, 45.0, 15.0, 75.0],
    [105.0, 75.0, 155.0, 135.0, 140.0, 60.0, 75.0, 12.0],
];

/// Share of the hosts in each region.
const POPULATION: [f64; 8] = [0.18, 0.1, 0.1, 0.22, 0.12, 0.16, 0.1, 0.02];

/// Access lines take a log-normal time: median in ns, and sigma of the logarithm.
const ACCESS: (f64, f64) = (4e6, 0.6);

/// A pair's path is this much shorter or longer than usual between its regions.
const SPREAD: (f64, f64) = (0.7, 0.6);

/// Log-normal jitter of a packet on long paths: median in ns, and sigma of the logarithm.
const JITTER: (f64, f64) = (200e3, 0.8);

/// Share of the packets that fall into a heavy tail, its scale in ns and its index (Lomax).
const TAIL: (f64, f64, f64) = (0.005, 5e6, 1.5);

/// Routes change: one of two, of which the second is longer by this share, for so long, ns.
const ROUTES: (f64, f64) = (0.1, 600e9);

/// Hosts of a data centre.
const SITE: u32 = 16;

/// Where a host is.
#[derive(Debug, Clone, Copy)]
struct Site {
    region: u8,
    /// Its access line, ns.
    access: f32,
    /// Of that, what its way out takes on top of the way in, ns.
    skew: f32,
}

/// One exchange's packets: what they take there and back, ns; `None` if either is lost.
pub(super) type Delays = Option<(f64, f64)>;

/// All paths.
#[derive(Debug, Clone)]
pub struct Paths {
    links: Links,
    sites: Vec<Site>,
    /// Data centres.
    places: u32,
    seed: u64,
    asymmetry: f64,
    loss: f64,
    routes: bool,
}

/// Streams of random numbers.
const SITES: u64 = 0x1 << 56;
const PAIRS: u64 = 0x2 << 56;

impl Paths {
    /// The paths of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let (links, seed) = (plan.links, plan.seed);
        let places = plan.nodes.div_ceil(SITE);
        let site = |host: u32| {
            // A data centre has one place and one line.
            let place = if links == Links::Sites {
                host % places
            } else {
                host
            };
            let mut random = Random::new(seed, SITES | u64::from(place));
            let mut left = random.unit();
            let mut region = 0;
            while region < 7 && left >= POPULATION[region] {
                left -= POPULATION[region];
                region += 1;
            }
            let long = matches!(links, Links::Wan | Links::Sites);
            Site {
                region: region as u8,
                access: if long {
                    (ACCESS.0 * (ACCESS.1 * random.gaussian()).exp()) as f32
                } else {
                    0.0
                },
                skew: random.symmetric(plan.access_asymmetry.0) as f32,
            }
        };
        Self {
            links,
            sites: (0..plan.nodes).map(site).collect(),
            places,
            seed,
            asymmetry: plan.asymmetry,
            loss: plan.loss,
            routes: plan.routes,
        }
    }

    /// Whether the two hosts are in one data centre.
    pub fn are_near(&self, a: u32, b: u32) -> bool {
        self.links == Links::Sites && a % self.places == b % self.places
    }

    /// The neighbour number `nth` of host `a` in its own data centre, if it has one.
    pub(super) fn nearby(&self, a: u32, nth: u32) -> Option<u32> {
        let at = a % self.places + nth % SITE * self.places;
        let there = self.links == Links::Sites && at != a && (at as usize) < self.sites.len();
        there.then_some(at)
    }

    /// The hosts of one data centre, `a` being one of them; none where there are none.
    pub(super) fn site(&self, a: u32) -> impl Iterator<Item = u32> {
        let count = if self.links == Links::Sites { SITE } else { 0 };
        let hosts = (0..count).map(move |nth| a % self.places + nth * self.places);
        hosts.filter(|host| (*host as usize) < self.sites.len())
    }

    /// What the empty path from `a` to `b` takes, and that back, for a packet that leaves at `at`.
    pub fn least(&self, a: u32, b: u32, at: i64) -> (f64, f64) {
        let pair = scatter(scatter(self.seed ^ PAIRS ^ u64::from(a.min(b))) ^ u64::from(a.max(b)));
        let unit = |shift: u32| f64::from((pair >> shift) as u16) / 65_536.0;
        let (here, there) = (self.sites[a as usize], self.sites[b as usize]);
        let (mut path, access) = match self.links {
            Links::Lan => (40e3 + 20e3 * unit(0), 0.0),
            Links::Metro => (0.5e6 + 1.5e6 * unit(0), 0.0),
            Links::Sites if self.are_near(a, b) => (40e3 + 20e3 * unit(0), 0.0),
            Links::Wan | Links::Sites => {
                let base = REGIONS[usize::from(here.region)][usize::from(there.region)];
                let spread = SPREAD.0 + SPREAD.1 * unit(0);
                (1e6 * base * spread, f64::from(here.access + there.access))
            }
        };
        let near = self.are_near(a, b);
        if self.routes && !near {
            let (longer, stay) = ROUTES;
            let epoch = at as f64 / stay + unit(16);
            if scatter(pair ^ epoch as u64) & 1 == 1 {
                path *= 1.0 + longer;
            }
        }
        let whole = path + access;
        let apart = 0.5 * self.asymmetry * whole * (2.0 * unit(32) - 1.0);
        let apart = if a < b { apart } else { -apart };
        // Out of here and into there, and the other way round: what one line adds out it lacks in.
        let lines = if near {
            0.0
        } else {
            0.5 * f64::from(here.skew - there.skew)
        };
        (
            (whole + apart + lines).max(0.0),
            (whole - apart - lines).max(0.0),
        )
    }

    /// One exchange of `a` with `b` that begins at `at`.
    pub(super) fn exchange(&self, a: u32, b: u32, at: i64, random: &mut Random) -> Delays {
        let (there, back) = self.least(a, b, at);
        if self.loss > 0.0 && (random.unit() < self.loss || random.unit() < self.loss) {
            return None;
        }
        let near = self.are_near(a, b);
        Some((
            there + self.queue(near, random),
            back + self.queue(near, random),
        ))
    }

    /// What a packet from `a` to `b` takes that leaves at `at`, ns; `None` if it is lost.
    pub(super) fn packet(&self, a: u32, b: u32, at: i64, random: &mut Random) -> Option<f64> {
        if self.loss > 0.0 && random.unit() < self.loss {
            return None;
        }
        let (there, _) = self.least(a, b, at);
        Some(there + self.queue(self.are_near(a, b), random))
    }

    /// No packet is quicker, ns.
    pub(super) fn quickest(&self) -> i64 {
        let path = match self.links {
            Links::Lan | Links::Sites => 40e3,
            Links::Metro => 0.5e6,
            Links::Wan => 1e6 * SPREAD.0 * REGIONS[0][0],
        };
        let lines = self.sites.iter().map(|site| site.skew.abs());
        let skew = f64::from(lines.fold(0.0, f32::max));
        ((1.0 - 0.5 * self.asymmetry) * path - skew).max(10e3) as i64
    }

    /// What one packet waits.
    fn queue(&self, near: bool, random: &mut Random) -> f64 {
        match self.links {
            Links::Lan => random.exponential(5e3),
            Links::Metro => random.exponential(50e3),
            Links::Sites if near => random.exponential(5e3),
            Links::Wan | Links::Sites => {
                let jitter = JITTER.0 * (JITTER.1 * random.gaussian()).exp();
                let (share, scale, index) = TAIL;
                let drawn = random.unit();
                if drawn < share {
                    // What is left of a number below a limit is as random as the number.
                    jitter + scale * ((drawn / share).max(1e-9).powf(-1.0 / index) - 1.0)
                } else {
                    jitter
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(links: Links) -> Paths {
        Paths::new(&Plan {
            nodes: 4_000,
            links,
            routes: true,
            ..Plan::default()
        })
    }

    #[test]
    fn the_world_has_the_median_round_trip_it_is_said_to_have() {
        let paths = paths(Links::Wan);
        let mut trips: Vec<f64> = (0..2_000)
            .map(|k| {
                let (there, back) = paths.least(k, k + 2_000, 0);
                there + back
            })
            .collect();
        trips.sort_by(f64::total_cmp);
        assert!(
            (trips[1_000] / 155e6 - 1.0).abs() < 0.05,
            "{}",
            trips[1_000]
        );
    }

    #[test]
    fn both_ends_see_the_same_path() {
        for links in [Links::Lan, Links::Metro, Links::Wan, Links::Sites] {
            let paths = paths(links);
            for k in 0..100 {
                let (there, back) = paths.least(k, k + 7, 5);
                assert_eq!((back, there), paths.least(k + 7, k, 5));
            }
        }
    }

    #[test]
    fn asymmetry_is_as_large_as_was_asked_for() {
        let paths = paths(Links::Wan);
        let apart = |k: u32| {
            let (there, back) = paths.least(k, k + 2_000, 0);
            (there - back) / (0.5 * (there + back))
        };
        let most = (0..2_000).map(|k| apart(k).abs()).fold(0.0, f64::max);
        assert!((0.049..0.0501).contains(&most), "{most}");
    }
}

//! Where a host's neighbours come from.

use serde::{Deserialize, Serialize};

use super::identity::scatter;
use crate::sim::Random;

/// The link structure that neighbours are drawn through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dht {
    /// Keys belong to the nodes nearest by exclusive or
    #[default]
    Kademlia,
    /// Keys belong to the nodes that follow on a ring
    Chord,
    /// Keys belong to the nodes nearest on a ring, on either side
    Pastry,
    /// Keys belong to zones that newcomers halve
    Can,
    /// None: ideal uniform draws
    Uniform,
}

/// Draws peers for a host, as its link structure would find them.
pub trait Draw: Send + Sync {
    /// A host for `host` to talk to, live or not as far as the structure knows; `None` if it finds
    /// none this time. `random` decides.
    fn draw(&self, host: u32, random: &mut Random) -> Option<u32>;
}

/// The ideal that a structure is measured by: any host is as likely as any other.
#[derive(Debug, Clone, Copy)]
pub struct Uniform {
    /// How many there are.
    pub hosts: u32,
}

impl Draw for Uniform {
    fn draw(&self, host: u32, random: &mut Random) -> Option<u32> {
        let drawn = (random.unit() * f64::from(self.hosts)) as u32;
        (drawn != host).then_some(drawn)
    }
}

/// Nodes that share a neighbourhood in the space of keys; a draw takes any of them.
const SPREAD: usize = 8;

/// Of draws from places as dense as usual this share is taken, of sparse ones less.
const TAKEN: f64 = 0.5;

/// Places so many times sparser than usual are not believed.
const HIDDEN: f64 = 3.0;

/// Lookups before a draw is given up until the next wish.
const TRIES: usize = 16;

/// Keys that tell how dense it usually is.
const USUAL: usize = 255;

/// The outcome of lookups in one of the four structures, with the rules of the daemon's sampler:
/// look up a random key, take any of the few nodes nearest to it, and less often the sparser they
/// lie. The lookups themselves, and their messages, are left out: how they fare is what
/// `parisync-bench topology` measures.
#[derive(Debug, Clone)]
pub struct Structured {
    dht: Dht,
    /// Keys in order, and whose they are. In CAN, where zones begin.
    keys: Vec<(u64, u32)>,
    /// For the leading `bits` of a key, how many keys have less in theirs.
    directory: Vec<u32>,
    bits: u32,
    usual: f64,
}

/// Keys to an entry of the directory.
const ENTRY: usize = 4;

impl Structured {
    /// Hosts with random keys. Who takes the place of another takes its key.
    pub fn new(dht: Dht, hosts: u32, seed: u64) -> Self {
        let key = |host: u32| scatter(scatter(seed ^ 0x6b65_7973) ^ u64::from(host));
        let mut keys: Vec<(u64, u32)> = if dht == Dht::Can {
            zones(hosts, key)
        } else {
            (0..hosts).map(|host| (key(host), host)).collect()
        };
        keys.sort_unstable();
        let mut structured = Self {
            dht,
            directory: Vec::new(),
            bits: (keys.len() / ENTRY).max(1).ilog2(),
            keys,
            usual: 1.0,
        };
        structured.directory = (0..=1_u64 << structured.bits)
            .map(|entry| {
                let least = u128::from(entry) << (64 - structured.bits);
                let keys = &structured.keys;
                keys.partition_point(|(k, _)| u128::from(*k) < least) as u32
            })
            .collect();
        let mut random = Random::new(seed, 0x8 << 56);
        let mut extents: Vec<f64> = (0..USUAL)
            .map(|_| structured.near(random.bits()).1 as f64)
            .collect();
        extents.sort_unstable_by(f64::total_cmp);
        structured.usual = extents[USUAL / 2].max(1.0);
        structured
    }

    /// The places of the nodes nearest to `key`, and how far they reach.
    fn near(&self, key: u64) -> ([usize; SPREAD], u64) {
        let count = self.keys.len();
        let after = self.before(key) % count;
        let at = |offset: isize| (after as isize + offset).rem_euclid(count as isize) as usize;
        // On a line, the nearest of all are among these.
        let reach = SPREAD.min(count) as isize;
        let mut found = [after; SPREAD];
        match self.dht {
            Dht::Chord | Dht::Can | Dht::Uniform => {
                // In CAN the zone of the key is the one that begins before it.
                let first = -isize::from(self.dht == Dht::Can);
                for (k, place) in found.iter_mut().enumerate() {
                    *place = at(first + (k as isize).min(reach - 1));
                }
            }
            Dht::Pastry => {
                let (mut low, mut high) = (-1, 0);
                for place in &mut found {
                    let below = key.wrapping_sub(self.keys[at(low)].0);
                    let above = self.keys[at(high)].0.wrapping_sub(key);
                    if below < above {
                        *place = at(low);
                        low -= 1;
                    } else {
                        *place = at(high);
                        high += 1;
                    }
                }
            }
            Dht::Kademlia => {
                let (low, high) = self.prefix(key);
                // The nearest so far, in order; a subtree holds hardly more than twice as many.
                let mut kept = 0;
                for place in low..high {
                    let distance = |k: usize| self.keys[k].0 ^ key;
                    let before = found[..kept].partition_point(|k| distance(*k) < distance(place));
                    if before < SPREAD {
                        kept = (kept + 1).min(SPREAD);
                        found.copy_within(before..kept - 1, before + 1);
                        found[before] = place;
                    }
                }
                let farthest = found[kept.saturating_sub(1)];
                found[kept..].fill(farthest);
            }
        }
        let (first, last) = (self.keys[found[0]].0, self.keys[found[SPREAD - 1]].0);
        let extent = match self.dht {
            Dht::Chord | Dht::Uniform => last.wrapping_sub(key),
            Dht::Can => last.wrapping_sub(first),
            Dht::Pastry => last.wrapping_sub(key).min(key.wrapping_sub(last)),
            Dht::Kademlia => last ^ key,
        };
        (found, extent)
    }

    /// How many keys are less than `key`.
    fn before(&self, key: u64) -> usize {
        let entry = key.checked_shr(64 - self.bits).unwrap_or(0) as usize;
        let (from, to) = (self.directory[entry], self.directory[entry + 1]);
        let near = &self.keys[from as usize..to as usize];
        from as usize + near.partition_point(|(k, _)| *k < key)
    }

    /// The smallest subtree around `key` that has enough nodes.
    fn prefix(&self, key: u64) -> (usize, usize) {
        let mut bits = 64 - (self.keys.len() as u64 / SPREAD as u64).leading_zeros();
        loop {
            let (low, high) = if bits == 0 {
                (0, u64::MAX)
            } else {
                let rest = u64::MAX >> bits.min(63);
                (key & !rest, key | rest)
            };
            let from = self.before(low);
            let to = high
                .checked_add(1)
                .map_or(self.keys.len(), |end| self.before(end));
            if to - from >= SPREAD || bits == 0 {
                return (from, to);
            }
            bits -= 1;
        }
    }
}

impl Draw for Structured {
    fn draw(&self, host: u32, random: &mut Random) -> Option<u32> {
        for _ in 0..TRIES {
            let (found, extent) = self.near(random.bits());
            let ratio = extent as f64 / self.usual;
            if ratio > HIDDEN || random.unit() * ratio >= TAKEN {
                continue;
            }
            let (_, drawn) = self.keys[found[(random.unit() * SPREAD as f64) as usize]];
            return (drawn != host).then_some(drawn);
        }
        None
    }
}

/// Where the zones of CAN begin: each newcomer gets half of the zone that its key is in. The order of
/// keys stands for that of the zones' coordinates, of which each has its bits in turn.
fn zones(hosts: u32, key: impl Fn(u32) -> u64) -> Vec<(u64, u32)> {
    let mut begins = std::collections::BTreeMap::from([(0_u64, (0_u32, 0_u32))]);
    for host in 1..hosts {
        let point = key(host);
        let Some((&begin, zone)) = begins.range_mut(..=point).next_back() else {
            continue;
        };
        // The zone ends after 2^(64 − depth) keys.
        let depth = zone.0 + 1;
        if depth > 63 {
            continue;
        }
        zone.0 = depth;
        begins.insert(begin + (1 << (64 - depth)), (depth, host));
    }
    let begin = |(begin, (_, host)): (u64, (u32, u32))| (begin, host);
    begins.into_iter().map(begin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_near_uniform_through_every_structure() {
        for dht in [
            Dht::Kademlia,
            Dht::Chord,
            Dht::Pastry,
            Dht::Can,
            Dht::Uniform,
        ] {
            let (hosts, draws) = (500, 200_000);
            let structured = Structured::new(dht, hosts, 1);
            let mut random = Random::new(1, 0);
            let mut counts = vec![0.0_f64; hosts as usize];
            let mut sum = 0.0;
            for _ in 0..draws {
                if let Some(drawn) = structured.draw(0, &mut random) {
                    counts[drawn as usize] += 1.0;
                    sum += 1.0;
                }
            }
            // As many hosts, drawn equally often, would meet each other as often.
            let effective = sum * sum / counts.iter().map(|c| c * c).sum::<f64>();
            assert!(effective > 0.75 * f64::from(hosts), "{dht:?}: {effective}");
            assert!(sum > 0.9 * f64::from(draws), "{dht:?}: {sum}");
        }
    }

    #[test]
    fn the_directory_leads_to_where_a_search_would() {
        for (dht, hosts) in [(Dht::Chord, 3), (Dht::Can, 700), (Dht::Kademlia, 5_000)] {
            let structured = Structured::new(dht, hosts, 3);
            let mut random = Random::new(1, 0);
            let keys = (0..1_000).map(|_| random.bits()).chain([0, 1, u64::MAX]);
            for key in keys.chain(structured.keys.iter().map(|(k, _)| *k)) {
                let searched = structured.keys.partition_point(|(k, _)| *k < key);
                assert_eq!(structured.before(key), searched, "{dht:?} {key}");
            }
        }
    }

    #[test]
    fn the_nearest_are_the_nearest() {
        let structured = Structured::new(Dht::Kademlia, 300, 2);
        for key in [0, 1 << 40, u64::MAX / 3, u64::MAX] {
            let (found, extent) = structured.near(key);
            let mut all: Vec<u64> = structured.keys.iter().map(|(k, _)| k ^ key).collect();
            all.sort_unstable();
            assert_eq!(structured.keys[found[0]].0 ^ key, all[0]);
            assert_eq!(extent, all[SPREAD - 1]);
        }
    }
}

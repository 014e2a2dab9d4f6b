//! A tree of time servers, as in a mainframe's coordinated timing network.
//!
//! IBM, *Server Time Protocol Planning Guide* (SG24-7280): one preferred time server at stratum 1,
//! a backup that takes over, others at stratum 2 and 3 that follow one source each, clocks steered
//! and never stepped. There the roles are configured. Here they are agreed on as bridges agree on a
//! spanning tree (R. Perlman, 1985): the node with the least [`rank`] is the preferred server, and
//! every message says how far its sender is from which server ([`Tier`]). A node follows the
//! neighbour that is least in (server, level, identity) and is one level below it; level 3 is the
//! last.
//!
//! The backup is whoever has the next rank: it has followed the preferred server until
//! then, so nothing jumps when it takes over. Word of a server that is gone dies out within three
//! rounds, as it climbs a level each time it is passed on.
//!
//! **Wins** where one clock is much better than the others or policy wants it so; each level costs
//! one link's error, and a node needs one good neighbour only.
//! **Fails** by design where one node lies: who claims the least rank is followed by all
//! (here at the network's promise and on the leash). Nothing averages, so errors add up down the
//! levels. Whoever is more than two hops from the server follows nobody: that is the price of three
//! levels with few neighbours.

use serde::{Deserialize, Serialize};

use crate::consensus::{Combine, Correction, Reading, Round};
use crate::wire::Tier;

/// The last level whose clocks are served.
const LAST: u8 = 3;

/// The rank of the node whose identity begins with `key`, the least being the most preferred:
/// multiplied as for hashing, so that identities which differ in their last bits only differ in the
/// three bytes that a message has for it.
const fn rank(key: u64) -> [u8; 3] {
    let [a, b, c, ..] = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    [a, b, c]
}

/// The rule with the node's place in the tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tiers {
    own: [u8; 3],
    tier: Tier,
}

impl Tiers {
    /// The rule for the node whose identity begins with `key`
    /// ([`NodeId::order_key`](crate::topology::NodeId::order_key)).
    pub const fn new(key: u64) -> Self {
        Self {
            own: rank(key),
            tier: Tier::NONE,
        }
    }
}

impl Combine for Tiers {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let serving = round.used().filter(|r| r.tier.level > 0);
        let known = serving.clone().map(|r| r.tier.root).min();
        // Of the best server heard of; those at the last level may not be followed.
        let preferred = known.filter(|root| *root < self.own);
        let place = |r: &&Reading| (r.tier.root, r.tier.level, r.key);
        let source = serving
            .filter(|r| Some(r.tier.root) == preferred && r.tier.level < LAST)
            .min_by_key(place);
        self.tier = match (source, preferred) {
            (Some(source), _) => Tier {
                level: source.tier.level + 1,
                root: source.tier.root,
            },
            (None, Some(_)) => Tier::NONE,
            (None, None) => Tier {
                level: 1,
                root: self.own,
            },
        };
        source.map_or(Correction::NONE, |source| Correction {
            offset: source.offset,
            sigma: source.sigma,
            rate: source.rate,
            used: 2,
            gain: None,
        })
    }

    fn restart(&mut self) {
        self.tier = Tier::NONE;
    }

    fn tier(&self) -> Tier {
        self.tier
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    /// Keys in the order of their ranks.
    fn keys() -> [u64; 9] {
        let mut keys = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        keys.sort_by_key(|key| rank(*key));
        keys
    }

    /// A reading of node `of`, which says it is at `level` below node `root` (both by rank).
    fn at(offset: f64, of: usize, level: u8, root: usize) -> Reading {
        Reading {
            key: keys()[of],
            tier: tier(level, root),
            ..readings(&[offset])[0]
        }
    }

    fn tier(level: u8, root: usize) -> Tier {
        Tier {
            level,
            root: rank(keys()[root]),
        }
    }

    fn node(by_rank: usize) -> Tiers {
        Tiers::new(keys()[by_rank])
    }

    #[test]
    fn ranks_of_numbered_nodes_differ() {
        assert_eq!(rank(1), [0x9e, 0x37, 0x79]);
        assert!(keys().windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
    }

    #[test]
    fn the_least_serves_the_others() {
        let mut least = node(0);
        let c = round(&mut least, &[at(9.0, 1, 1, 1), at(7.0, 2, 1, 2)]);
        assert_eq!((c.offset, least.tier()), (0.0, tier(1, 0)));
        let mut other = node(2);
        let heard = [at(7.0, 1, 2, 0), at(5.0, 0, 1, 0), at(3.0, 3, 2, 0)];
        assert_eq!(round(&mut other, &heard).offset, 5.0);
        assert_eq!(other.tier(), tier(2, 0));
    }

    #[test]
    fn nobody_follows_the_last_level() {
        let mut far = node(8);
        let c = round(&mut far, &[at(5.0, 4, 3, 0), at(6.0, 5, 0, 0)]);
        assert_eq!((c.offset, c.used, far.tier()), (0.0, 1, Tier::NONE));
        let c = round(&mut far, &[at(5.0, 4, 3, 0), at(8.0, 6, 2, 0)]);
        assert_eq!((c.offset, far.tier()), (8.0, tier(3, 0)));
    }

    #[test]
    fn the_backup_takes_over_once_word_has_died_out() {
        // The least serves three others that all see each other; then it is gone.
        let mut nodes = [1, 2, 3].map(node);
        for tiers in &mut nodes {
            round(tiers, &[at(0.0, 0, 1, 0)]);
        }
        let mut rounds = 0;
        while nodes[0].tier() != tier(1, 1) {
            let said = nodes.clone().map(|tiers| tiers.tier());
            for (own, tiers) in nodes.iter_mut().enumerate() {
                let others = said.iter().enumerate().filter(|(other, _)| *other != own);
                let heard = others.map(|(other, tier)| Reading {
                    tier: *tier,
                    ..at(0.0, other + 1, 0, 0)
                });
                round(tiers, &heard.collect::<Vec<_>>());
            }
            rounds += 1;
            assert!(rounds <= 3, "{nodes:?}");
        }
        for tiers in &mut nodes[1..] {
            round(tiers, &[at(0.0, 1, 1, 1)]);
            assert_eq!(tiers.tier(), tier(2, 1));
        }
    }
}

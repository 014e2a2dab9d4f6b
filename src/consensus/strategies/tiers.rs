//! A tree of time servers, as in a mainframe's coordinated timing network.
//!
//! IBM, *Server Time Protocol Planning Guide* (SG24-7280): one preferred time server at stratum 1,
//! a backup that takes over, others at stratum 2 and 3 that follow one source each, clocks steered
//! and never stepped. There the roles are configured. Here they are agreed on as bridges agree on a
//! spanning tree (R. Perlman, 1985): the smallest identity is the preferred server, and every
//! message says how far its sender is from which server ([`Tier`]). A node follows the neighbour
//! that is least in (server, level, identity) and is one level below it; level 3 is the last.
//!
//! The backup is whoever has the next smallest identity: it has followed the preferred server until
//! then, so nothing jumps when it takes over. Word of a server that is gone dies out within three
//! rounds, as it climbs a level each time it is passed on.
//!
//! **Wins** where one clock is much better than the others or policy wants it so; each level costs
//! one link's error, and a node needs one good neighbour only.
//! **Fails** by design where one node lies: who claims the smallest identity is followed by all
//! (here at the network's promise and on the leash). Nothing averages, so errors add up down the
//! levels. Whoever is more than two hops from the server follows nobody: that is the price of three
//! levels with few neighbours.

use crate::consensus::{Combine, Correction, Reading, Round};
use crate::wire::Tier;

/// The last level whose clocks are served.
const LAST: u8 = 3;

/// The rule with the node's place in the tree.
#[derive(Debug, Clone)]
pub struct Tiers {
    own: [u8; 3],
    tier: Tier,
}

impl Tiers {
    /// The rule for the node whose identity begins with `key`
    /// ([`NodeId::order_key`](crate::topology::NodeId::order_key)).
    pub const fn new(key: u64) -> Self {
        let [a, b, c, ..] = key.to_be_bytes();
        Self {
            own: [a, b, c],
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

    const fn key(first: u8) -> u64 {
        u64::from_be_bytes([first, 0, 0, 0, 0, 0, 0, 0])
    }

    fn at(offset: f64, of: u8, level: u8, root: u8) -> Reading {
        Reading {
            key: key(of),
            tier: Tier {
                level,
                root: [root, 0, 0],
            },
            ..readings(&[offset])[0]
        }
    }

    #[test]
    fn the_least_identity_serves_the_others() {
        let mut least = Tiers::new(key(1));
        assert_eq!(
            round(&mut least, &[at(9.0, 2, 1, 2), at(7.0, 3, 1, 3)]).offset,
            0.0
        );
        assert_eq!(
            least.tier(),
            Tier {
                level: 1,
                root: [1, 0, 0]
            }
        );
        let mut other = Tiers::new(key(3));
        let c = round(
            &mut other,
            &[at(7.0, 2, 2, 1), at(5.0, 1, 1, 1), at(3.0, 4, 2, 1)],
        );
        assert_eq!(c.offset, 5.0);
        assert_eq!(
            other.tier(),
            Tier {
                level: 2,
                root: [1, 0, 0]
            }
        );
    }

    #[test]
    fn nobody_follows_the_last_level() {
        let mut far = Tiers::new(key(9));
        let c = round(&mut far, &[at(5.0, 4, 3, 1), at(6.0, 5, 0, 0)]);
        assert_eq!((c.offset, c.used), (0.0, 1));
        assert_eq!(far.tier(), Tier::NONE);
        let c = round(&mut far, &[at(5.0, 4, 3, 1), at(8.0, 6, 2, 1)]);
        assert_eq!((c.offset, far.tier().level), (8.0, 3));
    }

    #[test]
    fn the_backup_takes_over_once_word_has_died_out() {
        // 1 serves 2, 3 and 4, all see each other; then 1 is gone.
        let mut nodes = [2, 3, 4].map(|first| (first, Tiers::new(key(first))));
        for (_, tiers) in &mut nodes {
            round(tiers, &[at(0.0, 1, 1, 1)]);
        }
        let mut rounds = 0;
        while nodes[0].1.tier().level != 1 {
            let said: Vec<(u8, Tier)> = nodes.iter().map(|(n, t)| (*n, t.tier())).collect();
            for (own, tiers) in &mut nodes {
                let others = said.iter().filter(|(n, _)| n != own);
                let heard: Vec<_> = others
                    .map(|(n, t)| at(0.0, *n, t.level, t.root[0]))
                    .collect();
                round(tiers, &heard);
            }
            rounds += 1;
            assert!(rounds <= 3, "{nodes:?}");
        }
        for _ in 0..2 {
            let served = at(0.0, 2, 1, 2);
            for (_, tiers) in &mut nodes[1..] {
                round(tiers, &[served]);
                assert_eq!(
                    tiers.tier(),
                    Tier {
                        level: 2,
                        root: [2, 0, 0]
                    }
                );
            }
        }
    }
}

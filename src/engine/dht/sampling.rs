//! Which of the peers a lookup brought up are taken.

use libp2p::PeerId;

use crate::engine::random;

/// Peers taken from one lookup's twenty at most when a sample was asked for: more of the same
/// neighbourhood would be less random.
const PER_LOOKUP: usize = 4;
/// Peers taken from a lookup nobody asked for when enough are known, so that those known change.
const ROUTINE: usize = 1;
/// Peers a sample may still owe.
const OWED: usize = 128;

/// The samples asked for.
pub(super) struct Sampling {
    /// While fewer are known, every peer is taken.
    few: usize,
    owed: usize,
}

/// A peer that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) peer: PeerId,
    /// For a sample; otherwise a peer that is known already is no news.
    pub(super) asked: bool,
}

impl Sampling {
    pub(super) fn new(few: usize) -> Self {
        Self { few, owed: 0 }
    }

    /// So many more peers are asked for.
    pub(super) fn ask(&mut self, count: usize) {
        self.owed = self.owed.saturating_add(count).min(OWED);
    }

    /// Whether more lookups are needed for what was asked.
    pub(super) fn owes(&self) -> bool {
        self.owed > 0
    }

    /// Chooses among the peers closest to a random key, when `known` are known and `is_known` says
    /// which.
    pub(super) fn choose(
        &mut self,
        mut peers: Vec<PeerId>,
        mut known: usize,
        is_known: impl Fn(&PeerId) -> bool,
    ) -> Vec<Taken> {
        for i in (1..peers.len()).rev() {
            peers.swap(i, random::below(i + 1));
        }
        if peers.is_empty() {
            // Nobody is there to be drawn.
            self.owed = 0;
        }
        let (mut sampled, mut routine) = (0, 0);
        let mut taken = Vec::new();
        for peer in peers {
            let fresh = !is_known(&peer);
            let asked = self.owed > 0 && sampled < PER_LOOKUP;
            if asked {
                self.owed -= 1;
                sampled += 1;
            } else if fresh && known < self.few {
                // All are welcome.
            } else if routine < ROUTINE {
                routine += 1;
            } else {
                continue;
            }
            known += usize::from(fresh);
            taken.push(Taken { peer, asked });
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn peers(count: usize) -> Vec<PeerId> {
        (0..count).map(|_| PeerId::random()).collect()
    }

    #[test]
    fn all_are_taken_while_few_are_known() {
        let mut sampling = Sampling::new(10);
        assert_eq!(sampling.choose(peers(7), 0, |_| false).len(), 7);
        assert_eq!(sampling.choose(peers(7), 7, |_| false).len(), 3 + ROUTINE);
        assert_eq!(sampling.choose(peers(7), 10, |_| false).len(), ROUTINE);
        assert_eq!(sampling.choose(peers(7), 3, |_| true).len(), ROUTINE);
    }

    #[test]
    fn a_sample_is_spread_over_lookups_and_ends() {
        let mut sampling = Sampling::new(0);
        sampling.ask(6);
        let asked = |taken: Vec<Taken>| taken.iter().filter(|taken| taken.asked).count();
        assert_eq!(asked(sampling.choose(peers(20), 50, |_| true)), 4);
        assert!(sampling.owes());
        assert_eq!(asked(sampling.choose(peers(20), 50, |_| true)), 2);
        assert!(!sampling.owes());
        sampling.ask(usize::MAX);
        sampling.ask(usize::MAX);
        assert_eq!(sampling.owed, OWED);
        sampling.choose(Vec::new(), 0, |_| false);
        assert!(!sampling.owes(), "an empty network has no samples");
    }

    #[test]
    fn the_choice_is_uniform() {
        let (all, mut counts) = (peers(20), HashMap::<_, u32>::new());
        for _ in 0..5000 {
            let mut sampling = Sampling::new(0);
            sampling.ask(1);
            let taken = sampling.choose(all.clone(), 0, |_| true);
            let asked = taken.iter().find(|taken| taken.asked).unwrap();
            *counts.entry(asked.peer).or_default() += 1;
        }
        // 250 ± 15.4 each; seven sigma.
        assert_eq!(counts.len(), 20);
        assert!(
            counts.values().all(|n| (140..360).contains(n)),
            "{counts:?}"
        );
    }
}

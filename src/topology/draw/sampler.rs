//! Draws single nodes.

use blake2::{Blake2s256, Digest};

use crate::time::RawTime;
use crate::topology::overlay::{Found, Key, LinkStructure, LookupKind, Outcome, Overlay, Place};

/// Lookups of draws under way at a time.
const PARALLEL: usize = 3;
/// Draws that may be owed.
const OWED: usize = 128;
/// Extents remembered, of which the median tells what is usual.
const USUAL: usize = 16;
/// With fewer extents than this no draw is judged.
const FEW: usize = 5;
/// A draw whose neighbourhood extends so much further than usual is refused: somebody hides the
/// honest nodes there. Of eight nodes at random places, one in 10⁶ would.
const HIDDEN: f64 = 3.0;
/// Of draws from the usual crowd, this share is taken; from sparse places less, since each node
/// there is drawn more often.
const TAKEN: f64 = 0.5;

/// What came of a lookup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drawn<A> {
    /// This node is drawn.
    Taken(Found<A>),
    /// Nobody, this time; another lookup follows.
    Refused,
    /// It was none of the sampler's.
    Foreign,
}

/// Draws nodes near-uniformly from the whole network.
///
/// A draw looks up BLAKE2s(secret ‖ own key ‖ number), so nobody can sit where it will lead, over
/// disjoint paths, so that a liar spoils one of them, and takes one of the nodes nearest to that
/// key at random. Where nodes lie sparsely each is nearest to more keys; draws from there are
/// refused in proportion (after V. King, J. Saia, *Choosing a random peer*, PODC 2004), so that
/// all nodes are drawn about equally often. Places far sparser than usual are not believed (after
/// M. Castro and others, *Secure routing for structured peer-to-peer overlay networks*, OSDI
/// 2002).
#[derive(Debug, Clone)]
pub struct Sampler {
    secret: [u8; 32],
    paths: u8,
    drawn: u64,
    owed: usize,
    pending: Vec<u32>,
    extents: Vec<u64>,
}

impl Sampler {
    /// A sampler whose lookups go over so many disjoint paths. `secret` must be known to nobody
    /// else and be another after each start.
    pub const fn new(secret: [u8; 32], paths: u8) -> Self {
        Self {
            secret,
            paths,
            drawn: 0,
            owed: 0,
            pending: Vec::new(),
            extents: Vec::new(),
        }
    }

    /// So many draws more are wanted.
    pub fn want(&mut self, count: usize) {
        self.owed = self.owed.saturating_add(count).min(OWED);
    }

    /// Draws still owed.
    pub const fn owed(&self) -> usize {
        self.owed
    }

    /// Begins lookups as long as draws are owed. Call after every other input.
    pub fn advance<A: Place, L: LinkStructure<A>>(
        &mut self,
        now: RawTime,
        overlay: &mut Overlay<A, L>,
    ) {
        while self.pending.len() < PARALLEL.min(self.owed) {
            let kind = LookupKind {
                paths: self.paths,
                width: 2,
                spread: overlay.links().spread(),
            };
            let key = self.key(overlay.key());
            let Some(number) = overlay.lookup(now, key, kind) else {
                return;
            };
            self.pending.push(number);
        }
    }

    /// A lookup of `overlay` has ended.
    pub fn ended<A: Place>(&mut self, outcome: &Outcome<A>) -> Drawn<A> {
        let Some(index) = self.pending.iter().position(|n| *n == outcome.lookup) else {
            return Drawn::Foreign;
        };
        self.pending.swap_remove(index);
        let Some(found) = outcome.found else {
            // Nobody is there to be drawn.
            self.owed = self.owed.saturating_sub(1);
            return Drawn::Refused;
        };
        if !self.believes(outcome.extent) {
            return Drawn::Refused;
        }
        self.owed = self.owed.saturating_sub(1);
        Drawn::Taken(found)
    }

    /// The median extent of late.
    fn usual(&self) -> Option<u64> {
        let mut sorted = self.extents.clone();
        sorted.sort_unstable();
        (sorted.len() >= FEW).then(|| sorted[sorted.len() / 2])
    }

    fn believes(&mut self, extent: u64) -> bool {
        let usual = self.usual();
        if self.extents.len() == USUAL {
            self.extents.remove(0);
        }
        self.extents.push(extent);
        let Some(usual) = usual else {
            return true;
        };
        let ratio = extent as f64 / usual.max(1) as f64;
        ratio <= HIDDEN && self.unit() * ratio < TAKEN
    }

    fn key(&mut self, own: Key) -> Key {
        Key(self.hash(own.0))
    }

    fn unit(&mut self) -> f64 {
        (self.hash(0) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn hash(&mut self, what: u64) -> u64 {
        self.drawn += 1;
        let mut hash = Blake2s256::new();
        hash.update(self.secret);
        hash.update(what.to_le_bytes());
        hash.update(self.drawn.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_places_are_taken_less_often_and_hidden_ones_never() {
        let mut sampler = Sampler::new([1; 32], 3);
        for _ in 0..USUAL {
            sampler.believes(1000);
        }
        let mut taken = |extent| {
            let count = |_: &u32| {
                sampler.extents = vec![1000; USUAL];
                sampler.believes(extent)
            };
            (0..2000u32).filter(count).count()
        };
        assert!((900..1100).contains(&taken(1000)));
        assert!((400..600).contains(&taken(2000)));
        assert_eq!(taken(400), 2000);
        assert_eq!(taken(3001), 0);
    }

    #[test]
    fn keys_depend_on_the_secret() {
        let key = |secret| Sampler::new([secret; 32], 1).key(Key(5));
        assert_ne!(key(1), key(2));
        assert_eq!(key(1), key(1));
    }
}

//! The peers known so far, and the draw of a neighbour among them.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Candidate, FoundBy, Kept, NodeId};
use crate::time::{RawTime, Span};

/// How long a peer that could not be reached is left alone at first; doubles each time.
const FIRST_PAUSE: Span = Span::from_secs(5);

/// Longest pause: ten minutes or so.
const MOST_PAUSES: u8 = 7;

/// References that one node asks at a time: more of a few hosts would tell it no more.
const REFERENCES: usize = 4;

/// One known peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "P: Kept")]
struct Known<P> {
    peer: P,
    failures: u8,
    not_before: RawTime,
    taken: bool,
}

/// A bounded table of known peers.
///
/// Neighbours are drawn at random among those whose subnet is least represented so far: somebody
/// who owns one network cannot own a neighbourhood as long as others are there to choose from,
/// and on a LAN, where all share one subnet, the draw is simply uniform.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "P: Kept")]
pub struct Candidates<P = Candidate> {
    known: Vec<Known<P>>,
    capacity: usize,
}

/// The part of an address that one owner is likely to hold whole: IPv4 /16, IPv6 /32.
pub fn subnet(addr: IpAddr) -> u64 {
    match addr.to_canonical() {
        IpAddr::V4(v4) => u64::from(u32::from(v4) >> 16),
        IpAddr::V6(v6) => (1 << 32) | (u128::from(v6) >> 96) as u64,
    }
}

impl<P: Kept> Candidates<P> {
    /// What each peer takes in memory.
    pub(crate) const BYTES: usize = size_of::<Known<P>>();

    /// An empty table for at most `capacity` peers.
    pub fn new(capacity: usize) -> Self {
        Self {
            known: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// Learn of a peer, or of its new address. Returns whether the address is news.
    ///
    /// In a full table the newcomer replaces an unused peer: one that merely spoke to us, if the
    /// newcomer is more than that, else one that failed, if there is one.
    pub fn learn(&mut self, peer: Candidate) -> bool {
        if let Some(known) = self.find(&peer.id) {
            let mut so_far = known.peer.candidate();
            if peer.found_by.outranks(so_far.found_by) {
                so_far.found_by = peer.found_by;
            }
            let peer = P::of(peer).candidate();
            let moved = so_far.addr != peer.addr && peer.found_by != FoundBy::Inbound;
            if moved {
                so_far.addr = peer.addr;
                known.failures = 0;
                known.not_before = RawTime::from_nanos(i64::MIN);
            }
            known.peer = P::of(so_far);
            return moved;
        }
        if self.known.len() >= self.capacity {
            let stranger = |k: &Known<P>| k.peer.found_by() == FoundBy::Inbound;
            let displaced = |k: &Known<P>| peer.found_by != FoundBy::Inbound && stranger(k);
            let unused = self.known.iter().enumerate().filter(|(_, k)| {
                let wanted = k.failures > 0 || peer.found_by.is_configured();
                let replaceable = wanted && !k.peer.found_by().is_configured();
                !k.taken && (displaced(k) || replaceable)
            });
            let worst = unused
                .max_by_key(|(_, k)| (displaced(k), k.failures))
                .map(|(index, _)| index);
            match worst {
                Some(index) => drop(self.known.swap_remove(index)),
                None => return false,
            }
        }
        self.known.push(Known {
            peer: P::of(peer),
            failures: 0,
            not_before: RawTime::from_nanos(i64::MIN),
            taken: false,
        });
        true
    }

    /// Forget a peer, unless it is configured.
    pub fn forget(&mut self, id: &NodeId) {
        let id = P::Id::from(*id);
        self.known
            .retain(|k| k.peer.id() != id || k.peer.found_by().is_configured());
    }

    /// Forget a peer of which no more is known than that it spoke to us.
    pub fn forget_stranger(&mut self, id: &NodeId) {
        let id = P::Id::from(*id);
        self.known
            .retain(|k| k.peer.id() != id || k.peer.found_by() != FoundBy::Inbound);
    }

    /// A neighbour did not answer: give it back and leave it alone for a while.
    pub fn failed(&mut self, id: &NodeId, now: RawTime) {
        if let Some(known) = self.find(id) {
            known.taken = false;
            let pause = FIRST_PAUSE * (1 << known.failures.min(MOST_PAUSES));
            known.not_before = now + pause;
            known.failures = known.failures.saturating_add(1);
        }
    }

    /// A neighbour answers: it starts with a clean slate.
    pub fn answered(&mut self, id: &NodeId) {
        if let Some(known) = self.find(id) {
            known.failures = 0;
        }
    }

    /// A neighbour is no longer used, through no fault of its own.
    pub fn release(&mut self, id: &NodeId) {
        if let Some(known) = self.find(id) {
            known.taken = false;
        }
    }

    /// Draw a neighbour. `random` must be a fresh random number. Peers that merely spoke to us
    /// are drawn only if `desperate`.
    pub fn draw(&mut self, now: RawTime, random: u64, desperate: bool) -> Option<Candidate> {
        let rank = |k: &Known<P>| {
            let own = subnet(k.peer.ip());
            let taken = self.known.iter().filter(|other| other.taken);
            let crowd = taken.filter(|other| subnet(other.peer.ip()) == own);
            // Configured peers come first, those that merely spoke to us last.
            let class = match k.peer.found_by() {
                FoundBy::Reference => 0,
                FoundBy::Static => 1,
                FoundBy::Dht | FoundBy::Lan | FoundBy::Saved => 2,
                FoundBy::Inbound | FoundBy::Near => 3,
            };
            (class, crowd.count())
        };
        let ranks = || {
            let drawable = self.drawable(now, desperate);
            drawable.map(|(index, k)| (index, rank(k)))
        };
        let (mut best, mut equals) = (None, 0);
        for (_, rank) in ranks() {
            if best.is_none_or(|best| rank < best) {
                (best, equals) = (Some(rank), 0);
            }
            equals += usize::from(best == Some(rank));
        }
        let best = best?;
        let index = {
            let mut of_best = ranks().filter(|(_, rank)| *rank == best);
            of_best.nth(random as usize % equals)?.0
        };
        self.known[index].taken = true;
        Some(self.known[index].peer.candidate())
    }

    /// Take one of those that may be near. `random` must be a fresh random number.
    pub fn draw_near(&mut self, now: RawTime, random: u64) -> Option<Candidate> {
        let near = |k: &&mut Known<P>| {
            let found_by = k.peer.found_by();
            !k.taken && k.not_before <= now && matches!(found_by, FoundBy::Near | FoundBy::Lan)
        };
        let count = self.known.iter_mut().filter(near).count();
        let nth = (random as usize).checked_rem(count)?;
        let known = self.known.iter_mut().filter(near).nth(nth)?;
        known.taken = true;
        Some(known.peer.candidate())
    }

    /// Peers that could be drawn now.
    pub fn free(&self, now: RawTime) -> usize {
        self.drawable(now, false).count()
    }

    /// Whether a reference could be drawn that is not.
    pub fn lacks_reference(&self, now: RawTime) -> bool {
        let reference = |k: &Known<P>| k.peer.found_by() == FoundBy::Reference;
        self.known.iter().any(reference) && self.drawable(now, false).any(|(_, k)| reference(k))
    }

    fn drawable(&self, now: RawTime, desperate: bool) -> impl Iterator<Item = (usize, &Known<P>)> {
        let reference = |k: &Known<P>| k.peer.found_by() == FoundBy::Reference;
        let asked = self.known.iter().filter(|k| k.taken && reference(k));
        let enough = asked.count() >= REFERENCES;
        let known = self.known.iter().enumerate();
        known.filter(move |(_, k)| {
            let found_by = k.peer.found_by();
            let drawn = desperate || found_by.is_drawn();
            !k.taken && k.not_before <= now && drawn && !(enough && reference(k))
        })
    }

    /// How a peer was found and where it is.
    pub fn get(&self, id: &NodeId) -> Option<Candidate> {
        let id = P::Id::from(*id);
        let known = self.known.iter().find(|k| k.peer.id() == id)?;
        Some(known.peer.candidate())
    }

    /// Where a peer was last heard, authenticated.
    pub fn moved(&mut self, id: &NodeId, addr: SocketAddr) {
        if let Some(known) = self.find(id) {
            let moved = Candidate {
                addr,
                ..known.peer.candidate()
            };
            known.peer = P::of(moved);
        }
    }

    /// All known peers, for the state file.
    pub fn iter(&self) -> impl Iterator<Item = Candidate> {
        self.known.iter().map(|k| k.peer.candidate())
    }

    fn find(&mut self, id: &NodeId) -> Option<&mut Known<P>> {
        let id = P::Id::from(*id);
        self.known.iter_mut().find(|k| k.peer.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: RawTime = RawTime::from_nanos(0);

    fn peer(n: u8, addr: &str, found_by: FoundBy) -> Candidate {
        Candidate {
            id: NodeId::from_bytes([n; 32]),
            addr: addr.parse().unwrap(),
            found_by,
        }
    }

    #[test]
    fn one_subnet_cannot_fill_the_neighbourhood() {
        let mut table = Candidates::<Candidate>::new(100);
        for n in 0..50 {
            table.learn(peer(n, &format!("203.0.113.{n}:4711"), FoundBy::Dht));
        }
        for n in 50..54 {
            table.learn(peer(n, &format!("198.{n}.0.1:4711"), FoundBy::Dht));
        }
        let drawn: Vec<_> = (0..5)
            .filter_map(|r| table.draw(NOW, r * 31, false))
            .collect();
        let crowd = drawn
            .iter()
            .filter(|c| subnet(c.addr.ip()) == subnet("203.0.113.1".parse().unwrap()));
        assert_eq!(drawn.len(), 5);
        assert_eq!(crowd.count(), 1);
    }

    #[test]
    fn strangers_that_spoke_to_us_are_a_last_resort() {
        let mut table = Candidates::<Candidate>::new(10);
        table.learn(peer(1, "192.0.2.1:1", FoundBy::Inbound));
        assert_eq!(table.draw(NOW, 0, false), None);
        table.learn(peer(2, "192.0.2.2:1", FoundBy::Dht));
        assert_eq!(
            table.draw(NOW, 7, true).unwrap().id,
            NodeId::from_bytes([2; 32])
        );
        assert_eq!(
            table.draw(NOW, 7, true).unwrap().id,
            NodeId::from_bytes([1; 32])
        );
    }

    #[test]
    fn the_unreachable_are_left_alone_for_longer_and_longer() {
        let mut table = Candidates::<Candidate>::new(10);
        table.learn(peer(1, "192.0.2.1:1", FoundBy::Dht));
        let id = table.draw(NOW, 0, false).unwrap().id;
        table.failed(&id, NOW);
        assert!(table.draw(NOW + Span::from_secs(4), 0, false).is_none());
        assert!(table.draw(NOW + Span::from_secs(5), 0, false).is_some());
        table.failed(&id, NOW);
        assert!(table.draw(NOW + Span::from_secs(9), 0, false).is_none());
        // A new address is a new chance.
        assert!(table.learn(peer(1, "192.0.2.9:1", FoundBy::Dht)));
        assert!(table.draw(NOW, 0, false).is_some());
    }

    #[test]
    fn strangers_do_not_keep_peers_out() {
        let mut table = Candidates::<Candidate>::new(3);
        for n in 0..9 {
            table.learn(peer(n, "192.0.2.1:1", FoundBy::Inbound));
        }
        for n in 20..23 {
            assert!(table.learn(peer(n, "192.0.2.2:1", FoundBy::Dht)));
        }
        assert!(!table.learn(peer(30, "192.0.2.3:1", FoundBy::Inbound)));
        assert_eq!(table.free(NOW), 3);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_works() {
        let mut table = Candidates::<Candidate>::new(2);
        assert!(table.learn(peer(1, "192.0.2.1:1", FoundBy::Dht)));
        assert!(table.learn(peer(2, "192.0.2.2:1", FoundBy::Dht)));
        assert!(!table.learn(peer(3, "192.0.2.3:1", FoundBy::Dht)));
        table.failed(&NodeId::from_bytes([1; 32]), NOW);
        assert!(table.learn(peer(3, "192.0.2.3:1", FoundBy::Dht)));
        assert!(table.get(&NodeId::from_bytes([1; 32])).is_none());
        assert_eq!(table.iter().count(), 2);
    }

    #[test]
    fn few_references_are_asked_at_a_time_and_none_is_forgotten() {
        let mut table: Candidates = Candidates::new(20);
        let now = RawTime::from_nanos(0);
        for n in 1..=6 {
            table.learn(peer(n, &format!("192.0.2.{n}:1"), FoundBy::Dht));
            table.learn(peer(n, &format!("192.0.2.{n}:1"), FoundBy::Reference));
        }
        let first = table.draw(now, 0, false).unwrap();
        assert_eq!(first.found_by, FoundBy::Reference);
        for random in 1..4 {
            assert!(table.draw(now, random, false).is_some());
        }
        assert_eq!((table.draw(now, 9, true), table.free(now)), (None, 0));
        table.failed(&first.id, now);
        table.forget(&first.id);
        assert_eq!((table.iter().count(), table.free(now)), (6, 2));
    }
}

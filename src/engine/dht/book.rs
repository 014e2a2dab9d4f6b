//! The peers that were told to the node: watched until they are lost, and for a while after.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::DhtTuning;
use crate::engine::{PeerEvent, random};
use crate::topology::{Candidate, FoundBy, NodeId};

/// Lost peers that are looked for now and then, at most: a partition may heal.
const MISSED: usize = 32;
/// Waits between attempts to find a lost peer again; doubles.
const SEARCH: Duration = Duration::from_secs(15);
const SEARCH_SLOWEST: Duration = Duration::from_secs(600);
/// Attempts until a lost peer is forgotten: some eight hours.
const SEARCHES: u32 = 50;
/// Checks at once at most.
const CHECKS: usize = 4;

/// Where a peer is, as proved by a connection with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its address in the DHT.
    pub(super) quic: SocketAddr,
    /// Its time port.
    pub(super) time: SocketAddr,
}

/// What is known of the peers told to the node; bounded.
pub(super) struct Book {
    peers: HashMap<PeerId, Entry>,
    capacity: usize,
    check_every: Duration,
    check_soon: Duration,
    checks: u32,
    draws: u64,
}

struct Entry {
    id: NodeId,
    place: Place,
    connected: bool,
    checking: bool,
    failures: u32,
    /// The node has been told that it is lost.
    lost: bool,
    due: Instant,
    /// When it was drawn last, by [`Book::draws`].
    drawn: u64,
}

impl Book {
    pub(super) fn new(tuning: &DhtTuning) -> Self {
        Self {
            peers: HashMap::new(),
            capacity: tuning.max_known.max(1),
            check_every: tuning.check_every,
            check_soon: tuning.check_soon,
            checks: tuning.checks.max(1),
            draws: 0,
        }
    }

    /// Peers known and not lost.
    pub(super) fn len(&self) -> usize {
        self.peers.values().filter(|entry| !entry.lost).count()
    }

    /// Whether the peer is known and not lost.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|entry| !entry.lost)
    }

    /// A draw has brought up `peer`, which is connected. If the book is full the peer drawn
    /// longest ago gives way; it may well be there still, so nothing is said of it.
    pub(super) fn draw(
        &mut self,
        now: Instant,
        peer: PeerId,
        id: NodeId,
        place: Place,
    ) -> PeerEvent {
        self.draws += 1;
        if !self.has(&peer) && self.len() >= self.capacity {
            self.evict(|entry| !entry.lost);
        }
        let due = now + random::spread(self.check_every);
        let drawn = self.draws;
        let fresh = Entry {
            id,
            place,
            connected: true,
            checking: false,
            failures: 0,
            lost: false,
            due,
            drawn,
        };
        self.peers.insert(peer, fresh);
        found(id, place.time)
    }

    /// `peer` has identified itself at `place`. News if it is known and was elsewhere or lost.
    pub(super) fn seen(&mut self, now: Instant, peer: &PeerId, place: Place) -> Option<PeerEvent> {
        let entry = self.peers.get_mut(peer)?;
        let moved = entry.place.time != place.time;
        let news = (moved || entry.lost).then(|| found(entry.id, place.time));
        entry.place = place;
        if std::mem::take(&mut entry.lost) {
            // What kept it away may have kept others away too.
            for other in self.peers.values_mut().filter(|other| other.lost) {
                other.due = other.due.min(now + random::spread(self.check_soon));
            }
        }
        self.connected(now, peer);
        if self.len() > self.capacity {
            self.evict(|entry| !entry.lost);
        }
        news
    }

    /// There is a connection with `peer`.
    pub(super) fn connected(&mut self, now: Instant, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.connected = true;
            entry.checking = false;
            if !entry.lost {
                entry.failures = 0;
            }
            entry.due = now + random::spread(self.check_every);
        }
    }

    /// The last connection with `peer` has ended; `idle` if only because it was not needed.
    pub(super) fn disconnected(&mut self, now: Instant, peer: &PeerId, idle: bool) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.connected = false;
            let wait = if idle {
                self.check_every
            } else {
                self.check_soon
            };
            entry.due = now + random::spread(wait);
        }
    }

    /// Somebody else failed to reach `peer`; it is worth a look.
    pub(super) fn suspect(&mut self, now: Instant, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer).filter(|entry| !entry.lost) {
            entry.due = entry.due.min(now + random::spread(self.check_soon));
        }
    }

    /// The peers to dial now, to see whether they are there; each must end in
    /// [`connected`](Self::connected) or [`missed`](Self::missed).
    pub(super) fn checks(&mut self, now: Instant) -> Vec<(PeerId, SocketAddr)> {
        let running = self.peers.values().filter(|entry| entry.checking).count();
        let due = |(peer, entry): (&PeerId, &mut Entry)| {
            if entry.connected || entry.checking || entry.due > now {
                return None;
            }
            entry.checking = true;
            Some((*peer, entry.place.quic))
        };
        self.peers
            .iter_mut()
            .filter_map(due)
            .take(CHECKS.saturating_sub(running))
            .collect()
    }

    /// A check of `peer` could not be made.
    pub(super) fn postpone(&mut self, now: Instant, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.checking = false;
            entry.due = now + random::spread(self.check_soon.max(Duration::from_secs(1)));
        }
    }

    /// When the next check is due; `None` too while all that may run do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.peers.values().filter(|entry| entry.checking).count() >= CHECKS {
            return None;
        }
        let idle = self
            .peers
            .values()
            .filter(|entry| !entry.connected && !entry.checking);
        idle.map(|entry| entry.due).min()
    }

    /// A check of `peer` failed; `replaced` if somebody else answered in its place. Says so when
    /// it counts as lost.
    pub(super) fn missed(
        &mut self,
        now: Instant,
        peer: &PeerId,
        replaced: bool,
    ) -> Option<PeerEvent> {
        let entry = self.peers.get_mut(peer)?;
        entry.checking = false;
        if entry.connected {
            return None;
        }
        entry.failures += 1;
        if entry.lost {
            entry.due = now + random::backoff(SEARCH, entry.failures, SEARCH_SLOWEST);
            if entry.failures > SEARCHES {
                self.peers.remove(peer);
            }
            return None;
        }
        if entry.failures < self.checks && !replaced {
            entry.due = now + random::backoff(self.check_soon, entry.failures, self.check_every);
            return None;
        }
        entry.lost = true;
        entry.failures = 0;
        entry.due = now + random::spread(SEARCH);
        let id = entry.id;
        if self.peers.len() - self.len() > MISSED {
            self.evict(|entry| entry.lost);
        }
        Some(PeerEvent::Lost(id))
    }

    /// `peer` is no node of this network any more.
    pub(super) fn forget(&mut self, peer: &PeerId) -> Option<PeerEvent> {
        let entry = self.peers.remove(peer)?;
        (!entry.lost).then_some(PeerEvent::Lost(entry.id))
    }

    /// Known peers with their addresses in the DHT, those drawn last first.
    pub(super) fn addresses(&self) -> Vec<(NodeId, SocketAddr)> {
        let mut known: Vec<_> = self.peers.values().filter(|entry| !entry.lost).collect();
        known.sort_by_key(|entry| std::cmp::Reverse(entry.drawn));
        known
            .into_iter()
            .map(|entry| (entry.id, entry.place.quic))
            .collect()
    }

    fn evict(&mut self, among: impl Fn(&Entry) -> bool) {
        let candidates = self.peers.iter().filter(|(_, entry)| among(entry));
        if let Some(peer) = candidates
            .min_by_key(|(_, entry)| entry.drawn)
            .map(|(peer, _)| *peer)
        {
            self.peers.remove(&peer);
        }
    }
}

fn found(id: NodeId, addr: SocketAddr) -> PeerEvent {
    PeerEvent::Found(Candidate {
        id,
        addr,
        found_by: FoundBy::Dht,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: NodeId = NodeId::from_bytes([1; 32]);

    fn place(n: u16) -> Place {
        Place {
            quic: ([127, 0, 0, 1], n).into(),
            time: ([127, 0, 0, 1], n + 1000).into(),
        }
    }

    fn book() -> Book {
        Book::new(&DhtTuning {
            max_known: 2,
            checks: 2,
            ..DhtTuning::default()
        })
    }

    #[test]
    fn a_peer_that_does_not_answer_is_lost_and_found_again() {
        let (mut book, mut now, peer) = (book(), Instant::now(), PeerId::random());
        assert_eq!(book.draw(now, peer, ID, place(1)), found(ID, place(1).time));
        assert_eq!(book.next_due(), None, "it is connected");
        book.disconnected(now, &peer, false);
        now = book.next_due().unwrap();
        assert_eq!(book.checks(now), [(peer, place(1).quic)]);
        assert_eq!(book.missed(now, &peer, false), None);
        now = book.next_due().unwrap();
        assert_eq!(book.checks(now).len(), 1);
        assert_eq!(book.missed(now, &peer, false), Some(PeerEvent::Lost(ID)));
        assert_eq!((book.len(), book.has(&peer)), (0, false));
        now = book.next_due().unwrap();
        assert_eq!(book.checks(now).len(), 1, "it is looked for");
        assert_eq!(book.missed(now, &peer, false), None, "it is lost already");
        assert_eq!(
            book.seen(now, &peer, place(2)),
            Some(found(ID, place(2).time))
        );
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn a_lost_peer_is_forgotten_at_last() {
        let (mut book, mut now, peer) = (book(), Instant::now(), PeerId::random());
        book.draw(now, peer, ID, place(1));
        book.disconnected(now, &peer, true);
        let start = now;
        while let Some(due) = book.next_due() {
            now = due;
            book.checks(now);
            book.missed(now, &peer, false);
        }
        assert!(now - start > Duration::from_secs(3600), "{:?}", now - start);
        assert!(book.peers.is_empty());
    }

    #[test]
    fn one_that_is_back_makes_the_others_looked_for() {
        let (mut book, mut now) = (book(), Instant::now());
        let peers = [PeerId::random(), PeerId::random()];
        for peer in &peers {
            book.draw(now, *peer, ID, place(1));
            book.disconnected(now, peer, false);
            book.missed(now, peer, true);
        }
        // Both are looked for at random instants: wait for a pause between two of them.
        let pause = now + 2 * SEARCH_SLOWEST;
        while now < pause || book.next_due().unwrap() < now + Duration::from_secs(10) {
            now = book.next_due().unwrap();
            for (peer, _) in book.checks(now) {
                book.missed(now, &peer, false);
            }
        }
        assert!(book.seen(now, &peers[0], place(1)).is_some());
        assert!(book.next_due().unwrap() < now + Duration::from_secs(2));
    }

    #[test]
    fn moves_are_news_and_repetitions_are_not() {
        let (mut book, now, peer) = (book(), Instant::now(), PeerId::random());
        assert_eq!(book.seen(now, &peer, place(1)), None, "nobody asked for it");
        book.draw(now, peer, ID, place(1));
        assert_eq!(book.seen(now, &peer, place(1)), None);
        assert_eq!(
            book.seen(now, &peer, place(2)),
            Some(found(ID, place(2).time))
        );
        assert_eq!(book.addresses(), [(ID, place(2).quic)]);
        assert_eq!(book.forget(&peer), Some(PeerEvent::Lost(ID)));
        assert_eq!(book.forget(&peer), None);
    }

    #[test]
    fn another_node_in_its_place_is_proof_enough() {
        let (mut book, now, peer) = (book(), Instant::now(), PeerId::random());
        book.draw(now, peer, ID, place(1));
        book.disconnected(now, &peer, false);
        assert_eq!(book.missed(now, &peer, true), Some(PeerEvent::Lost(ID)));
    }

    #[test]
    fn it_is_bounded() {
        let (mut book, now) = (book(), Instant::now());
        let peers: Vec<_> = (0..100).map(|_| PeerId::random()).collect();
        for peer in &peers {
            book.draw(now, *peer, ID, place(1));
        }
        assert_eq!(book.len(), 2);
        assert!(book.has(&peers[99]) && book.has(&peers[98]));
        for peer in &peers {
            book.draw(now, *peer, ID, place(1));
            book.disconnected(now, peer, false);
            book.missed(now, peer, true);
        }
        assert_eq!(book.peers.len(), MISSED);
    }
}

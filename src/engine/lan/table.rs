//! Who is heard on the local networks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::announcement::{Announcement, NetworkTag};
use crate::engine::PeerEvent;
use crate::topology::{Candidate, FoundBy, NodeId};

/// Announced intervals are believed within these bounds, so that nobody stays for ever.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(600);

/// The peers heard of late; a bounded number, each until it has missed three announcements.
pub(super) struct Table {
    own: NodeId,
    network: NetworkTag,
    capacity: usize,
    peers: HashMap<NodeId, Heard>,
}

struct Heard {
    addr: SocketAddr,
    start: u64,
    number: u32,
    /// When `addr` was last heard; other addresses of the same peer do not count.
    at: Instant,
    interval: Duration,
}

impl Heard {
    fn expires(&self) -> Instant {
        self.at + self.interval * 7 / 2
    }
}

/// What an announcement meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// News for the node.
    pub(super) event: Option<PeerEvent>,
    /// The sender should hear from us soon.
    pub(super) answer: bool,
}

impl Table {
    pub(super) fn new(own: NodeId, network: NetworkTag, capacity: usize) -> Self {
        Self {
            own,
            network,
            capacity,
            peers: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether an announcement is worth checking its signature: ours by network, not our own, and
    /// newer than what is known.
    pub(super) fn wants(&self, claim: &Announcement) -> bool {
        claim.network == self.network
            && claim.id != self.own
            && match self.peers.get(&claim.id) {
                Some(heard) => (claim.start, claim.number) >= (heard.start, heard.number),
                None => self.peers.len() < self.capacity && !claim.leaving,
            }
    }

    /// Takes in an announcement with a good signature that [`wants`](Self::wants) let through.
    pub(super) fn hear(&mut self, now: Instant, from: SocketAddr, said: &Announcement) -> Verdict {
        let silent = Verdict {
            event: None,
            answer: false,
        };
        if said.leaving {
            let event = self
                .peers
                .remove(&said.id)
                .map(|_| PeerEvent::Lost(said.id));
            return Verdict {
                event,
                answer: false,
            };
        }
        let mut addr = from;
        addr.set_port(said.time_port);
        let interval = Duration::from_millis(said.interval_ms.into()).clamp(SHORTEST, LONGEST);
        let new = Heard {
            addr,
            start: said.start,
            number: said.number,
            at: now,
            interval,
        };
        let Some(heard) = self.peers.get_mut(&said.id) else {
            self.peers.insert(said.id, new);
            return Verdict {
                event: Some(found(said.id, addr)),
                answer: true,
            };
        };
        let repeated = (said.start, said.number) == (heard.start, heard.number);
        if heard.addr == addr {
            let answer = said.hello && !repeated;
            if !repeated {
                *heard = new;
            }
            return Verdict {
                event: None,
                answer,
            };
        }
        // A peer on several networks is heard under several addresses, mostly in the same round.
        // It moves only when it restarted, when its address went silent, or from IPv6 to IPv4
        // (link-local addresses tell people and routers less).
        let restarted = said.start > heard.start;
        let silent_since = now.saturating_duration_since(heard.at) > heard.interval * 3 / 2;
        let better = addr.is_ipv4() && heard.addr.is_ipv6();
        if restarted || better || (silent_since && !repeated) {
            *heard = new;
            return Verdict {
                event: Some(found(said.id, addr)),
                answer: said.hello,
            };
        }
        silent
    }

    /// Drops a peer that has not been heard for too long; call until there is none.
    pub(super) fn expire(&mut self, now: Instant) -> Option<PeerEvent> {
        let (id, _) = self
            .peers
            .iter()
            .find(|(_, heard)| heard.expires() <= now)?;
        let id = *id;
        self.peers.remove(&id);
        Some(PeerEvent::Lost(id))
    }

    /// When the next peer would expire.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.peers.values().map(Heard::expires).min()
    }

    /// Everybody, as found again.
    pub(super) fn all(&self) -> Vec<PeerEvent> {
        self.peers
            .iter()
            .map(|(id, heard)| found(*id, heard.addr))
            .collect()
    }
}

fn found(id: NodeId, addr: SocketAddr) -> PeerEvent {
    PeerEvent::Found(Candidate {
        id,
        addr,
        found_by: FoundBy::Lan,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn said(n: u8, start: u64, number: u32) -> Announcement {
        Announcement {
            network: NetworkTag::of("lab"),
            id: NodeId::from_bytes([n; 32]),
            time_port: 4711,
            start,
            number,
            interval_ms: 10_000,
            hello: false,
            leaving: false,
        }
    }

    fn table() -> Table {
        Table::new(NodeId::from_bytes([0; 32]), NetworkTag::of("lab"), 2)
    }

    fn from(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 9999).into()
    }

    fn hear(
        table: &mut Table,
        at: Instant,
        addr: SocketAddr,
        said: Announcement,
    ) -> Option<Verdict> {
        table.wants(&said).then(|| table.hear(at, addr, &said))
    }

    #[test]
    fn own_foreign_and_old_announcements_are_not_wanted() {
        let (mut table, now) = (table(), Instant::now());
        assert!(!table.wants(&said(0, 1, 1)), "our own");
        let foreign = Announcement {
            network: NetworkTag::of("other"),
            ..said(1, 1, 1)
        };
        assert!(!table.wants(&foreign));
        let verdict = hear(&mut table, now, from(1), said(1, 5, 5)).unwrap();
        let addr = ([192, 0, 2, 1], 4711).into();
        assert_eq!(
            verdict,
            Verdict {
                event: Some(found(said(1, 5, 5).id, addr)),
                answer: true
            }
        );
        assert!(!table.wants(&said(1, 5, 4)), "replayed");
        assert!(!table.wants(&said(1, 4, 9)), "of an earlier start");
        assert!(table.wants(&said(1, 6, 0)));
        hear(&mut table, now, from(2), said(2, 1, 1)).unwrap();
        assert!(!table.wants(&said(3, 1, 1)), "full");
    }

    #[test]
    fn silence_expires_and_leaving_is_immediate() {
        let (mut table, now) = (table(), Instant::now());
        hear(&mut table, now, from(1), said(1, 1, 1)).unwrap();
        hear(&mut table, now, from(2), said(2, 1, 1)).unwrap();
        hear(&mut table, now + 30 * SECOND, from(1), said(1, 1, 2)).unwrap();
        assert_eq!(table.next_expiry(), Some(now + 35 * SECOND));
        assert_eq!(table.expire(now + 34 * SECOND), None);
        assert_eq!(
            table.expire(now + 36 * SECOND),
            Some(PeerEvent::Lost(said(2, 1, 1).id))
        );
        assert_eq!(table.expire(now + 36 * SECOND), None);
        let leaving = Announcement {
            leaving: true,
            ..said(1, 1, 3)
        };
        let verdict = hear(&mut table, now, from(1), leaving).unwrap();
        assert_eq!(verdict.event, Some(PeerEvent::Lost(leaving.id)));
        assert!(
            hear(&mut table, now, from(1), leaving).is_none(),
            "not known any more"
        );
    }

    #[test]
    fn a_peer_with_two_addresses_stays_and_one_that_moved_moves() {
        let (mut table, now) = (table(), Instant::now());
        hear(&mut table, now, from(1), said(1, 1, 1)).unwrap();
        let other_way = hear(&mut table, now, from(2), said(1, 1, 1)).unwrap();
        assert_eq!(other_way.event, None);
        let next_round = hear(&mut table, now + 10 * SECOND, from(2), said(1, 1, 2)).unwrap();
        assert_eq!(
            next_round.event, None,
            "the known address may still be heard"
        );
        let gone = hear(&mut table, now + 20 * SECOND, from(2), said(1, 1, 3)).unwrap();
        assert!(matches!(gone.event, Some(PeerEvent::Found(c)) if c.addr.ip() == from(2).ip()));
        let restarted = hear(&mut table, now + 20 * SECOND, from(3), said(1, 2, 0)).unwrap();
        assert!(
            matches!(restarted.event, Some(PeerEvent::Found(c)) if c.addr.ip() == from(3).ip())
        );
    }

    #[test]
    fn ipv4_is_preferred_and_kept() {
        let (mut table, now) = (table(), Instant::now());
        let v6 = "[fe80::1%3]:9".parse().unwrap();
        hear(&mut table, now, v6, said(1, 1, 1)).unwrap();
        let better = hear(&mut table, now, from(1), said(1, 1, 1)).unwrap();
        assert!(matches!(better.event, Some(PeerEvent::Found(c)) if c.addr.is_ipv4()));
        assert_eq!(
            hear(&mut table, now, v6, said(1, 1, 2)).unwrap().event,
            None
        );
    }

    #[test]
    fn a_hello_is_answered_once_each() {
        let (mut table, now) = (table(), Instant::now());
        hear(&mut table, now, from(1), said(1, 1, 1)).unwrap();
        let hello = Announcement {
            hello: true,
            ..said(1, 1, 2)
        };
        assert!(hear(&mut table, now, from(1), hello).unwrap().answer);
        assert!(
            !hear(&mut table, now, from(1), hello).unwrap().answer,
            "a repetition"
        );
    }
}

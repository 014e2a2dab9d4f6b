//! A fixed list of peers.

use std::time::Duration;

use super::address::PeerAddress;
use super::outbox::Outbox;
use super::resolve::{self, Lookup, Resolver};
use super::{EngineError, PeerEvent, PeerSource};
use crate::topology::{Candidate, FoundBy};

/// How often names are resolved again.
const REFRESH: Duration = Duration::from_secs(300);

/// The peers named in the configuration or on the command line.
///
/// A peer whose key is given comes as [`PeerEvent::Found`], one without as
/// [`PeerEvent::Contact`]; each comes again when its name leads to another address. Plain
/// addresses cost no thread; names are resolved on one, never on the caller's.
pub struct StaticPeers {
    outbox: Outbox,
    name: &'static str,
    count: usize,
    _resolver: Resolver,
}

impl StaticPeers {
    /// Starts with `peers`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Thread`] if there are names and no thread to resolve them on.
    pub fn start(peers: Vec<PeerAddress>) -> Result<Self, EngineError> {
        Self::start_with(peers, FoundBy::Static, REFRESH, resolve::system())
    }

    /// The same with those that are trusted with the frequency; all have to be named with their
    /// identities.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn references(peers: Vec<PeerAddress>) -> Result<Self, EngineError> {
        Self::start_with(peers, FoundBy::Reference, REFRESH, resolve::system())
    }

    fn start_with(
        peers: Vec<PeerAddress>,
        found_by: FoundBy,
        refresh: Duration,
        lookup: Lookup,
    ) -> Result<Self, EngineError> {
        // Room for each peer and for one move of each that was not read yet.
        let outbox = Outbox::new(2 * peers.len());
        let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
        let sink = outbox.clone();
        let resolver = Resolver::start(&peers, refresh, lookup, move |index, addr| {
            sink.push(match ids[index] {
                Some(id) => PeerEvent::Found(Candidate { id, addr, found_by }),
                None => PeerEvent::Contact(addr),
            });
        })?;
        Ok(Self {
            outbox,
            name: if found_by == FoundBy::Reference {
                "references"
            } else {
                "static"
            },
            count: peers.len(),
            _resolver: resolver,
        })
    }
}

impl PeerSource for StaticPeers {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self) -> Option<PeerEvent> {
        self.outbox.pop()
    }

    fn sample(&mut self, _count: usize) {}

    fn health(&self) -> String {
        format!("{} peers listed", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::NodeId;
    use std::net::SocketAddr;
    use std::time::Instant;

    #[test]
    fn keyed_peers_are_found_and_others_are_contacts() {
        let id = NodeId::from_bytes([7; 32]);
        let peers = vec![
            format!("{id}@192.0.2.1:1").parse().unwrap(),
            "192.0.2.2:2".parse().unwrap(),
        ];
        let mut peers = StaticPeers::start(peers).unwrap();
        let addr = SocketAddr::from(([192, 0, 2, 1], 1));
        let candidate = Candidate {
            id,
            addr,
            found_by: FoundBy::Static,
        };
        assert_eq!(peers.poll(), Some(PeerEvent::Found(candidate)));
        assert_eq!(
            peers.poll(),
            Some(PeerEvent::Contact(([192, 0, 2, 2], 2).into()))
        );
        assert_eq!(peers.poll(), None);
        assert_eq!(peers.health(), "2 peers listed");
    }

    #[test]
    fn a_name_that_moves_is_found_again() {
        let id = NodeId::from_bytes([7; 32]);
        let mut calls = 0;
        let lookup: Lookup = Box::new(move |_, port| {
            calls += 1;
            Ok(vec![
                ([192, 0, 2, if calls < 3 { 1 } else { 2 }], port).into(),
            ])
        });
        let names = vec![format!("{id}@name:9").parse().unwrap()];
        let mut peers =
            StaticPeers::start_with(names, FoundBy::Static, Duration::from_millis(2), lookup)
                .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            assert!(Instant::now() < deadline, "the move was never told");
            match peers.poll() {
                Some(PeerEvent::Found(c)) if c.addr == ([192, 0, 2, 2], 9).into() => break,
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

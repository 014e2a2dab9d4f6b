//! The thread's loop: swarm events, commands and timers in, peers out.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::identity::Keypair;
use libp2p::kad::{self, QueryId, QueryResult};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, SwarmEvent};
use libp2p::{PeerId, Swarm, identify};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout, timeout_at};

use super::behaviour::{self, Behaviour, BehaviourEvent};
use super::book::Book;
use super::cadence::{Cadence, Target};
use super::contacts::{Contacts, Outcome};
use super::live::Live;
use super::{DhtConfig, DhtTuning, Snapshot, agent, diversity, id};
use crate::engine::outbox::Outbox;
use crate::engine::{EngineError, random};

/// Limit on the first listening address to appear.
const LISTEN: Duration = Duration::from_secs(5);
/// Limit on saying good-bye to all peers.
const GOODBYE: Duration = Duration::from_millis(250);
/// Lookups at once at most.
const LOOKUPS: usize = 3;
/// Peers taken from one lookup's twenty at most when a sample was asked for: more of the same
/// neighbourhood would be less random.
const PER_LOOKUP: usize = 4;
/// Peers taken from a routine lookup when enough are known.
const ROUTINE: usize = 1;
/// Peers a sample may still owe.
const OWED: usize = 128;

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// Draw so many peers.
    Sample(usize),
    /// The bootstrap contact of this number is at this address.
    Resolved(usize, SocketAddr),
}

/// Why we dialled.
enum Purpose {
    Contact(usize),
    Check(PeerId),
}

/// A runtime for this thread alone.
pub(super) fn runtime() -> Result<Runtime, EngineError> {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(EngineError::Thread)
}

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    local: SocketAddr,
    network: String,
    tuning: DhtTuning,
    outbox: Outbox,
    shared: Arc<Mutex<Snapshot>>,
    book: Book,
    live: Live,
    contacts: Contacts,
    cadence: Cadence,
    dials: HashMap<ConnectionId, Purpose>,
    lookups: HashMap<QueryId, Target>,
    started: u64,
    owed: usize,
}

impl Driver {
    /// Opens the sockets.
    pub(super) async fn listen(
        config: DhtConfig,
        key: &Keypair,
        outbox: Outbox,
        shared: Arc<Mutex<Snapshot>>,
    ) -> Result<Self, EngineError> {
        let mut swarm = behaviour::swarm(&config, key)?;
        let port = listen_on(&mut swarm, config.listen).await?;
        let local = SocketAddr::new(config.listen.ip(), port);
        if config.listen.ip() == std::net::Ipv6Addr::UNSPECIFIED {
            // libp2p's IPv6 sockets take no IPv4.
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            if let Err(error) = listen_on(&mut swarm, v4).await {
                tracing::warn!(%error, "the DHT listens on IPv6 only");
            }
        }
        let now = Instant::now();
        let expected = config
            .bootstrap
            .iter()
            .map(|peer| peer.id.as_ref().and_then(id::peer_id));
        Ok(Self {
            swarm,
            local,
            outbox,
            shared,
            book: Book::new(&config.tuning),
            live: Live::default(),
            contacts: Contacts::new(now, expected),
            cadence: Cadence::new(now, config.tuning.lookup_every),
            network: config.network,
            tuning: config.tuning,
            dials: HashMap::new(),
            lookups: HashMap::new(),
            started: 0,
            owed: 0,
        })
    }

    /// Where it listens.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Until the other end of `stopped` is gone.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            let due = self.tick(Instant::now());
            tokio::select! {
                _ = &mut stopped => break,
                Some(command) = commands.recv() => self.command(command),
                event = self.swarm.select_next_some() => self.event(event),
                () = sleep_until(due.into()) => {}
            }
        }
        let connected: Vec<_> = self.live.peers().copied().collect();
        for peer in connected {
            // Fails only if it has gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let end = tokio::time::Instant::now() + GOODBYE;
        while self
            .swarm
            .network_info()
            .connection_counters()
            .num_established()
            > 0
            && timeout_at(end, self.swarm.next()).await.is_ok()
        {}
        // The last closing packets are written by tasks of their own.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Does what is due; when to come again.
    fn tick(&mut self, now: Instant) -> Instant {
        for (index, addr, expect) in self.contacts.due(now) {
            let addrs = vec![id::multiaddr(addr)];
            let opts = match expect {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Always)
                    .addresses(addrs)
                    .build(),
                None => DialOpts::unknown_peer_id()
                    .address(id::multiaddr(addr))
                    .build(),
            };
            self.dial(opts, Purpose::Contact(index));
        }
        for (peer, addr) in self.book.checks(now) {
            let opts = DialOpts::peer_id(peer)
                .condition(PeerCondition::Disconnected)
                .addresses(vec![id::multiaddr(addr)])
                .build();
            self.dial(opts, Purpose::Check(peer));
        }
        let table = self.table();
        if self.cadence.due() <= now && self.lookups.len() < LOOKUPS && table > 0 {
            let target = self.cadence.start(now);
            let own = *self.swarm.local_peer_id();
            let key = if target == Target::Own {
                own
            } else {
                PeerId::random()
            };
            let query = self.swarm.behaviour_mut().kad.get_closest_peers(key);
            self.lookups.insert(query, target);
            self.started += 1;
        }
        let mut due = now + Duration::from_secs(3600);
        if table > 0 && self.lookups.len() < LOOKUPS {
            due = due.min(self.cadence.due());
        }
        [self.contacts.next_due(), self.book.next_due()]
            .into_iter()
            .flatten()
            .fold(due, Instant::min)
    }

    fn dial(&mut self, opts: DialOpts, purpose: Purpose) {
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.dials.insert(connection, purpose);
            }
            Err(error) => self.dial_failed(purpose, &error),
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Sample(count) => {
                self.owed = (self.owed + count).min(OWED);
                self.cadence.wanted(now);
            }
            Command::Resolved(index, addr) => self.contacts.resolved(now, index, addr),
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.live.opened(peer_id, connection_id, remote(&endpoint));
                self.book.connected(now, &peer_id);
                if let Some(Purpose::Contact(index)) = self.dials.remove(&connection_id) {
                    self.contacts.finished(now, index, Outcome::Reached);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => {
                self.live.closed(&peer_id, connection_id);
                if num_established == 0 {
                    let idle = matches!(cause, None | Some(ConnectionError::KeepAliveTimeout));
                    self.book.disconnected(now, &peer_id, idle);
                }
                self.publish();
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                if let Some(purpose) = self.dials.remove(&connection_id) {
                    self.dial_failed(purpose, &error);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            })) => self.identified(now, peer_id, connection_id, &info),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetClosestPeers(result),
                step,
                ..
            })) if step.last => {
                let peers = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                if self.lookups.remove(&id).is_some() {
                    self.drawn(now, peers.into_iter().map(|peer| peer.peer_id).collect());
                }
            }
            _ => {}
        }
    }

    fn dial_failed(&mut self, purpose: Purpose, error: &DialError) {
        let now = Instant::now();
        match purpose {
            Purpose::Contact(index) => {
                let outcome = match error {
                    DialError::LocalPeerId { .. } => Outcome::Ourselves,
                    _ => Outcome::Failed,
                };
                if outcome == Outcome::Failed {
                    tracing::debug!(index, %error, "bootstrap contact failed");
                }
                self.contacts.finished(now, index, outcome);
                self.publish();
            }
            // Another dial of the same peer or a full house says nothing about the peer.
            Purpose::Check(peer) => match error {
                DialError::DialPeerConditionFalse(_)
                | DialError::Denied { .. }
                | DialError::Aborted => self.book.postpone(now, &peer),
                _ => {
                    let replaced = matches!(error, DialError::WrongPeerId { .. });
                    if let Some(lost) = self.book.missed(now, &peer, replaced) {
                        self.outbox.push(lost);
                        self.swarm.behaviour_mut().kad.remove_peer(&peer);
                        if self.book.len() == 0 {
                            self.contacts.alone(now);
                        }
                        self.publish();
                    }
                }
            },
        }
    }

    /// A peer said who it is. Nodes of other networks and other programs are sent away.
    fn identified(
        &mut self,
        now: Instant,
        peer: PeerId,
        connection: ConnectionId,
        info: &identify::Info,
    ) {
        let ours = info.protocol_version == behaviour::identify_protocol(&self.network)
            && behaviour::kad_protocol(&self.network)
                .is_ok_and(|kad| info.protocols.contains(&kad));
        let port = agent::time_port(&info.agent_version).filter(|_| ours);
        let identity = port.and_then(|port| {
            self.live
                .identified(&peer, connection, port, &info.listen_addrs)
        });
        let Some((node, place)) = identity else {
            tracing::debug!(%peer, agent = info.agent_version, "not a node of this network");
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        self.admit(now, peer, place.quic);
        if let Some(news) = self.book.seen(now, &peer, place) {
            self.outbox.push(news);
        } else if self.live.take_drawn(&peer) && !self.book.has(&peer) {
            self.outbox.push(self.book.draw(now, peer, node, place));
        } else if !self.book.has(&peer) && self.book.len() < self.tuning.few {
            // It came to us, which is no ground to trust it; a lookup may bring it up.
            self.cadence.newcomer(now);
        }
        self.publish();
    }

    /// Puts a peer into the routing table under the one address that was observed, if its subnet
    /// has not had its share.
    fn admit(&mut self, now: Instant, peer: PeerId, quic: SocketAddr) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let addr = id::multiaddr(quic);
        let full = addr.clone().with(libp2p::multiaddr::Protocol::P2p(peer));
        let mut bucket = Vec::new();
        if let Some(own) = kad.kbucket(peer) {
            for entry in own.iter() {
                if *entry.node.key.preimage() != peer {
                    bucket.extend(id::socket_addr(entry.node.value.first()));
                } else if entry.node.value.len() == 1 && *entry.node.value.first() == full {
                    return;
                }
            }
        }
        let mut table = Vec::new();
        for bucket in kad.kbuckets() {
            table.extend(
                bucket
                    .iter()
                    .filter_map(|e| id::socket_addr(e.node.value.first())),
            );
        }
        // Under a new address it counts anew, and its old one must not linger.
        kad.remove_peer(&peer);
        let first = table.is_empty();
        if diversity::admits(quic, bucket.into_iter(), table.into_iter()) {
            kad.add_address(&peer, addr);
            if first {
                self.cadence.joined(now);
            }
        }
    }

    /// A lookup has brought up these peers, all of which answered it.
    fn drawn(&mut self, now: Instant, mut peers: Vec<PeerId>) {
        for i in (1..peers.len()).rev() {
            peers.swap(i, random::below(i + 1));
        }
        let own = *self.swarm.local_peer_id();
        let mut news = false;
        let mut routine = ROUTINE;
        let mut sampled = 0;
        for peer in peers.into_iter().filter(|peer| *peer != own) {
            let few = self.book.len() < self.tuning.few && !self.book.has(&peer);
            let asked = self.owed > 0 && sampled < PER_LOOKUP;
            if !few && !asked && routine == 0 {
                continue;
            }
            if asked {
                self.owed -= 1;
                sampled += 1;
            } else if !few {
                routine -= 1;
            }
            let known = self.book.has(&peer);
            if let Some((node, place)) = self.live.draw(&peer) {
                let found = self.book.draw(now, peer, node, place);
                if asked || !known {
                    self.outbox.push(found);
                }
            }
            news |= few;
        }
        self.cadence.finished(now, news);
        if sampled == 0 {
            self.owed = 0;
        } else if self.owed > 0 {
            self.cadence.wanted(now);
        }
        self.publish();
    }

    fn table(&mut self) -> usize {
        self.swarm
            .behaviour_mut()
            .kad
            .kbuckets()
            .map(|bucket| bucket.num_entries())
            .sum()
    }

    fn publish(&mut self) {
        let table = self.table();
        let mut snapshot = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.known = self.book.addresses();
        snapshot.table = table;
        snapshot.connections = self
            .swarm
            .network_info()
            .connection_counters()
            .num_established();
        snapshot.lookups = self.started;
        snapshot.failing = self.contacts.failing();
    }
}

fn remote(endpoint: &ConnectedPoint) -> &libp2p::Multiaddr {
    endpoint.get_remote_address()
}

/// Listens on `addr`; the port it got.
async fn listen_on(swarm: &mut Swarm<Behaviour>, addr: SocketAddr) -> Result<u16, EngineError> {
    let failed = |reason: String| EngineError::Listen { addr, reason };
    let listener = swarm
        .listen_on(id::multiaddr(addr))
        .map_err(|e| failed(e.to_string()))?;
    let first = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr {
                    listener_id,
                    address,
                } if listener_id == listener => {
                    return Ok(id::socket_addr(&address).map_or(addr.port(), |addr| addr.port()));
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } if listener_id == listener => {
                    return Err(reason
                        .err()
                        .map_or("closed".into(), |error| error.to_string()));
                }
                SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                    return Err(error.to_string());
                }
                _ => {}
            }
        }
    };
    match timeout(LISTEN, first).await {
        Ok(port) => port.map_err(failed),
        Err(_) => Err(failed("no address appeared".into())),
    }
}

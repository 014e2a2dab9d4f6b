//! The thread's loop: swarm events, commands and timers in, peers out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad::{self, QueryId, QueryResult};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, SwarmEvent};
use libp2p::{PeerId, Swarm, identify};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout_at};

use super::behaviour::{self, Behaviour, BehaviourEvent};
use super::book::Book;
use super::cadence::{Cadence, Target};
use super::live::Live;
use super::routing::{self, Routing};
use super::sampling::Sampling;
use super::{DhtConfig, DhtTuning, Snapshot, agent, id, listen};
use crate::engine::EngineError;
use crate::engine::contacts::{Contacts, Who};
use crate::engine::outbox::Outbox;

/// Limit on saying good-bye to all peers.
const GOODBYE: Duration = Duration::from_millis(250);
/// Lookups at once at most.
const LOOKUPS: usize = 3;

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

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    local: SocketAddr,
    network: String,
    tuning: DhtTuning,
    outbox: Outbox,
    shared: Arc<Mutex<Snapshot>>,
    book: Book,
    live: Live,
    contacts: Contacts<PeerId>,
    cadence: Cadence,
    dials: HashMap<ConnectionId, Purpose>,
    lookups: HashMap<QueryId, Target>,
    routing: Routing,
    sampling: Sampling,
    started: u64,
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
        let local = listen::listen(&mut swarm, config.listen).await?;
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
            sampling: Sampling::new(config.tuning.few),
            network: config.network,
            tuning: config.tuning,
            dials: HashMap::new(),
            lookups: HashMap::new(),
            routing: Routing::default(),
            started: 0,
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
        for (index, addr, who) in self.contacts.due(now) {
            let opts = match who {
                Who::Answered(peer) if self.swarm.is_connected(&peer) => {
                    self.contacts.reached(now, index, peer);
                    continue;
                }
                Who::Unknown | Who::Answered(_) => DialOpts::unknown_peer_id()
                    .address(id::multiaddr(addr))
                    .build(),
                Who::Expected(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Disconnected)
                    .addresses(vec![id::multiaddr(addr)])
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
        let table = routing::size(&mut self.swarm.behaviour_mut().kad);
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
                self.sampling.ask(count);
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
                self.live
                    .opened(now, peer_id, connection_id, endpoint.get_remote_address());
                self.book.connected(now, &peer_id);
                self.routing.reached(&peer_id);
                if let Some(Purpose::Contact(index)) = self.dials.remove(&connection_id) {
                    self.contacts.reached(now, index, peer_id);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => {
                let age = self.live.closed(now, &peer_id, connection_id);
                if num_established == 0 {
                    let old = age.is_some_and(|age| age > self.tuning.idle_timeout * 4 / 5);
                    let broken = cause.is_some_and(|cause| is_break(&cause, old));
                    self.book.disconnected(now, &peer_id, !broken);
                }
                self.publish();
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
                ..
            } => match self.dials.remove(&connection_id) {
                Some(purpose) => self.dial_failed(purpose, &error),
                None => self.lookup_dial_failed(now, peer_id, &error),
            },
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
                match error {
                    DialError::LocalPeerId { .. } => self.contacts.ourselves(now, index),
                    // It is the one that is expected, and connected already.
                    DialError::DialPeerConditionFalse(_) => self.contacts.met(now, index),
                    _ => {
                        tracing::debug!(index, %error, "bootstrap contact failed");
                        self.contacts.failed(now, index);
                    }
                }
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

    /// A lookup could not reach `peer`.
    fn lookup_dial_failed(&mut self, now: Instant, peer: Option<PeerId>, error: &DialError) {
        let telling = matches!(
            error,
            DialError::Transport(_) | DialError::WrongPeerId { .. }
        );
        let Some(peer) = peer.filter(|peer| telling && !self.swarm.is_connected(peer)) else {
            return;
        };
        self.book.suspect(now, &peer);
        self.routing
            .missed(&mut self.swarm.behaviour_mut().kad, peer);
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
        let (Some(port), Some(_)) = (port, id::node_id(&peer)) else {
            tracing::debug!(%peer, agent = info.agent_version, "not a node of this network");
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
            self.book
                .forget(&peer)
                .into_iter()
                .for_each(|lost| self.outbox.push(lost));
            // Fails only if it has gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        let identity = self
            .live
            .identified(&peer, connection, port, &info.listen_addrs);
        // That connection may have ended meanwhile.
        let Some((node, place)) = identity else {
            return;
        };
        if routing::admit(&mut self.swarm.behaviour_mut().kad, peer, place.quic) {
            self.cadence.joined(now);
        }
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

    /// A lookup has brought up these peers, all of which answered it.
    fn drawn(&mut self, now: Instant, mut peers: Vec<PeerId>) {
        let own = *self.swarm.local_peer_id();
        peers.retain(|peer| *peer != own);
        let known = self.book.len();
        let mut news = false;
        for taken in self
            .sampling
            .choose(peers, known, |peer| self.book.has(peer))
        {
            // Those that have not identified themselves yet follow when they do.
            if let Some((node, place)) = self.live.draw(&taken.peer) {
                let fresh = !self.book.has(&taken.peer);
                let found = self.book.draw(now, taken.peer, node, place);
                if fresh || taken.asked {
                    self.outbox.push(found);
                }
                news |= fresh;
            }
        }
        let (known, few) = (self.book.len(), self.tuning.few);
        let more = known < few && routing::size(&mut self.swarm.behaviour_mut().kad) > known;
        self.cadence.finished(now, news && known < few, more);
        if self.sampling.owes() {
            self.cadence.wanted(now);
        }
        self.publish();
    }

    fn publish(&mut self) {
        let table = routing::size(&mut self.swarm.behaviour_mut().kad);
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

/// Whether a connection ended for a reason that makes its peer worth a check. An `old` one that
/// the other end closed was only idle: its patience runs out when ours does.
fn is_break(cause: &ConnectionError, old: bool) -> bool {
    match cause {
        ConnectionError::KeepAliveTimeout => false,
        // libp2p hides quinn's error; its text is all there is. Should it change, a silent peer
        // is lost at its next routine check.
        ConnectionError::IO(error) => {
            let text = error.to_string();
            !old || text.contains("timed out") || text.contains("reset")
        }
    }
}

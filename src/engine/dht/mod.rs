//! Peers from a distributed hash table: libp2p's Kademlia over QUIC, under a protocol name of our
//! own, in which a node is its ed25519 key.
//!
//! Lookups of random keys bring up peers near-uniformly; each is believed only as far as a
//! connection with it proves: its identity (TLS), its address (where the connection leads) and its
//! time port (its own word, identify). Records are not used. One thread with a runtime of its own;
//! memory and chatter are bounded and do not grow with the network.

mod agent;
mod behaviour;
mod book;
mod cadence;
mod diversity;
mod driver;
mod id;
mod listen;
mod live;
mod routing;
mod sampling;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libp2p::identity::Keypair;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::address::PeerAddress;
use super::outbox::Outbox;
use super::resolve::{self, Resolver};
use super::{EngineError, PeerEvent, PeerSource, check_network};
use crate::topology::NodeId;
use driver::{Command, Driver};

/// How long to wait for the listening socket.
const START: Duration = Duration::from_secs(10);
/// How often the names of bootstrap hosts are resolved again.
const RESOLVE: Duration = Duration::from_secs(600);
/// Commands waiting for the thread at most.
const COMMANDS: usize = 64;

/// How to take part in the DHT.
#[derive(Debug, Clone)]
pub struct DhtConfig {
    /// The node's ed25519 secret.
    pub secret: [u8; 32],
    /// Name of the network, part of the protocol name: 1 to 32 letters, digits, `-`, `_`, `.`.
    pub network: String,
    /// Where to listen (QUIC, UDP). `[::]` means every address, IPv4 and IPv6; port 0 any port.
    pub listen: SocketAddr,
    /// The node's time port, told to every peer.
    pub time_port: u16,
    /// Nodes to join through: where their DHT listens, with their identity if it must be theirs.
    /// Our own address may be among them.
    pub bootstrap: Vec<PeerAddress>,
    /// Waits and limits.
    pub tuning: DhtTuning,
}

impl DhtConfig {
    /// The UDP port of the DHT unless configured otherwise.
    pub const DEFAULT_PORT: u16 = 4712;
}

/// Waits and limits; the defaults suit real networks.
#[derive(Debug, Clone)]
pub struct DhtTuning {
    /// A connection nobody uses is closed after this. Short times make networks redial without
    /// end.
    pub idle_timeout: Duration,
    /// Pause between keep-alive packets on open connections.
    pub keep_alive: Duration,
    /// A connection whose other end is silent for so long is dead; more than two `keep_alive`.
    pub silence: Duration,
    /// Limit on setting up a connection.
    pub handshake_timeout: Duration,
    /// A known peer without a connection is dialled once in this time.
    pub check_every: Duration,
    /// First wait before dialling a peer whose connection broke; doubles.
    pub check_soon: Duration,
    /// Failed attempts in a row after which a peer is lost.
    pub checks: u32,
    /// Peers told to the node and watched, at most.
    pub max_known: usize,
    /// While fewer peers than this are known, every peer a lookup brings up is told; after that
    /// only a few, in exchange.
    pub few: usize,
    /// Pause between lookups once they bring nothing new.
    pub lookup_every: Duration,
}

impl Default for DhtTuning {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(75),
            keep_alive: Duration::from_secs(20),
            silence: Duration::from_secs(50),
            handshake_timeout: Duration::from_secs(4),
            check_every: Duration::from_secs(300),
            check_soon: Duration::from_secs(1),
            checks: 3,
            max_known: 48,
            few: 32,
            lookup_every: Duration::from_secs(300),
        }
    }
}

/// A node's part in the DHT. Leaves when dropped, closing its connections (a fraction of a
/// second).
pub struct Dht {
    local: SocketAddr,
    outbox: Outbox,
    shared: Arc<Mutex<Snapshot>>,
    commands: mpsc::Sender<Command>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _resolver: Resolver,
}

/// What the thread tells of itself now and then.
#[derive(Default)]
struct Snapshot {
    known: Vec<(NodeId, SocketAddr)>,
    table: usize,
    connections: u32,
    lookups: u64,
    failing: usize,
}

impl Dht {
    /// Joins the network in the background; returns when the socket listens.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if the secret, the name or the address is unusable.
    pub fn start(config: DhtConfig) -> Result<Self, EngineError> {
        check_network(&config.network)?;
        let key = Keypair::ed25519_from_bytes(config.secret).map_err(|_| EngineError::Secret)?;
        let outbox = Outbox::new(4 * config.tuning.max_known.max(16));
        let shared = Arc::new(Mutex::new(Snapshot::default()));
        let (commands, requests) = mpsc::channel(COMMANDS);
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = std::sync::mpsc::sync_channel(1);

        let tell = commands.clone();
        let listen = config.listen;
        let bootstrap = config.bootstrap.clone();
        let (sink, snapshot) = (outbox.clone(), shared.clone());
        let thread = thread::Builder::new()
            .name("parisync-dht".into())
            .spawn(move || {
                let outcome = runtime().and_then(|runtime| {
                    let driver = runtime.block_on(Driver::listen(config, &key, sink, snapshot))?;
                    Ok((runtime, driver))
                });
                match outcome {
                    Ok((runtime, driver)) => {
                        let _ = ready.send(Ok(driver.local()));
                        runtime.block_on(driver.run(requests, stopped));
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            })
            .map_err(EngineError::Thread)?;
        let local = bound.recv_timeout(START).unwrap_or_else(|_| {
            Err(EngineError::Listen {
                addr: listen,
                reason: "no answer from its thread".into(),
            })
        })?;
        let resolver = Resolver::start(
            &bootstrap,
            RESOLVE,
            resolve::system(),
            move |index, addr| {
                // More names than places in the queue would be retried at the next resolution.
                let _ = tell.try_send(Command::Resolved(index, addr));
            },
        )?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self {
            local,
            outbox,
            shared,
            commands,
            stop,
            thread,
            _resolver: resolver,
        })
    }

    /// Where it listens, with the port it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Known peers with the addresses of their DHT, the latest first: bootstrap addresses for the
    /// next start.
    pub fn contacts(&self) -> Vec<PeerAddress> {
        let snapshot = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let keyed = |(id, addr): &(NodeId, SocketAddr)| PeerAddress {
            id: Some(*id),
            ..PeerAddress::from(*addr)
        };
        snapshot.known.iter().map(keyed).collect()
    }
}

/// A runtime for one thread alone.
fn runtime() -> Result<Runtime, EngineError> {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(EngineError::Thread)
}

impl PeerSource for Dht {
    fn name(&self) -> &'static str {
        "dht"
    }

    fn poll(&mut self) -> Option<PeerEvent> {
        self.outbox.pop()
    }

    fn sample(&mut self, count: usize) {
        // With so many commands waiting, one more sample would not help.
        let _ = self.commands.try_send(Command::Sample(count));
    }

    fn health(&self) -> String {
        let snapshot = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = format!(
            "{} peers known, {} in the routing table, {} connections, {} lookups, listening on {}",
            snapshot.known.len(),
            snapshot.table,
            snapshot.connections,
            snapshot.lookups,
            self.local,
        );
        if snapshot.failing > 0 {
            line += &format!("; {} bootstrap addresses do not answer", snapshot.failing);
        }
        line
    }
}

impl Drop for Dht {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the DHT thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;

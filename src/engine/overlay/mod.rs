//! Peers through a link structure of our own ([`crate::topology::overlay`]): Kademlia, Chord,
//! Pastry or CAN between daemons, over one UDP socket of its own.
//!
//! Identity and rules are those of the rest: a node is its ed25519 key, every message is signed
//! with it, and its place follows from it at the price of a puzzle. A query costs its receiver a
//! signature check only with a cookie that proves where the sender receives; without one the
//! answer is a cookie, shorter than the query. All tables are bounded, everything is rationed per
//! source, and a structure takes in only who answered it. Near-uniform draws through the
//! structure make candidates, as in the libp2p engine. It needs no C compiler.

mod codec;
mod core;
mod endpoint;
mod gate;
mod told;
mod worker;

pub use codec::{Claimed, Cookie, OverlayParseError, Realm, Unverified, parse_overlay};
pub use endpoint::{Endpoint, Tag};

use std::io::{PipeWriter, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use blake2::{Blake2s256, Digest};

use self::core::Snapshot;
use super::outbox::Outbox;
use super::resolve::{self, Resolver};
use super::{EngineError, PeerAddress, PeerEvent, PeerSource, check_network};
use crate::topology::overlay::Structure;
use worker::{Command, Worker};

/// How often the names of bootstrap hosts are resolved again.
const RESOLVE: Duration = Duration::from_secs(600);
/// News that may wait to be read: some for each peer that is told.
const NEWS: usize = 256;

/// How to take part in a link structure.
#[derive(Debug, Clone)]
pub struct OverlayConfig {
    /// Which one; the same on all nodes of a network.
    pub structure: Structure,
    /// The node's ed25519 secret.
    pub secret: [u8; 32],
    /// Name of the network: 1 to 32 letters, digits, `-`, `_`, `.`.
    pub network: String,
    /// Where to listen (UDP). `[::]` takes IPv4 as well; port 0 is any port.
    pub listen: SocketAddr,
    /// The node's time port, told to every peer.
    pub time_port: u16,
    /// Nodes to join through: where their structure listens, with their identity if it must be
    /// theirs. Our own address may be among them; whoever has no other begins the network.
    pub bootstrap: Vec<PeerAddress>,
}

/// A node's part in a link structure. Leaves when dropped, without a word: the others notice.
pub struct OverlayEngine {
    structure: Structure,
    local: SocketAddr,
    outbox: Outbox,
    shared: Arc<Mutex<Snapshot>>,
    commands: Sender<Command>,
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    _resolver: Resolver,
}

impl OverlayEngine {
    /// Joins the network in the background; returns when the socket is open. The node's puzzle is
    /// solved first of all, which takes a fraction of a second.
    ///
    /// # Errors
    /// [`EngineError`] if the name or the address is unusable, or no thread is to be had.
    pub fn start(config: OverlayConfig) -> Result<Self, EngineError> {
        check_network(&config.network)?;
        let structure = config.structure;
        let bootstrap = config.bootstrap.clone();
        let outbox = Outbox::new(NEWS);
        let shared = Arc::new(Mutex::new(Snapshot::default()));
        let (wakeup, wake) = std::io::pipe().map_err(EngineError::Thread)?;
        let (commands, requests) = channel();
        let worker = Worker::open(config, outbox.clone(), shared.clone(), requests)?;
        let local = worker.local();
        let thread = thread::Builder::new()
            .name(format!("parisync-{}", structure.name()))
            .stack_size(256 * 1024)
            .spawn(move || worker.run(wakeup))
            .map_err(EngineError::Thread)?;
        let tell = commands.clone();
        let mut waker = wake.try_clone().map_err(EngineError::Thread)?;
        let resolver = Resolver::start(
            &bootstrap,
            RESOLVE,
            resolve::system(),
            move |index, addr| {
                // The thread ends only after this handle is gone.
                let _ = tell.send(Command::Resolved(index, addr));
                let _ = waker.write(&[1]);
            },
        )?;
        Ok(Self {
            structure,
            local,
            outbox,
            shared,
            commands,
            wake: Some(wake),
            thread: Some(thread),
            _resolver: resolver,
        })
    }

    /// Where it listens, with the port it got.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// The tag of the network with this name.
pub fn tag(name: &str) -> Tag {
    let mut tag = [0; 8];
    tag.copy_from_slice(&Blake2s256::digest(name.as_bytes())[..8]);
    tag
}

impl PeerSource for OverlayEngine {
    fn name(&self) -> &'static str {
        self.structure.name()
    }

    fn poll(&mut self) -> Option<PeerEvent> {
        self.outbox.pop()
    }

    fn sample(&mut self, count: usize) {
        let _ = self.commands.send(Command::Sample(count));
        if let Some(wake) = &mut self.wake {
            let _ = wake.write(&[1]);
        }
    }

    fn health(&self) -> String {
        let s = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = format!(
            "{}, {} peers known, {} links, about {:.0} nodes, {} lookups, {} messages sent, {} \
             datagrams refused, listening on {}",
            if s.member { "joined" } else { "not joined yet" },
            s.known,
            s.links,
            s.nodes,
            s.lookups,
            s.traffic.sent,
            s.refused,
            self.local,
        );
        if s.failing > 0 {
            line += &format!("; {} bootstrap addresses do not answer", s.failing);
        }
        if let Some(foreign) = s.foreign {
            line += &format!("; datagrams come {foreign}");
        }
        line
    }
}

impl Drop for OverlayEngine {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(mut wake) = self.wake.take() {
            let _ = wake.write(&[1]);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the link structure panicked");
        }
    }
}

#[cfg(test)]
mod tests;

//! Discovery on the local networks, without any bootstrap.
//!
//! Nodes announce themselves by multicast: a small datagram, signed, of fixed length
//! ([`announcement`]), on every interface that is up. mDNS was the alternative; it would bring a
//! name system, TXT records to parse and a responder that shares port 5353 with the host's own,
//! and still could not say who signed.

pub mod announcement;
mod schedule;
mod sockets;
mod table;
mod worker;

pub use announcement::parse_announcement;

use std::io::{PipeWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::outbox::Outbox;
use super::{EngineError, PeerEvent, PeerSource, check_network};

/// How to announce and listen.
#[derive(Debug, Clone)]
pub struct LanConfig {
    /// The node's ed25519 secret.
    pub secret: [u8; 32],
    /// Name of the network; announcements of other networks are passed over.
    pub network: String,
    /// The node's time port.
    pub time_port: u16,
    /// UDP port of the announcements, the same on all hosts.
    pub port: u16,
    /// Use IPv4: the time port is reachable through it.
    pub ipv4: bool,
    /// Use IPv6 with link-local addresses: the time port is reachable through it.
    pub ipv6: bool,
    /// Announce on the loopback interface too: finds nodes of the same host.
    pub loopback: bool,
    /// Pause between announcements once settled, at least 100 ms; varies by a quarter.
    pub interval: Duration,
    /// Peers remembered at most; further ones are not heard.
    pub max_peers: usize,
}

impl LanConfig {
    /// The UDP port of announcements unless configured otherwise.
    pub const DEFAULT_PORT: u16 = 4713;

    /// The usual: both families, every 30 s, at most 256 peers.
    pub fn new(secret: [u8; 32], network: impl Into<String>, time_port: u16) -> Self {
        Self {
            secret,
            network: network.into(),
            time_port,
            port: Self::DEFAULT_PORT,
            ipv4: true,
            ipv6: true,
            loopback: false,
            interval: Duration::from_secs(30),
            max_peers: 256,
        }
    }
}

/// Announces this node on the local networks and hears others. Runs on one thread that sleeps
/// between datagrams; says good-bye when dropped.
pub struct LanDiscovery {
    outbox: Outbox,
    shared: Arc<Shared>,
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// What the handle and the thread share.
#[derive(Default)]
struct Shared {
    peers: AtomicUsize,
    places: AtomicUsize,
    refused: AtomicUsize,
    /// Everybody known is to be told again.
    again: AtomicBool,
}

impl LanDiscovery {
    /// Starts to announce and to listen. Interfaces that come later are used when they come.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if the name of the network is unusable, or no socket or thread is to be had.
    pub fn start(config: LanConfig) -> Result<Self, EngineError> {
        check_network(&config.network)?;
        // Room for each peer known and for as many that went.
        let outbox = Outbox::new(2 * config.max_peers);
        let shared = Arc::new(Shared::default());
        let (wakeup, wake) = std::io::pipe().map_err(EngineError::Thread)?;
        let worker = worker::Worker::open(&config, outbox.clone(), shared.clone())?;
        let thread = thread::Builder::new()
            .name("parisync-lan".into())
            .stack_size(128 * 1024)
            .spawn(move || worker.run(wakeup))
            .map_err(EngineError::Thread)?;
        Ok(Self {
            outbox,
            shared,
            wake: Some(wake),
            thread: Some(thread),
        })
    }
}

impl PeerSource for LanDiscovery {
    fn name(&self) -> &'static str {
        "lan"
    }

    fn poll(&mut self) -> Option<PeerEvent> {
        self.outbox.pop()
    }

    /// Tells everybody on the local networks again: there are not many, and they are near.
    fn sample(&mut self, _count: usize) {
        // One byte per request until the thread has seen it, so that the pipe cannot fill.
        if !self.shared.again.swap(true, Ordering::AcqRel)
            && let Some(wake) = &mut self.wake
        {
            // The thread outlives this handle; if it ended, there is nobody to wake.
            let _ = wake.write(&[1]);
        }
    }

    fn health(&self) -> String {
        format!(
            "{} peers heard, announcing from {} addresses, {} announcements refused",
            self.shared.peers.load(Ordering::Relaxed),
            self.shared.places.load(Ordering::Relaxed),
            self.shared.refused.load(Ordering::Relaxed),
        )
    }
}

impl Drop for LanDiscovery {
    fn drop(&mut self) {
        // Closing the pipe is what stops the thread; it never waits for the network.
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the LAN discovery thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;

//! The thread: waits for datagrams, commands and the time.

use std::io::{self, PipeReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand_core::{OsRng, RngCore};
use socket2::{Domain, Protocol, Socket, Type};

use super::codec::{LONGEST, Realm};
use super::core::{Core, Me, Snapshot};
use super::{OverlayConfig, tag};
use crate::engine::EngineError;
use crate::engine::outbox::Outbox;
use crate::topology::NodeId;
use crate::topology::overlay::position;

/// Datagrams handled per wake-up, so that a flood cannot keep the thread from its timers.
const BUDGET: usize = 64;
/// Pause after a socket error, so that one which persists does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// Draw so many peers.
    Sample(usize),
    /// The bootstrap contact of this number is at this address.
    Resolved(usize, SocketAddr),
    /// End.
    Stop,
}

pub(super) struct Worker {
    config: OverlayConfig,
    socket: UdpSocket,
    local: SocketAddr,
    outbox: Outbox,
    shared: Arc<Mutex<Snapshot>>,
    commands: Receiver<Command>,
}

impl Worker {
    pub(super) fn open(
        config: OverlayConfig,
        outbox: Outbox,
        shared: Arc<Mutex<Snapshot>>,
        commands: Receiver<Command>,
    ) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Socket {
            purpose: "link structure's",
            addr: config.listen,
            source,
        };
        let socket = match bind(config.listen) {
            // A host without IPv6.
            Err(error)
                if config.listen.ip() == Ipv6Addr::UNSPECIFIED
                    && error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) =>
            {
                bind((Ipv4Addr::UNSPECIFIED, config.listen.port()).into())
            }
            other => other,
        };
        let socket = socket.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        Ok(Self {
            config,
            socket,
            local,
            outbox,
            shared,
            commands,
        })
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Until it is told to stop.
    pub(super) fn run(self, mut wakeup: PipeReader) {
        let Some(mut core) = self.core() else {
            tracing::error!("the system gives no random bytes; no peers come from this structure");
            return;
        };
        let mut buffer = [0; LONGEST + 1];
        loop {
            core.tick(Instant::now());
            self.send(&mut core);
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = core.snapshot();
            let wait = core.next_due().saturating_duration_since(Instant::now());
            let [woken, readable] = self.wait(wait, &wakeup);
            if woken {
                let mut bytes = [0; 64];
                if !matches!(wakeup.read(&mut bytes), Ok(1..)) {
                    return;
                }
                while let Ok(command) = self.commands.try_recv() {
                    match command {
                        Command::Sample(count) => core.sample(Instant::now(), count),
                        Command::Resolved(index, addr) => {
                            core.resolved(Instant::now(), index, addr);
                        }
                        Command::Stop => return,
                    }
                }
            }
            if readable {
                self.receive(&mut core, &mut buffer);
            }
        }
    }

    fn core(&self) -> Option<Core> {
        let network = tag(&self.config.network);
        let key = SigningKey::from_bytes(&self.config.secret);
        let id = NodeId::from_bytes(key.verifying_key().to_bytes());
        let (solution, place) = position::solve(&network, &id)?;
        let mut secrets = [[0; 32]; 2];
        for secret in &mut secrets {
            OsRng.try_fill_bytes(secret).ok()?;
        }
        let me = Me {
            key,
            id,
            solution,
            place,
            time_port: self.config.time_port,
        };
        let realm = Realm {
            network,
            structure: self.config.structure,
        };
        let bootstrap = &self.config.bootstrap;
        let outbox = self.outbox.clone();
        Some(Core::new(
            Instant::now(),
            realm,
            me,
            bootstrap,
            outbox,
            secrets,
        ))
    }

    /// Whether the handle wants something, and whether datagrams wait.
    fn wait(&self, timeout: Duration, wakeup: &PipeReader) -> [bool; 2] {
        let mut fds = [
            PollFd::new(wakeup.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
        ];
        // Rounded up, so that what is due is due when the wait ends.
        let millis = timeout.as_millis().saturating_add(1);
        let timeout = i32::try_from(millis)
            .ok()
            .and_then(|ms| PollTimeout::try_from(ms).ok());
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(_) => [0, 1].map(|i| fds[i].any() != Some(false)),
            Err(nix::Error::EINTR) => [false, false],
            Err(error) => {
                tracing::error!(%error, "the link structure cannot wait for datagrams");
                std::thread::sleep(PAUSE);
                [false, false]
            }
        }
    }

    fn receive(&self, core: &mut Core, buffer: &mut [u8]) {
        for _ in 0..BUDGET {
            match self.socket.recv_from(buffer) {
                Ok((len, from)) => {
                    core.handle(Instant::now(), from, &buffer[..len]);
                    self.send(core);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What the network said of a datagram of ours; nothing to do about.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    tracing::debug!(%error, "the link structure's socket");
                    std::thread::sleep(PAUSE);
                    return;
                }
            }
        }
    }

    fn send(&self, core: &mut Core) {
        while let Some((to, bytes)) = core.poll_transmit() {
            let to = match (to.ip(), self.local.is_ipv6()) {
                (IpAddr::V4(v4), true) => SocketAddr::new(v4.to_ipv6_mapped().into(), to.port()),
                _ => to,
            };
            if let Err(error) = self.socket.send_to(&bytes, to) {
                tracing::debug!(%to, %error, "not sent");
            }
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

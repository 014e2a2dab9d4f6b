//! The thread: waits for datagrams, announces when due, forgets the silent.

use std::io::{PipeReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::announcement::{Announcement, NetworkTag, parse_announcement};
use super::schedule::Schedule;
use super::sockets::Sockets;
use super::table::Table;
use super::{LanConfig, Shared};
use crate::engine::EngineError;
use crate::engine::outbox::Outbox;
use crate::topology::NodeId;

/// How often the host's interfaces are looked at.
const RESCAN: Duration = Duration::from_secs(10);
/// The same while there is none to announce from, as when the host starts.
const RESCAN_NONE: Duration = Duration::from_secs(1);
/// Datagrams handled per wake-up and family, so that a flood cannot keep the thread from its timers.
const BUDGET: usize = 64;
/// Signatures checked per second at most: a flood of forgeries costs less than a percent of a core.
const CHECKS: f64 = 100.0;
/// Pause after a socket error, so that one which persists does not spin.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    key: SigningKey,
    sockets: Sockets,
    outbox: Outbox,
    shared: Arc<Shared>,
    table: Table,
    schedule: Schedule,
    next: Announcement,
    rescan: Instant,
    checks: f64,
    refilled: Instant,
}

impl Worker {
    pub(super) fn open(
        config: &LanConfig,
        outbox: Outbox,
        shared: Arc<Shared>,
    ) -> Result<Self, EngineError> {
        let sockets = Sockets::open(config)?;
        let key = SigningKey::from_bytes(&config.secret);
        let id = NodeId::from_bytes(key.verifying_key().to_bytes());
        let network = NetworkTag::of(&config.network);
        let now = Instant::now();
        let interval = config.interval.max(Duration::from_millis(100));
        // Only to order this node's own starts. If the clock went back since the last one, others
        // pass over us until they have forgotten us, which takes four intervals.
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let next = Announcement {
            network,
            id,
            time_port: config.time_port,
            start: start.as_millis() as u64,
            number: 0,
            interval_ms: interval.as_millis().try_into().unwrap_or(u32::MAX),
            hello: true,
            leaving: false,
        };
        Ok(Self {
            key,
            sockets,
            outbox,
            shared,
            table: Table::new(id, network, config.max_peers),
            schedule: Schedule::new(now, interval),
            next,
            rescan: now,
            checks: CHECKS,
            refilled: now,
        })
    }

    /// Until the other end of `wakeup` is closed.
    pub(super) fn run(mut self, mut wakeup: PipeReader) {
        loop {
            let now = Instant::now();
            self.tick(now);
            let until = self.schedule.due().min(self.rescan);
            let until = self
                .table
                .next_expiry()
                .map_or(until, |expiry| expiry.min(until));
            match self.wait(until.saturating_duration_since(now), &wakeup) {
                Wake::Handle => {
                    let mut byte = [0];
                    if !matches!(wakeup.read(&mut byte), Ok(1)) {
                        break;
                    }
                    if self.shared.again.swap(false, Ordering::AcqRel) {
                        self.table
                            .all()
                            .into_iter()
                            .for_each(|event| self.outbox.push(event));
                    }
                }
                Wake::Datagram => self.receive(),
                Wake::Nothing => {}
            }
        }
        self.next.leaving = true;
        self.announce();
    }

    fn tick(&mut self, now: Instant) {
        if self.rescan <= now {
            if self.sockets.rescan() {
                self.schedule.hasten(now);
            }
            let none = self.sockets.places() == 0;
            self.rescan = now + if none { RESCAN_NONE } else { RESCAN };
            self.shared
                .places
                .store(self.sockets.places(), Ordering::Relaxed);
        }
        if self.schedule.due() <= now {
            self.next.hello = self.schedule.is_start();
            self.announce();
            self.schedule.sent(now);
        }
        while let Some(lost) = self.table.expire(now) {
            self.outbox.push(lost);
        }
        self.shared.peers.store(self.table.len(), Ordering::Relaxed);
    }

    fn announce(&mut self) {
        self.next.number = self.next.number.wrapping_add(1);
        self.sockets.announce(&self.next.encode(&self.key));
    }

    fn wait(&self, timeout: Duration, wakeup: &PipeReader) -> Wake {
        let mut fds = vec![PollFd::new(wakeup.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            self.sockets
                .descriptors()
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        // Rounded up, so that what is due is due when the wait ends.
        let millis = timeout.as_millis().saturating_add(1);
        let timeout = i32::try_from(millis)
            .ok()
            .and_then(|ms| PollTimeout::try_from(ms).ok());
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(0) | Err(nix::Error::EINTR) => Wake::Nothing,
            Ok(_) if fds[0].any() != Some(false) => Wake::Handle,
            Ok(_) => Wake::Datagram,
            Err(error) => {
                tracing::error!(%error, "LAN discovery cannot wait for datagrams");
                std::thread::sleep(PAUSE);
                Wake::Nothing
            }
        }
    }

    fn receive(&mut self) {
        let now = Instant::now();
        let refill = now.saturating_duration_since(self.refilled).as_secs_f64() * CHECKS;
        self.checks = (self.checks + refill).min(CHECKS);
        self.refilled = now;
        let Self {
            sockets,
            table,
            checks,
            schedule,
            outbox,
            shared,
            ..
        } = self;
        let failed = sockets.receive(BUDGET, |bytes, from| {
            if hear(now, table, checks, bytes, from, schedule, outbox).is_none() {
                shared.refused.fetch_add(1, Ordering::Relaxed);
            }
        });
        if failed {
            std::thread::sleep(PAUSE);
        }
    }
}

enum Wake {
    Nothing,
    Datagram,
    Handle,
}

/// Takes in one datagram; `None` if it was refused.
fn hear(
    now: Instant,
    table: &mut Table,
    checks: &mut f64,
    bytes: &[u8],
    from: SocketAddr,
    schedule: &mut Schedule,
    outbox: &Outbox,
) -> Option<()> {
    let unverified = parse_announcement(bytes).ok()?;
    if !table.wants(unverified.claim()) {
        return Some(());
    }
    if *checks < 1.0 {
        return None;
    }
    *checks -= 1.0;
    let verdict = table.hear(now, from, &unverified.verify().ok()?);
    if verdict.answer {
        schedule.hasten(now);
    }
    if let Some(event) = verdict.event {
        outbox.push(event);
    }
    Some(())
}

//! Waiting for frames, datagrams, stamps, and word of changes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{MAX_QUEUES, TxStamps, XdpTransport};
use crate::stamp::Domain;
use crate::sys;
use crate::transport::{Readiness, TransportError, WaitMode};
use crate::wake::Wake;
use crate::xdp::Socket;

/// A waiting thread that does not sleep looks at the rings, which costs nanoseconds, so many times
/// before it asks the kernel about the rest.
const LOOKS: u32 = 32;
/// No event tells that a card stamped a frame: it is looked for so often, ms.
const STAMP_PAUSE: libc::c_int = 1;

impl XdpTransport {
    pub(super) fn wait_for(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let start = Domain::MonotonicRaw.now();
        let total = timeout.map_or(i64::MAX, |t| {
            i64::try_from(t.as_nanos()).unwrap_or(i64::MAX)
        });
        let spin = match self.udp.wait {
            WaitMode::Block => 0,
            WaitMode::BusyPoll { micros } => i64::from(micros).saturating_mul(1_000).min(total),
            WaitMode::Spin => total,
        };
        let (mut elapsed, mut looks) = (0, 0);
        while elapsed < spin {
            let ready = if looks == 0 {
                looks = LOOKS;
                self.look(0, wake)?
            } else {
                looks -= 1;
                self.in_rings()
            };
            if ready != Readiness::default() {
                return Ok(ready);
            }
            std::hint::spin_loop();
            elapsed = Domain::MonotonicRaw.now().saturating_sub(start);
        }
        loop {
            let ready = self.in_rings();
            let left = total.saturating_sub(elapsed).max(0);
            let mut millis = match timeout {
                None => -1,
                Some(_) => libc::c_int::try_from(left.saturating_add(999_999) / 1_000_000)
                    .unwrap_or(libc::c_int::MAX),
            };
            let awaited = self.inflight.waiting() > 0 && self.tx_stamps != TxStamps::User;
            if awaited && !(0..=STAMP_PAUSE).contains(&millis) {
                millis = STAMP_PAUSE;
            }
            if ready != Readiness::default() {
                // What else there is, without waiting for it.
                millis = 0;
            }
            let found = self.look(millis, wake)?;
            elapsed = Domain::MonotonicRaw.now().saturating_sub(start);
            if found != Readiness::default() || !awaited || elapsed >= total {
                return Ok(found);
            }
        }
    }

    /// What the rings hold.
    fn in_rings(&self) -> Readiness {
        Readiness {
            readable: self.sockets.iter().any(Socket::has_frames),
            tx: self.sockets.iter().any(Socket::has_completions),
            woken: false,
        }
    }

    /// What there is, after `timeout_ms` at the latest.
    fn look(
        &self,
        timeout_ms: libc::c_int,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let entry = |fd: BorrowedFd<'_>, events| libc::pollfd {
            fd: fd.as_raw_fd(),
            events,
            revents: 0,
        };
        let udp = entry(self.udp.as_fd(), libc::POLLIN | libc::POLLPRI);
        let mut fds = [udp; MAX_QUEUES + 3];
        fds[1] = entry(self.ways.as_fd(), libc::POLLIN);
        let mut used = 2;
        for socket in &self.sockets {
            fds[used] = entry(socket.as_fd(), libc::POLLIN);
            used += 1;
        }
        let at_wake = used;
        if let Some(wake) = wake {
            fds[used] = entry(wake.as_fd(), libc::POLLIN);
            used += 1;
        }
        match sys::poll(&mut fds[..used], timeout_ms) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Readiness::default()),
            Err(e) => return Err(TransportError::Wait(e)),
        }
        let events = fds[0].revents;
        if events & libc::POLLNVAL != 0 {
            let gone = io::Error::from_raw_os_error(libc::EBADF);
            return Err(TransportError::Wait(gone));
        }
        // The kernel shows its error queue as POLLERR, asked for or not.
        let queued = events & (libc::POLLERR | libc::POLLPRI) != 0;
        if queued {
            self.udp.error_seen.set(true);
        }
        let datagrams = events & libc::POLLIN != 0;
        if datagrams {
            self.udp_ready.set(true);
        }
        // Also an overflow: whoever receives takes it in.
        let changed = fds[1].revents != 0;
        if changed {
            self.changed.set(true);
        }
        let rings = self.in_rings();
        Ok(Readiness {
            readable: rings.readable || datagrams || changed,
            tx: rings.tx || queued,
            woken: wake.is_some_and(|w| fds[at_wake].revents != 0 && w.take()),
        })
    }
}

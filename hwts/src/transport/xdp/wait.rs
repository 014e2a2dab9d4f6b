//! Waiting for frames, datagrams, stamps, and word of changes.

use std::os::fd::AsFd;
use std::time::Duration;

use super::XdpTransport;
use super::door::TxStamps;
use crate::transport::wait::{Patience, entry, poll};
use crate::transport::{Readiness, TransportError};
use crate::wake::Wake;
use crate::xdp::{MAX_QUEUES, Socket};

/// A waiting thread that does not sleep looks at the rings, which costs nanoseconds, so many times
/// before it asks the kernel about the rest.
const LOOKS: u32 = 32;
/// No event tells that a card stamped a frame: it is looked for so often.
const STAMP_PAUSE: Duration = Duration::from_millis(1);

impl XdpTransport {
    pub(super) fn wait_for(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let patience = Patience::new(self.udp.wait, timeout);
        let mut looks = 0;
        let looked = patience.look(|| {
            if looks == 0 {
                looks = LOOKS;
                return self.look(Some(Duration::ZERO), wake);
            }
            looks -= 1;
            Ok(self.in_rings())
        })?;
        if let Some(ready) = looked {
            return Ok(ready);
        }
        let awaited = self.inflight.waiting() > 0 && self.tx_stamps != TxStamps::User;
        loop {
            let mut left = patience.left();
            if awaited {
                left = Some(left.map_or(STAMP_PAUSE, |left| left.min(STAMP_PAUSE)));
            }
            if self.in_rings() != Readiness::default() {
                // What else there is, without waiting for it.
                left = Some(Duration::ZERO);
            }
            let found = self.look(left, wake)?;
            if found != Readiness::default() || !awaited || patience.is_over() {
                return Ok(found);
            }
        }
    }

    /// What the rings hold.
    fn in_rings(&self) -> Readiness {
        Readiness {
            readable: self.sockets().iter().any(Socket::has_frames),
            tx: self.sockets().iter().any(Socket::has_completions),
            woken: false,
        }
    }

    /// What there is, after `timeout` at the latest.
    fn look(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        let udp = self.udp.poll_entry();
        let mut fds = [udp; MAX_QUEUES as usize + 3];
        fds[1] = entry(self.ways.as_fd(), libc::POLLIN);
        let mut used = 2;
        for socket in self.sockets() {
            fds[used] = entry(socket.as_fd(), libc::POLLIN);
            used += 1;
        }
        let at_wake = used;
        if let Some(wake) = wake {
            fds[used] = entry(wake.as_fd(), libc::POLLIN);
            used += 1;
        }
        if !poll(&mut fds[..used], timeout)? {
            return Ok(Readiness::default());
        }
        let heard = self.udp.heard(fds[0].revents)?;
        if heard.readable {
            self.udp_ready.set(true);
        }
        // Also an overflow: whoever receives takes it in.
        let changed = fds[1].revents != 0;
        if changed {
            self.changed.set(true);
        }
        let rings = self.in_rings();
        Ok(Readiness {
            readable: rings.readable || heard.readable || changed,
            tx: rings.tx || heard.tx,
            woken: wake.is_some_and(|w| fds[at_wake].revents != 0 && w.take()),
        })
    }
}

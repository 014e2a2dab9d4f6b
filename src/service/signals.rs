//! SIGTERM and SIGINT as something to look at, rather than something that strikes.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd;

/// Requests to stop. Make it before any thread starts, so that all of them leave the signals to
/// it.
#[derive(Debug)]
pub struct StopSignals(SignalFd);

impl StopSignals {
    /// Takes the signals over for this process.
    ///
    /// # Errors
    /// The system refuses, or has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&set, flags)?))
    }

    /// Whether a stop was asked for; never waits.
    pub fn asked(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }

    /// Waits up to `timeout` for a stop; returns whether one was asked for.
    pub fn wait(&self, timeout: Duration) -> bool {
        let millis = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(0) | Err(Errno::EINTR) => false,
            Ok(_) => self.asked(),
            Err(_) => {
                // Without poll there is still time to pass.
                std::thread::sleep(timeout);
                false
            }
        }
    }
}

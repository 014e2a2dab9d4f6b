//! The control socket: status for the command line and for monitoring.
//!
//! One plain thread with `poll(2)`, or a turn of somebody else's loop. Connections, lines and waiting
//! answers are bounded, and whoever does not read is dropped: nothing a client does can hold up
//! the daemon.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connection::Connection;
use super::status::{ClockReading, Status};

/// Connections at a time; one more takes the place of the one that was quiet the longest.
const MAX_CONNECTIONS: usize = 16;

/// How long no connection is accepted after the system refused one for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Who may use the socket: its owner and its group.
const MODE: u32 = 0o660;

/// Where the answers come from. Called on the thread that serves the socket, so it should copy a
/// snapshot rather than wait for anything.
pub trait StatusProvider: Send {
    /// The status now; `None` if the daemon is too busy to tell.
    fn status(&self) -> Option<Status>;

    /// What the clocks show when `CLOCK_MONOTONIC_RAW` reads `mono_raw` nanoseconds.
    fn clock_at(&self, mono_raw: i64) -> ClockReading;
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A daemon is already there.
    #[error("another daemon answers on {}; stop it, or give this one its own `control_socket` and `state_dir`", path.display())]
    AlreadyRunning {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error("{} is there and is no socket; remove it or choose another `control_socket`", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot make the control socket {}: {source}; choose another `control_socket`", path.display())]
    Os {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The control socket, to be given a turn now and then; removed from the file system when dropped.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
    // Device and inode: what is removed at the end must be ours.
    file: (u64, u64),
    connections: Vec<Connection>,
    accept_after: Option<Instant>,
}

impl ControlServer {
    /// Makes the socket at `path`, for its owner and group. A socket left behind by a dead daemon
    /// is replaced; a missing directory is made.
    ///
    /// # Errors
    /// A living daemon there, another kind of file, or what the system says.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Os {
            path: path.to_owned(),
            source,
        };
        make_room(path)?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        // Made under another name and moved, so that it never shows with other permissions.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(failed)?;
        let placed = listener
            .set_nonblocking(true)
            .and_then(|()| fs::set_permissions(&fresh, Permissions::from_mode(MODE)))
            .and_then(|()| fs::symlink_metadata(&fresh))
            .and_then(|file| fs::rename(&fresh, path).map(|()| (file.dev(), file.ino())));
        match placed {
            Ok(file) => Ok(Self {
                listener,
                path: path.to_owned(),
                file,
                connections: Vec::with_capacity(MAX_CONNECTIONS),
                accept_after: None,
            }),
            Err(error) => {
                // Nothing more can be done about a leftover; the next start removes it.
                let _ = fs::remove_file(&fresh);
                Err(failed(error))
            }
        }
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody wants something, so that a [turn](Self::turn) is worth its status. Never
    /// waits.
    pub fn is_wanted(&self) -> bool {
        let now = Instant::now();
        let accepting = self.accept_after.is_none_or(|after| after <= now);
        let stuck = self.connections.iter().any(|client| client.is_stuck(now));
        let mut fds = self.poll_fds(accepting);
        stuck || poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// The listener, then the connections, each with what it waits for.
    fn poll_fds(&self, accepting: bool) -> Vec<PollFd<'_>> {
        let mut fds = Vec::with_capacity(2 + self.connections.len());
        let listen_for = if accepting {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        fds.push(PollFd::new(self.listener.as_fd(), listen_for));
        fds.extend(self.connections.iter().map(Connection::poll_fd));
        fds
    }

    /// Waits up to `timeout` ([`None`]: for ever) for something to do, or for `stop` to be
    /// readable, does it, and returns whether `stop` was. With a timeout of zero it never waits.
    ///
    /// # Errors
    /// When `poll(2)` fails other than by a signal: not before the system is in ruins.
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        stop: Option<BorrowedFd<'_>>,
        provider: &dyn StatusProvider,
    ) -> io::Result<bool> {
        let now = Instant::now();
        self.accept_after = self.accept_after.filter(|after| *after > now);
        let accepting = self.accept_after.is_none();
        let wait = self.wait_for(now, timeout);

        let mut fds = self.poll_fds(accepting);
        fds.extend(stop.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, wait) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let connecting = accepting && ready(&fds[0]);
        let busy: Vec<bool> = fds[1..=self.connections.len()].iter().map(ready).collect();
        let stopped = stop.is_some() && fds.last().is_some_and(ready);
        drop(fds);

        let now = Instant::now();
        let mut busy = busy.into_iter();
        self.connections.retain_mut(|client| {
            let alive = !busy.next().unwrap_or(false) || client.serve(now, provider);
            alive && !client.is_stuck(now)
        });
        if connecting {
            self.accept(now);
        }
        Ok(stopped)
    }

    /// Serves on a thread of its own until the returned handle is dropped.
    ///
    /// # Errors
    /// No thread or no descriptors to be had.
    pub fn spawn(
        mut self,
        provider: impl StatusProvider + 'static,
    ) -> Result<ControlThread, ControlError> {
        let path = self.path.clone();
        let failed = |source| ControlError::Os { path, source };
        let (stop, stopped) = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => return Err(failed(error)),
        };
        let body = move || {
            while let Ok(false) = self.turn(None, Some(stopped.as_fd()), &provider) {}
        };
        match thread::Builder::new().name("control".into()).spawn(body) {
            Ok(thread) => Ok(ControlThread {
                stop: Some(stop),
                thread: Some(thread),
            }),
            Err(error) => Err(failed(error)),
        }
    }

    /// How long `poll(2)` may wait before somebody's time is up.
    fn wait_for(&self, now: Instant, timeout: Option<Duration>) -> PollTimeout {
        let slow = self.connections.iter().filter_map(Connection::deadline);
        let soonest = slow.chain(self.accept_after).min();
        let until = soonest.map(|at| at.saturating_duration_since(now));
        match until.into_iter().chain(timeout).min() {
            // Rounded up: rounded down, the last millisecond would be spent spinning.
            Some(wait) => {
                PollTimeout::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        }
    }

    fn accept(&mut self, now: Instant) {
        match self.listener.accept() {
            Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                if self.connections.len() >= MAX_CONNECTIONS {
                    let quiet =
                        (0..self.connections.len()).min_by_key(|&i| self.connections[i].active);
                    quiet.map(|i| self.connections.swap_remove(i));
                }
                self.connections.push(Connection::new(stream, now));
            }
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // Out of descriptors: the connection stays pending, and poll would return at once.
            Err(_) => self.accept_after = Some(now + ACCEPT_PAUSE),
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if ours {
            // Without the right to remove it the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A control socket served by its own thread; dropping it stops the thread and removes the socket.
#[derive(Debug)]
pub struct ControlThread {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        // Closing our end makes the other one readable.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there was already reported by its hook.
            let _ = thread.join();
        }
    }
}

/// Refuses `path` if a daemon answers there or if it is no socket.
fn make_room(path: &Path) -> Result<(), ControlError> {
    let failed = |source| ControlError::Os {
        path: path.to_owned(),
        source,
    };
    let path_buf = || path.to_owned();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(ControlError::NotASocket { path: path_buf() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ControlError::AlreadyRunning { path: path_buf() }),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(()),
            _ => Err(failed(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_rounded_down_to_a_spin() {
        let path = std::env::temp_dir().join(format!("parisync-wait-{}", std::process::id()));
        let mut server = ControlServer::bind(&path).unwrap();
        let now = Instant::now();
        assert_eq!(server.wait_for(now, None), PollTimeout::NONE);
        assert_eq!(
            server.wait_for(now, Some(Duration::ZERO)),
            PollTimeout::ZERO
        );
        server.accept_after = Some(now + Duration::from_micros(1));
        assert_eq!(server.wait_for(now, None), PollTimeout::from(1_u8));
    }
}

//! The control socket: status for the command line and for monitoring.
//!
//! One plain thread with `poll(2)`, or a turn of somebody else's loop. Clients, lines and waiting
//! answers are bounded, and whoever does not read is dropped: nothing a client does can hold up
//! the daemon.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{MAX_REQUEST, Reply, Request, RequestError};
use super::status::{ClockReading, Status};

/// Clients at a time; one more takes the place of the one that was quiet the longest.
const MAX_CLIENTS: usize = 16;

/// A client that takes nothing of its answer for this long is dropped.
const SLOW_READER: Duration = Duration::from_secs(2);

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
    clients: Vec<Client>,
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
                clients: Vec::with_capacity(MAX_CLIENTS),
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
        let mut fds = Vec::with_capacity(1 + self.clients.len());
        fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        fds.extend(self.clients.iter().map(Client::poll_fd));
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
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

        let mut fds = Vec::with_capacity(2 + self.clients.len());
        let listen_for = if accepting {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        fds.push(PollFd::new(self.listener.as_fd(), listen_for));
        fds.extend(self.clients.iter().map(Client::poll_fd));
        fds.extend(stop.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, wait) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let connecting = accepting && ready(&fds[0]);
        let busy: Vec<bool> = fds[1..=self.clients.len()].iter().map(ready).collect();
        let stopped = stop.is_some() && fds.last().is_some_and(ready);
        drop(fds);

        let now = Instant::now();
        let mut busy = busy.into_iter();
        self.clients.retain_mut(|client| {
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
        let slow = self.clients.iter().filter_map(Client::deadline);
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
                if self.clients.len() >= MAX_CLIENTS {
                    let quiet = (0..self.clients.len()).min_by_key(|&i| self.clients[i].active);
                    quiet.map(|i| self.clients.swap_remove(i));
                }
                self.clients.push(Client::new(stream, now));
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

/// One connection.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    active: Instant,
    closing: bool,
}

impl Client {
    fn new(stream: UnixStream, now: Instant) -> Self {
        Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            active: now,
            closing: false,
        }
    }

    fn poll_fd(&self) -> PollFd<'_> {
        // While an answer waits no further request is read.
        let events = if self.output.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLOUT
        };
        PollFd::new(self.stream.as_fd(), events)
    }

    /// When its patience ends, if it has an answer to take.
    fn deadline(&self) -> Option<Instant> {
        (!self.output.is_empty()).then(|| self.active + SLOW_READER)
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Reads and answers what it can without waiting; false when the connection is over.
    fn serve(&mut self, now: Instant, provider: &dyn StatusProvider) -> bool {
        if self.output.is_empty() && !self.read() {
            return false;
        }
        loop {
            match self.write(now) {
                Ok(true) => {}
                Ok(false) => return true,
                Err(()) => return false,
            }
            if self.closing {
                return false;
            }
            match self.next_request() {
                Some(Ok(request)) => {
                    self.active = now;
                    answer(request, provider).write_line(&mut self.output);
                }
                Some(Err(error)) => {
                    self.active = now;
                    self.closing = error == RequestError::TooLong;
                    Reply::refusal(error).write_line(&mut self.output);
                }
                None => return true,
            }
        }
    }

    /// Reads once; false at the end of the stream.
    fn read(&mut self) -> bool {
        let mut buffer = [0; MAX_REQUEST];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => {
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
            }
        }
    }

    /// Takes the next whole line off the input.
    fn next_request(&mut self) -> Option<Result<Request, RequestError>> {
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            return (self.input.len() >= MAX_REQUEST).then_some(Err(RequestError::TooLong));
        };
        let request = Request::parse(&self.input[..=end]);
        self.input.drain(..=end);
        Some(request)
    }

    /// Sends what the other side takes; true when nothing is left.
    fn write(&mut self, now: Instant) -> Result<bool, ()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(()),
                Ok(count) => {
                    self.sent += count;
                    self.active = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Err(()),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }
}

fn answer(request: Request, provider: &dyn StatusProvider) -> Reply {
    if let Request::ClockAt(mono_raw) = request {
        return Reply::reading(request, provider.clock_at(mono_raw));
    }
    let before = raw_now();
    match provider.status() {
        Some(status) => Reply::answer(request, status, [before, raw_now()]),
        None => Reply::refusal(RequestError::Internal),
    }
}

/// This host's `CLOCK_MONOTONIC_RAW`, in nanoseconds.
pub(super) fn raw_now() -> i64 {
    use nix::time::{ClockId, clock_gettime};
    // It exists in every kernel since 2.6.28.
    clock_gettime(ClockId::CLOCK_MONOTONIC_RAW)
        .map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}

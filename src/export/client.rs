//! The other end of the control socket: what the command line asks a running daemon with.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::connection::raw_now;
use super::protocol::{Reply, Request, VERSION};
use super::status::{ClockReading, Peer, Status, Tracking};

/// How long an answer may take. The daemon answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer read, in bytes.
const MAX_REPLY: u64 = 64 << 20;

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers on {}; start one with `systemctl start parisync` or `parisync run`, or name its socket with --socket",
        join(paths)
    )]
    NoDaemon {
        /// The sockets tried.
        paths: Vec<PathBuf>,
    },
    /// Somebody may listen, but not to us.
    #[error("no permission for {}; use sudo or join the group that owns it", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon is there and silent.
    #[error("the daemon on {} does not answer; see its log", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon refused.
    #[error("the daemon on {} refused: {message}", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What it says.
        message: String,
    },
    /// The answer makes no sense.
    #[error("what answers on {} does not speak version {VERSION} of the control protocol ({problem}); use the command of the daemon's own release", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        problem: String,
    },
    /// The system refused.
    #[error("cannot use {}: {source}; name the daemon's socket with --socket", path.display())]
    Os {
        /// The socket.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

fn join(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(" or ")
}

/// An answer and how old it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// What was asked for.
    pub content: T,
    /// Two readings of `CLOCK_MONOTONIC_RAW` between which it was taken, in nanoseconds.
    pub taken_ns: [i64; 2],
}

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the first of `paths` that answers.
    ///
    /// # Errors
    /// Nobody there, or no permission.
    pub fn connect(paths: &[PathBuf]) -> Result<Self, ClientError> {
        let mut denied = None;
        for path in paths {
            match open(path) {
                Ok(stream) => {
                    return Ok(Self {
                        stream: BufReader::new(stream),
                        path: path.clone(),
                    });
                }
                Err(error) => match error.kind() {
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused => {}
                    ErrorKind::PermissionDenied => denied = denied.or_else(|| Some(path.clone())),
                    _ => {
                        return Err(ClientError::Os {
                            path: path.clone(),
                            source: error,
                        });
                    }
                },
            }
        }
        Err(match denied {
            Some(path) => ClientError::Denied { path },
            None => ClientError::NoDaemon {
                paths: paths.to_vec(),
            },
        })
    }

    /// The node's clock.
    ///
    /// # Errors
    /// No answer, or none that makes sense.
    pub fn tracking(&mut self) -> Result<Answer<Tracking>, ClientError> {
        let (taken_ns, reply) = self.ask(Request::Tracking)?;
        let content = self.part(reply.tracking)?;
        Ok(Answer { content, taken_ns })
    }

    /// Its neighbours.
    ///
    /// # Errors
    /// As for [`Client::tracking`].
    pub fn peers(&mut self) -> Result<Answer<Vec<Peer>>, ClientError> {
        let (taken_ns, reply) = self.ask(Request::Peers)?;
        let content = self.part(reply.peers)?;
        Ok(Answer { content, taken_ns })
    }

    /// Both, taken at the same time.
    ///
    /// # Errors
    /// As for [`Client::tracking`].
    pub fn status(&mut self) -> Result<Answer<Status>, ClientError> {
        let (taken_ns, reply) = self.ask(Request::Status)?;
        let content = Status {
            tracking: self.part(reply.tracking)?,
            peers: self.part(reply.peers)?,
        };
        Ok(Answer { content, taken_ns })
    }

    /// What the node's clocks show when this host's `CLOCK_MONOTONIC_RAW` reads `mono_raw`
    /// nanoseconds, a little before or after now.
    ///
    /// # Errors
    /// As for [`Client::tracking`].
    pub fn clock_at(&mut self, mono_raw: i64) -> Result<ClockReading, ClientError> {
        let reply = self.exchange(Request::ClockAt(mono_raw))?;
        self.part(reply.clock_at)
    }

    /// What the node's clocks show now.
    ///
    /// # Errors
    /// As for [`Client::tracking`].
    pub fn clock_now(&mut self) -> Result<ClockReading, ClientError> {
        self.clock_at(raw_now())
    }

    fn part<T>(&self, part: Option<T>) -> Result<T, ClientError> {
        part.ok_or_else(|| self.foreign("a part of the answer is missing"))
    }

    fn foreign(&self, problem: impl ToString) -> ClientError {
        ClientError::Foreign {
            path: self.path.clone(),
            problem: problem.to_string(),
        }
    }

    fn ask(&mut self, request: Request) -> Result<([i64; 2], Reply), ClientError> {
        let reply = self.exchange(request)?;
        Ok((self.part(reply.taken_ns)?, reply))
    }

    fn exchange(&mut self, request: Request) -> Result<Reply, ClientError> {
        let mut line = Vec::new();
        let exchanged = self
            .stream
            .get_mut()
            .write_all(request.to_line().as_bytes())
            .and_then(|()| {
                let mut limited = (&mut self.stream).take(MAX_REPLY);
                limited.read_until(b'\n', &mut line)
            });
        if let Err(source) = exchanged {
            let path = self.path.clone();
            return Err(match source.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Silent { path },
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                    ClientError::NoDaemon { paths: vec![path] }
                }
                _ => ClientError::Os { path, source },
            });
        }
        if line.is_empty() {
            // Closed before it answered: it is stopping.
            let paths = vec![self.path.clone()];
            return Err(ClientError::NoDaemon { paths });
        }
        let reply: Reply = serde_json::from_slice(&line).map_err(|error| self.foreign(error))?;
        if let Some(error) = reply.error {
            return Err(ClientError::Refused {
                path: self.path.clone(),
                message: error.message,
            });
        }
        if reply.version != VERSION {
            return Err(self.foreign(format!("it speaks version {}", reply.version)));
        }
        Ok(reply)
    }
}

fn open(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

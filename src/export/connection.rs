//! One connection to the control socket: lines in, answers out, nothing of it without a limit.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::control::StatusProvider;
use super::protocol::{MAX_REQUEST, Reply, Request, RequestError};

/// Whoever takes nothing of its answer for this long is dropped.
const SLOW_READER: Duration = Duration::from_secs(2);

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// When it last asked or took something.
    pub(super) active: Instant,
    closing: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, now: Instant) -> Self {
        Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            active: now,
            closing: false,
        }
    }

    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        // While an answer waits no further request is read.
        let events = if self.output.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLOUT
        };
        PollFd::new(self.stream.as_fd(), events)
    }

    /// When its patience ends, if it has an answer to take.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.output.is_empty()).then(|| self.active + SLOW_READER)
    }

    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Reads and answers what it can without waiting; false when the connection is over.
    pub(super) fn serve(&mut self, now: Instant, provider: &dyn StatusProvider) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_only_with_an_answer_that_is_not_taken() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let start = Instant::now();
        let mut client = Connection::new(stream, start);
        assert_eq!(client.deadline(), None, "a quiet client may stay");
        client.output = vec![b'x'];
        assert!(!client.is_stuck(start + SLOW_READER / 2));
        assert!(client.is_stuck(start + SLOW_READER));
    }
}

//! Host names to addresses on a thread of its own, again and again.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::address::{Host, PeerAddress};
use super::{EngineError, random};

/// First wait after a name could not be resolved; doubles up to the refresh interval.
const RETRY: Duration = Duration::from_secs(2);

/// Turns a name and a port into addresses; the system's resolver except in tests.
pub(super) type Lookup = Box<dyn FnMut(&str, u16) -> io::Result<Vec<SocketAddr>> + Send>;

/// The system's resolver. It blocks, for many seconds if name servers are away.
pub(super) fn system() -> Lookup {
    Box::new(|name, port| Ok((name, port).to_socket_addrs()?.collect()))
}

/// Keeps names resolved as long as it lives. Where every host is a plain address there is no
/// thread and no system call.
pub(super) struct Resolver {
    _stop: Option<Sender<()>>,
}

struct Name {
    index: usize,
    name: String,
    port: u16,
    current: Option<SocketAddr>,
    failures: u32,
    due: Instant,
}

impl Resolver {
    /// Calls `tell(index, addr)` once for each plain address, now, and for each name when it is
    /// resolved and whenever it leads somewhere else; `index` counts `peers`.
    pub(super) fn start(
        peers: &[PeerAddress],
        refresh: Duration,
        mut lookup: Lookup,
        mut tell: impl FnMut(usize, SocketAddr) + Send + 'static,
    ) -> Result<Self, EngineError> {
        let mut names = Vec::new();
        for (index, peer) in peers.iter().enumerate() {
            match &peer.host {
                Host::Ip(ip) => tell(index, SocketAddr::new(*ip, peer.port)),
                Host::Name(name) => names.push(Name {
                    index,
                    name: name.clone(),
                    port: peer.port,
                    current: None,
                    failures: 0,
                    due: Instant::now(),
                }),
            }
        }
        if names.is_empty() {
            return Ok(Self { _stop: None });
        }
        let (stop, stopped) = channel();
        // Never joined: the system's resolver may block far longer than a stop should take.
        thread::Builder::new()
            .name("parisync-names".into())
            .spawn(move || run(&mut names, refresh, &mut lookup, &mut tell, &stopped))
            .map_err(EngineError::Thread)?;
        Ok(Self { _stop: Some(stop) })
    }
}

fn run(
    names: &mut [Name],
    refresh: Duration,
    lookup: &mut Lookup,
    tell: &mut impl FnMut(usize, SocketAddr),
    stopped: &Receiver<()>,
) {
    while let Some(due) = names.iter().map(|name| name.due).min() {
        let wait = due.saturating_duration_since(Instant::now());
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let now = Instant::now();
        for name in names.iter_mut().filter(|name| name.due <= now) {
            match lookup(&name.name, name.port) {
                Ok(addrs) if !addrs.is_empty() => {
                    name.failures = 0;
                    name.due = Instant::now() + random::spread(refresh);
                    // A name with several addresses is not a move while ours is among them.
                    if !name.current.is_some_and(|current| addrs.contains(&current)) {
                        name.current = Some(addrs[0]);
                        tell(name.index, addrs[0]);
                    }
                }
                outcome => {
                    if name.failures == 0 {
                        let reason = outcome.err().map_or("no address".into(), |e| e.to_string());
                        tracing::warn!(name = name.name, reason, "host name not resolved");
                    }
                    name.due = Instant::now() + random::backoff(RETRY, name.failures, refresh);
                    name.failures += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_again_and_moves_are_told_once() {
        let addr = |n| SocketAddr::from(([192, 0, 2, n], 5));
        let answers = [
            vec![addr(1), addr(2)],
            vec![addr(2), addr(1)],
            vec![],
            vec![addr(3)],
        ];
        let mut calls = 0;
        let lookup: Lookup = Box::new(move |_, _| {
            calls += 1;
            Ok(answers[(calls - 1).min(3)].clone())
        });
        let (tx, rx) = channel();
        let peers = [
            "192.0.2.9:5".parse().unwrap(),
            "some.name:5".parse().unwrap(),
        ];
        let tell = move |index, addr| tx.send((index, addr)).unwrap_or_default();
        let resolver = Resolver::start(&peers, Duration::from_millis(5), lookup, tell).unwrap();
        let next = || rx.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(next(), (0, addr(9)));
        assert_eq!(next(), (1, addr(1)));
        assert_eq!(next(), (1, addr(3)));
        drop(resolver);
        // The thread ends and lets go of its side of the channel.
        while rx.recv_timeout(Duration::from_secs(10)) != Err(RecvTimeoutError::Disconnected) {}
    }

    #[test]
    fn plain_addresses_need_no_thread() {
        let peers = ["192.0.2.9:5".parse().unwrap()];
        let lookup: Lookup = Box::new(|_, _| Err(io::Error::other("not to be called")));
        let resolver = Resolver::start(&peers, Duration::from_secs(1), lookup, |_, _| ()).unwrap();
        assert!(resolver._stop.is_none());
    }
}

//! The end that answers.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ground::Ground;
use super::lane::Lane;
use super::message::{Envelope, LENGTH, Message, Refusal, Tally};
use super::port::Port;
use super::prober::make_way;
use super::{PrecisionError, cpu_time};

/// How often a stop is looked for.
const TICK: Duration = Duration::from_millis(100);
/// A slice in which nothing comes any more ends after this.
const SILENCE: Duration = Duration::from_secs(1);
/// A measurement of which nothing is heard makes room for another after this.
const ABANDONED: Duration = Duration::from_secs(2);
/// Sockets opened for one measurement at most.
const MAX_LANES: usize = 32;
/// The longest busy poll anybody may ask of this host, µs.
const MAX_BUSY_POLL: u32 = 10_000;

/// The answering end, bound to its control port.
#[derive(Debug)]
pub struct Responder {
    control: UdpSocket,
    local: SocketAddr,
    ground: Ground,
    current: Option<Session>,
}

#[derive(Debug)]
struct Session {
    id: u64,
    from: SocketAddr,
    heard: Instant,
    ports: Vec<(Lane, Port)>,
    /// What the last slice came to, for those who did not hear it.
    done: Option<Message>,
}

impl Responder {
    /// Listens on `local`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(local: SocketAddr, ground: Ground) -> Result<Self, PrecisionError> {
        let failed = |error| PrecisionError::Listen { local, error };
        let control = UdpSocket::bind(local).map_err(failed)?;
        control.set_read_timeout(Some(TICK)).map_err(failed)?;
        Ok(Self {
            local: control.local_addr().map_err(failed)?,
            control,
            ground,
            current: None,
        })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Answers whoever measures, one at a time, until `stop`.
    ///
    /// # Errors
    /// A socket fails.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), PrecisionError> {
        let mut bytes = [0; 2 * LENGTH];
        while !stop.load(Ordering::Relaxed) {
            let (len, from) = match self.control.recv_from(&mut bytes) {
                Ok((len, from)) => (len, SocketAddr::new(from.ip().to_canonical(), from.port())),
                // ICMP errors of earlier answers come this way, too.
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(PrecisionError::Socket(error)),
            };
            let Some(Envelope { session, message }) = Envelope::parse(&bytes[..len]) else {
                continue;
            };
            let (answer, lane) = match message {
                Message::Begin { lane, busy_poll } => (
                    self.begin(session, from, lane, busy_poll.min(MAX_BUSY_POLL)),
                    Some(lane),
                ),
                Message::End => (self.known(session, from).and_then(|s| s.done), None),
                _ => (None, None),
            };
            let Some(message) = answer else { continue };
            let bytes = Envelope { session, message }.to_bytes();
            // Whoever does not get it asks again.
            let _ = self.control.send_to(&bytes, self.reachable(from));
            if let (Message::Ready { .. }, Some(lane)) = (message, lane)
                && let Some(session) = &mut self.current
            {
                session.slice(lane, stop, &self.ground)?;
            }
        }
        Ok(())
    }

    /// The address as the control socket wants it: IPv6 sockets send to IPv4 in IPv6's form.
    fn reachable(&self, to: SocketAddr) -> SocketAddr {
        match (self.local, to.ip()) {
            (SocketAddr::V6(_), IpAddr::V4(v4)) => {
                SocketAddr::new(v4.to_ipv6_mapped().into(), to.port())
            }
            _ => to,
        }
    }

    fn known(&mut self, id: u64, from: SocketAddr) -> Option<&mut Session> {
        self.current
            .as_mut()
            .filter(|s| s.id == id && s.from.ip() == from.ip())
    }

    fn begin(&mut self, id: u64, from: SocketAddr, lane: Lane, busy_poll: u32) -> Option<Message> {
        if self.known(id, from).is_none() {
            if self
                .current
                .as_ref()
                .is_some_and(|s| s.heard.elapsed() < ABANDONED)
            {
                return Some(Message::Refused(Refusal::Busy));
            }
            self.current = Some(Session {
                id,
                from,
                heard: Instant::now(),
                ports: Vec::new(),
                done: None,
            });
        }
        let local = SocketAddr::new(self.local.ip(), 0);
        let ground = &self.ground;
        let session = self.current.as_mut()?;
        session.heard = Instant::now();
        Some(match session.port(local, lane, busy_poll, ground) {
            Some(port) => Message::Ready {
                port: port.local_addr().port(),
            },
            None => Message::Refused(Refusal::CannotOpen),
        })
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

impl Session {
    fn port(
        &mut self,
        local: SocketAddr,
        lane: Lane,
        busy_poll: u32,
        ground: &Ground,
    ) -> Option<&mut Port> {
        let at = match self.ports.iter().position(|(of, _)| *of == lane) {
            Some(at) => at,
            None if self.ports.len() < MAX_LANES => {
                make_way(&mut self.ports, lane, ground);
                let port = Port::open(local, lane, busy_poll, ground);
                let port = port.map_err(|error| eprintln!("cannot open {lane}: {error}"));
                let port = port.ok()?;
                self.ports.push((lane, port));
                self.ports.len() - 1
            }
            None => return None,
        };
        self.ports.get_mut(at).map(|(_, port)| port)
    }

    /// Answers probes on one lane until it is told that the slice is over, or hears nothing.
    fn slice(
        &mut self,
        lane: Lane,
        stop: &AtomicBool,
        ground: &Ground,
    ) -> Result<(), PrecisionError> {
        let (id, ip) = (self.id, ground.there(lane, self.from.ip()));
        let Some((_, port)) = self.ports.iter_mut().find(|(of, _)| *of == lane) else {
            return Ok(());
        };
        port.begin()?;
        self.done = None;
        let cpu_before = cpu_time();
        let mut tally = Tally::default();
        let mut heard = Instant::now();
        while heard.elapsed() < SILENCE && !stop.load(Ordering::Relaxed) {
            let ready = port.wait(TICK)?;
            if ready.tx {
                port.poll_departure()?;
            }
            if !ready.readable {
                continue;
            }
            let mut asked = None;
            port.receive(|datagram| {
                if let Some(envelope) = Envelope::parse(datagram.bytes)
                    && envelope.session == id
                    && datagram.from.ip() == ip
                {
                    let stamps = (datagram.stamp, datagram.beside);
                    asked = Some((datagram.from, envelope.message, stamps));
                }
            })?;
            let Some((from, message, (stamp, beside))) = asked else {
                continue;
            };
            heard = Instant::now();
            let before = port.departure();
            tally.stamps_lost += u32::from(before.is_some_and(|d| d.mark.is_none()));
            let (number, message) = match message {
                Message::Probe(number) => {
                    let Some(arrived) = port.mark(stamp, beside) else {
                        tally.stamps_lost += 1;
                        continue;
                    };
                    tally.answered += 1;
                    let echo = Message::Echo {
                        number,
                        arrived,
                        before,
                    };
                    (number, echo)
                }
                Message::End => {
                    tally.cpu = cpu_time().saturating_sub(cpu_before);
                    (0, Message::Done { before, tally })
                }
                _ => continue,
            };
            let bytes = Envelope {
                session: id,
                message,
            }
            .to_bytes();
            // An answer that is not sent is a packet that was lost.
            let _ = port.send(from, number, &bytes);
            if matches!(message, Message::Done { .. }) {
                self.done = Some(message);
                break;
            }
        }
        if self.done.is_none() {
            tally.cpu = cpu_time().saturating_sub(cpu_before);
            let before = port.departure();
            self.done = Some(Message::Done { before, tally });
        }
        self.heard = Instant::now();
        Ok(())
    }
}

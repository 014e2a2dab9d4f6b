//! The end that asks.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hwts::Domain;

use super::ground::Ground;
use super::lane::{Lane, Mode};
use super::message::{Departure, Envelope, LENGTH, Mark, Message, Refusal, Tally};
use super::port::Port;
use super::{PrecisionError, cpu_time};

/// How long an answer on the control port may take, and how often it is asked for.
const PATIENCE: Duration = Duration::from_millis(200);
const ATTEMPTS: u32 = 10;
/// How long the answer to a probe may take.
const ANSWER: Duration = Duration::from_millis(100);
/// So many lost packets in a row end a slice: the other end may have given it up.
const LOST_IN_A_ROW: u32 = 4;
/// How long somebody else's measurement is waited for.
const BUSY: Duration = Duration::from_secs(3);

/// How a slice runs.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Exchanges that count.
    pub exchanges: u32,
    /// Exchanges before those, which do not count: caches and sleeping processors get warm.
    pub warm_up: u32,
    /// From the end of an exchange to the next.
    pub gap: Duration,
    /// How long [`Mode::BusyPoll`] looks before it sleeps, µs.
    pub busy_poll: u32,
}

/// One exchange of which all four stamps are known. Instants of this end (`sent`, `back`) and of
/// the other (`there`, `left`) are each on their own raw clock, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The probe left this end.
    pub sent: i64,
    /// It arrived at the other.
    pub there: i64,
    /// The answer left the other end.
    pub left: i64,
    /// It arrived at this one.
    pub back: i64,
    /// Twice the offset from the stamps as they were taken, before they were brought to raw clocks:
    /// means something only where both ends stamp by the same clock.
    pub given_offset_twice: i64,
    /// From the answer's arrival to the moment when this process had it, ns; none if only the
    /// process stamps.
    pub wake: Option<i64>,
}

impl Exchange {
    /// The other clock minus this one, ns, if both ways take as long.
    pub fn offset(&self) -> f64 {
        let (there, back) = (self.there - self.sent, self.left - self.back);
        (i128::from(there) + i128::from(back)) as f64 / 2.0
    }

    /// Round trip without the time at the other end, ns.
    pub const fn round_trip(&self) -> i64 {
        (self.back - self.sent) - (self.left - self.there)
    }
}

/// What came of one slice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    /// Exchanges that are complete and stamped as the lane wants it.
    pub exchanges: Vec<Exchange>,
    /// Probes that count.
    pub probes: u32,
    /// Probes or answers that did not arrive.
    pub lost_packets: u32,
    /// Exchanges of which a stamp never came.
    pub lost_stamps: u32,
    /// Exchanges with a stamp that was taken elsewhere than the lane wants.
    pub wrong_source: u32,
    /// Processor time of both ends' threads, ns, for all probes of the slice, the warm-up included.
    pub cpu: u64,
    /// Probes that took it.
    pub cpu_probes: u32,
}

/// An exchange that waits for the other end's departure.
#[derive(Debug, Clone, Copy)]
struct Half {
    number: u32,
    sent: Option<Mark>,
    there: Mark,
    back: Option<Mark>,
    wake: Option<i64>,
}

/// The asking end.
#[derive(Debug)]
pub struct Prober {
    control: UdpSocket,
    peer: SocketAddr,
    local: SocketAddr,
    session: u64,
    ground: Ground,
    ports: Vec<(Lane, Port)>,
    number: u32,
}

impl Prober {
    /// Will measure with the responder at `peer`, from a local address (port 0).
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(
        local: SocketAddr,
        peer: SocketAddr,
        session: u64,
        ground: Ground,
    ) -> Result<Self, PrecisionError> {
        let failed = |error| PrecisionError::Listen { local, error };
        let control = UdpSocket::bind(local).map_err(failed)?;
        control.connect(peer).map_err(failed)?;
        control.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self {
            // Which address the way to the peer begins at is known now.
            local: SocketAddr::new(control.local_addr().map_err(failed)?.ip(), 0),
            control,
            peer,
            session,
            ground,
            ports: Vec::new(),
            number: 0,
        })
    }

    /// The address probes are sent from.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Runs one slice on `lane`.
    ///
    /// # Errors
    /// The other end is silent or refuses, or a socket fails. Lost packets are no errors.
    pub fn slice(&mut self, lane: Lane, pace: &Pace) -> Result<Slice, PrecisionError> {
        let to = self.begin(lane, pace.busy_poll)?;
        let at = match self.ports.iter().position(|(of, _)| *of == lane) {
            Some(at) => at,
            None => {
                make_way(&mut self.ports, lane, &self.ground);
                let port = Port::open(self.local, lane, pace.busy_poll, &self.ground)?;
                self.ports.push((lane, port));
                self.ports.len() - 1
            }
        };
        let (_, port) = &mut self.ports[at];
        port.begin()?;
        let cpu_before = cpu_time();
        let mut out = Slice::default();
        let mut half: Option<Half> = None;
        let mut lost = 0;
        for k in 0..pace.warm_up + pace.exchanges {
            if k > 0 {
                pause(lane.mode, pace.gap);
            }
            self.number = self.number.wrapping_add(1);
            let counts = k >= pace.warm_up;
            out.probes += u32::from(counts);
            match exchange(port, self.session, self.number, to)? {
                Some((new, before)) => {
                    out.complete(half.take(), before);
                    half = counts.then_some(new);
                    lost = 0;
                }
                None => {
                    out.lost_packets += u32::from(counts);
                    lost += 1;
                }
            }
            if lost == LOST_IN_A_ROW {
                break;
            }
        }
        out.cpu = cpu_time().saturating_sub(cpu_before);
        let (before, tally) = self.end(at, to)?;
        out.complete(half, before);
        out.cpu += tally.cpu;
        out.cpu_probes = tally.answered.max(1);
        Ok(out)
    }

    /// Announces a slice; returns where its probes go.
    fn begin(&self, lane: Lane, busy_poll: u32) -> Result<SocketAddr, PrecisionError> {
        let begin = Message::Begin { lane, busy_poll };
        let start = Instant::now();
        loop {
            let answer = self.ask(begin, |message| {
                matches!(message, Message::Ready { .. } | Message::Refused(_))
            })?;
            return match answer {
                Message::Ready { port } => Ok(SocketAddr::new(
                    self.ground.there(lane, self.peer.ip()),
                    port,
                )),
                Message::Refused(Refusal::Busy) if start.elapsed() < BUSY => {
                    std::thread::sleep(PATIENCE);
                    continue;
                }
                Message::Refused(Refusal::Busy) => Err(PrecisionError::Busy(self.peer)),
                _ => Err(PrecisionError::CannotOpen {
                    peer: self.peer,
                    lane,
                }),
            };
        }
    }

    /// Ends a slice; learns when the last answer left.
    fn end(
        &mut self,
        at: usize,
        to: SocketAddr,
    ) -> Result<(Option<Departure>, Tally), PrecisionError> {
        let session = self.session;
        let end = Envelope {
            session,
            message: Message::End,
        };
        let (_, port) = &mut self.ports[at];
        port.send(to, 0, &end.to_bytes())?;
        let start = Instant::now();
        while let Some(left) = ANSWER.checked_sub(start.elapsed()) {
            if !port.wait(left)?.readable {
                continue;
            }
            let mut done = None;
            port.receive(|datagram| {
                if let Some(Message::Done { before, tally }) =
                    answer(datagram.bytes, datagram.from, to, session)
                {
                    done = Some((before, tally));
                }
            })?;
            if let Some(done) = done {
                return Ok(done);
            }
        }
        // Either packet was lost; the other end tells it again where slices are announced.
        match self.ask(Message::End, |message| {
            matches!(message, Message::Done { .. })
        })? {
            Message::Done { before, tally } => Ok((before, tally)),
            _ => Err(PrecisionError::Silent(self.peer)),
        }
    }

    /// Asks on the control port until an answer is `wanted`.
    fn ask(
        &self,
        message: Message,
        wanted: impl Fn(&Message) -> bool,
    ) -> Result<Message, PrecisionError> {
        let session = self.session;
        let bytes = Envelope { session, message }.to_bytes();
        let mut answer = [0; 2 * LENGTH];
        for _ in 0..ATTEMPTS {
            if let Err(error) = self.control.send(&bytes)
                && error.kind() != io::ErrorKind::ConnectionRefused
            {
                return Err(PrecisionError::Socket(error));
            }
            let start = Instant::now();
            while start.elapsed() < PATIENCE {
                let len = match self.control.recv(&mut answer) {
                    Ok(len) => len,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        std::thread::sleep(PATIENCE.saturating_sub(start.elapsed()));
                        break;
                    }
                    // Too late, or a signal.
                    Err(_) => break,
                };
                match Envelope::parse(&answer[..len]) {
                    Some(envelope) if envelope.session == session && wanted(&envelope.message) => {
                        return Ok(envelope.message);
                    }
                    _ => {}
                }
            }
        }
        Err(PrecisionError::Silent(self.peer))
    }
}

/// Closes what `lane` cannot be open beside.
pub(super) fn make_way(ports: &mut Vec<(Lane, Port)>, lane: Lane, ground: &Ground) {
    if ground.is_shared() && lane.xdp_number().is_some() {
        ports.retain(|(open, _)| open.xdp_number().is_none());
    }
}

/// Sends one probe and waits for its answer; none if it does not come.
fn exchange(
    port: &mut Port,
    session: u64,
    number: u32,
    to: SocketAddr,
) -> Result<Option<(Half, Option<Departure>)>, PrecisionError> {
    let probe = Envelope {
        session,
        message: Message::Probe(number),
    };
    port.send(to, number, &probe.to_bytes())?;
    let start = Instant::now();
    let mut echoed = None;
    while let Some(left) = ANSWER.checked_sub(start.elapsed()) {
        let ready = port.wait(left)?;
        let woken = Domain::MonotonicRaw.now();
        if ready.tx {
            port.poll_departure()?;
        }
        if ready.readable {
            port.receive(|datagram| {
                if let Some(Message::Echo {
                    number: of,
                    arrived,
                    before,
                }) = answer(datagram.bytes, datagram.from, to, session)
                    && of == number
                {
                    let stamps = (datagram.stamp, datagram.beside);
                    echoed = Some((arrived, before, stamps, woken));
                }
            })?;
        }
        if echoed.is_some() {
            if port.has_departed() {
                break;
            }
            port.poll_departure()?;
        }
    }
    let Some((there, before, (stamp, beside), woken)) = echoed else {
        return Ok(None);
    };
    let back = port.mark(stamp, beside);
    let wake = (stamp.source > hwts::Source::User)
        .then_some(back)
        .flatten()
        .map(|back| woken - back.raw);
    let half = Half {
        number,
        sent: port.departure().and_then(|d| d.mark),
        there,
        back,
        wake,
    };
    Ok(Some((half, before)))
}

/// What the other end says, if it is that who says it.
fn answer(bytes: &[u8], from: SocketAddr, to: SocketAddr, session: u64) -> Option<Message> {
    let envelope = Envelope::parse(bytes).filter(|e| e.session == session && from == to)?;
    Some(envelope.message)
}

/// Time passes as the lane's mode has it.
fn pause(mode: Mode, gap: Duration) {
    if mode == Mode::Spin {
        let start = Instant::now();
        while start.elapsed() < gap {
            std::hint::spin_loop();
        }
    } else {
        std::thread::sleep(gap);
    }
}

impl Slice {
    /// Completes an exchange with the departure of its answer.
    fn complete(&mut self, half: Option<Half>, before: Option<Departure>) {
        let Some(half) = half else { return };
        let left = before
            .filter(|d| d.number == half.number)
            .and_then(|d| d.mark);
        let (Some(sent), Some(left), Some(back)) = (half.sent, left, half.back) else {
            self.lost_stamps += 1;
            return;
        };
        let there = half.there;
        if ![sent, there, left, back]
            .iter()
            .all(|mark| mark.wanted_source)
        {
            self.wrong_source += 1;
            return;
        }
        self.exchanges.push(Exchange {
            sent: sent.raw,
            there: there.raw,
            left: left.raw,
            back: back.raw,
            given_offset_twice: there
                .given
                .saturating_sub(sent.given)
                .saturating_add(left.given.saturating_sub(back.given)),
            wake: half.wake,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(raw: i64) -> Mark {
        Mark {
            raw,
            given: raw,
            wanted_source: true,
        }
    }

    fn half(number: u32) -> Half {
        Half {
            number,
            sent: Some(mark(1_000)),
            there: mark(2_300),
            back: Some(mark(2_000)),
            wake: Some(50),
        }
    }

    fn departure(number: u32, raw: i64) -> Option<Departure> {
        Some(Departure {
            number,
            mark: Some(mark(raw)),
        })
    }

    #[test]
    fn an_exchange_worked_out_by_hand() {
        // The other clock is ahead by 1000: 300 ns there, 400 at the other end, 300 back.
        let mut slice = Slice::default();
        slice.complete(Some(half(7)), departure(7, 2_700));
        let [exchange] = slice.exchanges[..] else {
            panic!("{slice:?}")
        };
        assert_eq!(exchange.round_trip(), 600);
        assert!((exchange.offset() - 1_000.0).abs() < 1e-9);
        assert_eq!(exchange.given_offset_twice, 2_000);
    }

    #[test]
    fn exchanges_without_all_four_stamps_are_counted_not_used() {
        let mut slice = Slice::default();
        slice.complete(Some(half(7)), None);
        slice.complete(Some(half(7)), departure(6, 2_700));
        let lost = Departure {
            number: 7,
            mark: None,
        };
        slice.complete(Some(half(7)), Some(lost));
        let unsent = Half {
            sent: None,
            ..half(7)
        };
        slice.complete(Some(unsent), departure(7, 2_700));
        assert_eq!((slice.lost_stamps, slice.exchanges.len()), (4, 0));

        let mut elsewhere = half(7);
        elsewhere.there.wanted_source = false;
        slice.complete(Some(elsewhere), departure(7, 2_700));
        assert_eq!((slice.wrong_source, slice.exchanges.len()), (1, 0));
        slice.complete(None, departure(7, 2_700));
        assert_eq!(slice.lost_stamps, 4);
    }
}

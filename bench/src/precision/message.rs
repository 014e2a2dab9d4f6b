//! What the two ends of a measurement say to each other: datagrams of one fixed size both ways, so
//! that no answer is longer than its question and sent and received packets cost the same.
//!
//! ```text
//! asks                                         answers
//! ──── Begin (lane) ──────────────────────────►        on the control port
//! ◄─── Ready (port of the lane), or Refused ───
//! ──── Probe (n) ─────────────────────────────►        on the lane's port, many times
//! ◄─── Echo (n, arrival of n, departure of Echo n − 1)
//! ──── End ───────────────────────────────────►
//! ◄─── Done (departure of the last Echo, counts)
//! ```
//!
//! A departure is only known after the packet has left, so it travels with the next one, as in
//! NTP's interleaved mode. Numbers are big-endian. This is a measuring tool's own protocol, without
//! secrets or authentication: for networks one trusts.

use super::lane::{Lane, Mode, Named, Stamps, Transport};

/// Bytes of every datagram.
pub const LENGTH: usize = 96;

const MAGIC: [u8; 4] = *b"PSpr";
const VERSION: u8 = 1;

/// One stamp, as its taker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// On the taker's raw clock, ns.
    pub raw: i64,
    /// As it was taken, ns of whichever clock that was.
    pub given: i64,
    /// Whether it was taken where the lane wants it.
    pub wanted_source: bool,
}

/// What became of a departure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// Of the answer to this probe.
    pub number: u32,
    /// None if nobody will ever know.
    pub mark: Option<Mark>,
}

/// What the answering end counts in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Processor time of its thread, ns.
    pub cpu: u64,
    /// Probes it answered.
    pub answered: u32,
    /// Departures whose stamp never came or could not be brought to the raw clock.
    pub stamps_lost: u32,
}

/// Why the answering end does not take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is measuring with somebody else.
    Busy,
    /// It cannot open such a lane.
    CannotOpen,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A slice is to begin.
    Begin {
        /// On this lane.
        lane: Lane,
        /// How long [`Mode::BusyPoll`] looks before it sleeps, µs.
        busy_poll: u32,
    },
    /// It may begin.
    Ready {
        /// Here.
        port: u16,
    },
    /// It may not.
    Refused(Refusal),
    /// One question.
    Probe(u32),
    /// Its answer.
    Echo {
        /// The question.
        number: u32,
        /// When it arrived.
        arrived: Mark,
        /// When the answer before this left.
        before: Option<Departure>,
    },
    /// The slice is over.
    End,
    /// What came of it.
    Done {
        /// When the last answer left.
        before: Option<Departure>,
        /// Counts of the slice.
        tally: Tally,
    },
}

/// A message and the measurement it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Drawn by the asking end.
    pub session: u64,
    /// What is said.
    pub message: Message,
}

impl Envelope {
    /// As bytes.
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let mut out = Writer::default();
        out.put(&MAGIC);
        out.put(&[VERSION, self.message.kind()]);
        out.put(&self.session.to_be_bytes());
        match self.message {
            Message::Begin { lane, busy_poll } => {
                out.put(&[index(lane.transport), index(lane.stamps), index(lane.mode)]);
                out.put(&busy_poll.to_be_bytes());
            }
            Message::Ready { port } => out.put(&port.to_be_bytes()),
            Message::Refused(Refusal::Busy) => out.put(&[0]),
            Message::Refused(Refusal::CannotOpen) => out.put(&[1]),
            Message::Probe(number) => out.put(&number.to_be_bytes()),
            Message::Echo {
                number,
                arrived,
                before,
            } => {
                out.put(&number.to_be_bytes());
                out.mark(Some(arrived));
                out.departure(before);
            }
            Message::End => {}
            Message::Done { before, tally } => {
                out.put(&tally.cpu.to_be_bytes());
                out.put(&tally.answered.to_be_bytes());
                out.put(&tally.stamps_lost.to_be_bytes());
                out.departure(before);
            }
        }
        out.bytes
    }

    /// From bytes; none if they are no message of this protocol and version.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let mut from = Reader(bytes);
        if from.take()? != MAGIC || from.take()? != [VERSION] {
            return None;
        }
        let [kind] = from.take()?;
        let session = u64::from_be_bytes(from.take()?);
        let message = match kind {
            0 => {
                let [transport, stamps, mode] = from.take()?;
                Message::Begin {
                    lane: Lane {
                        transport: item::<Transport>(transport)?,
                        stamps: item::<Stamps>(stamps)?,
                        mode: item::<Mode>(mode)?,
                    },
                    busy_poll: u32::from_be_bytes(from.take()?),
                }
            }
            1 => Message::Ready {
                port: u16::from_be_bytes(from.take()?),
            },
            2 => Message::Refused(match from.take()? {
                [0] => Refusal::Busy,
                _ => Refusal::CannotOpen,
            }),
            3 => Message::Probe(u32::from_be_bytes(from.take()?)),
            4 => Message::Echo {
                number: u32::from_be_bytes(from.take()?),
                arrived: from.mark()??,
                before: from.departure()?,
            },
            5 => Message::End,
            6 => Message::Done {
                tally: Tally {
                    cpu: u64::from_be_bytes(from.take()?),
                    answered: u32::from_be_bytes(from.take()?),
                    stamps_lost: u32::from_be_bytes(from.take()?),
                },
                before: from.departure()?,
            },
            _ => return None,
        };
        Some(Self { session, message })
    }
}

impl Message {
    const fn kind(&self) -> u8 {
        match self {
            Self::Begin { .. } => 0,
            Self::Ready { .. } => 1,
            Self::Refused(_) => 2,
            Self::Probe(_) => 3,
            Self::Echo { .. } => 4,
            Self::End => 5,
            Self::Done { .. } => 6,
        }
    }
}

fn index<T: Named>(item: T) -> u8 {
    let at = T::ALL.iter().position(|other| *other == item);
    // Lists of names are short, and every item is in its own.
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

fn item<T: Named>(index: u8) -> Option<T> {
    T::ALL.get(usize::from(index)).copied()
}

struct Writer {
    bytes: [u8; LENGTH],
    at: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            bytes: [0; LENGTH],
            at: 0,
        }
    }
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn mark(&mut self, mark: Option<Mark>) {
        self.put(&[match mark {
            None => 0,
            Some(mark) => 1 + u8::from(mark.wanted_source),
        }]);
        self.put(&mark.map_or(0, |m| m.raw).to_be_bytes());
        self.put(&mark.map_or(0, |m| m.given).to_be_bytes());
    }

    fn departure(&mut self, departure: Option<Departure>) {
        self.put(&[u8::from(departure.is_some())]);
        self.put(&departure.map_or(0, |d| d.number).to_be_bytes());
        self.mark(departure.and_then(|d| d.mark));
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    #[expect(clippy::option_option, reason = "unreadable, or no mark")]
    fn mark(&mut self) -> Option<Option<Mark>> {
        let [state] = self.take()?;
        let raw = i64::from_be_bytes(self.take()?);
        let given = i64::from_be_bytes(self.take()?);
        Some((state != 0).then_some(Mark {
            raw,
            given,
            wanted_source: state != 1,
        }))
    }

    #[expect(clippy::option_option, reason = "unreadable, or no departure")]
    fn departure(&mut self) -> Option<Option<Departure>> {
        let [state] = self.take()?;
        let number = u32::from_be_bytes(self.take()?);
        let mark = self.mark()?;
        Some((state != 0).then_some(Departure { number, mark }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        raw: -5,
        given: 1_700_000_000_000_000_000,
        wanted_source: true,
    };

    #[test]
    fn what_is_said_is_understood() {
        let lane = Lane {
            transport: Transport::Udp,
            stamps: Stamps::User,
            mode: Mode::BusyPoll,
        };
        let lost = Departure {
            number: 7,
            mark: None,
        };
        let left = Departure {
            number: u32::MAX,
            mark: Some(Mark {
                wanted_source: false,
                ..MARK
            }),
        };
        let tally = Tally {
            cpu: 1,
            answered: 2,
            stamps_lost: 3,
        };
        let echo = |before| Message::Echo {
            number: 9,
            arrived: MARK,
            before,
        };
        let done = |before| Message::Done { before, tally };
        for message in [
            Message::Begin {
                lane,
                busy_poll: 50,
            },
            Message::Ready { port: 4_711 },
            Message::Refused(Refusal::Busy),
            Message::Refused(Refusal::CannotOpen),
            Message::Probe(3),
            echo(None),
            echo(Some(lost)),
            echo(Some(left)),
            Message::End,
            done(None),
            done(Some(left)),
        ] {
            let sent = Envelope {
                session: 0x0123_4567_89ab_cdef,
                message,
            };
            assert_eq!(Envelope::parse(&sent.to_bytes()), Some(sent));
        }
    }

    #[test]
    fn anything_else_is_ignored() {
        let good = Envelope {
            session: 1,
            message: Message::End,
        };
        let bytes = good.to_bytes();
        assert_eq!(Envelope::parse(&bytes[..LENGTH - 1]), None);
        for (at, value) in [(0, b'p'), (4, VERSION + 1), (5, 7)] {
            let mut bad = bytes;
            bad[at] = value;
            assert_eq!(Envelope::parse(&bad), None, "{at}");
        }
        let begin = Envelope {
            session: 1,
            message: Message::Begin {
                lane: Lane {
                    transport: Transport::Udp,
                    stamps: Stamps::User,
                    mode: Mode::Spin,
                },
                busy_poll: 0,
            },
        };
        let mut bad = begin.to_bytes();
        bad[15] = 200;
        assert_eq!(Envelope::parse(&bad), None);
    }
}

//! Asking one server.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hwts::clock::CrossRead;
use hwts::transport::{TransportError, TxEvent, UdpConfig, UdpTransport};
use hwts::{Domain, Source, Stamp};

use super::packet::{Disbelief, Packet, PacketError};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long is waited for the stamp of the question once the answer is there, ms.
const TX_TIMEOUT_MS: u32 = 20;
/// By how much a server may seem to need less than no time, ns: clocks are read with some care
/// only.
const SLACK: i64 = 1_000;

/// Why there is no answer to be used.
#[derive(Debug, thiserror::Error)]
pub enum NtpError {
    /// Nothing came.
    #[error("no answer within a second: check the address and that UDP port 123 is let through")]
    Silent,
    /// What came was no NTP.
    #[error("what came is no NTP: {0}")]
    Malformed(#[from] PacketError),
    /// What came is not to be used.
    #[error("not used: {0}")]
    Disbelieved(#[from] Disbelief),
    /// The answer came sooner than it can have.
    #[error("the answer seems to have taken {0} ns; one of the clocks was stepped meanwhile")]
    Delay(i64),
    /// The socket fails.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The server's clock minus `CLOCK_REALTIME` of this host, ns.
    pub offset: f64,
    /// Round trip without the time at the server, ns.
    pub delay: i64,
    /// As far as the offset may be off if the server is right about itself, ns: half the delay,
    /// the server's distance from its reference, the clock's resolution (RFC 5905, section 11.1,
    /// without the growth over time).
    pub distance: i64,
    /// Hops of the server from a reference clock.
    pub stratum: u8,
    /// Its own source.
    pub reference_id: [u8; 4],
    /// Where our packets were stamped, the worse of both ways.
    pub stamps: Source,
    /// When it came, on the raw clock, ns.
    pub at: i64,
}

/// Asks one server.
#[derive(Debug)]
pub struct Client {
    transport: UdpTransport,
    server: SocketAddr,
    random: RandomState,
    asked: u64,
}

impl Client {
    /// A client of the server at this address; asks nothing yet.
    ///
    /// # Errors
    /// [`TransportError`] if there is no socket.
    pub fn new(server: SocketAddr) -> Result<Self, TransportError> {
        let local = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let config = UdpConfig {
            tx_timeout_ms: TX_TIMEOUT_MS,
            ..UdpConfig::new(local)
        };
        Ok(Self {
            transport: UdpTransport::open(&config)?,
            server,
            random: RandomState::new(),
            asked: 0,
        })
    }

    /// Asks once.
    ///
    /// An answer of somebody else, or to another question, does not end the wait for ours: who
    /// cannot see our packets can then only add noise.
    ///
    /// # Errors
    /// See [`NtpError`].
    pub fn ask(&mut self) -> Result<Answer, NtpError> {
        let cookie = self.cookie();
        let question = Packet::question(cookie).to_bytes();
        let before = Domain::Realtime.now();
        let token = self.transport.send(self.server, &question)?;
        let start = Instant::now();
        let (mut sent, mut sent_known) = (None, false);
        let mut answered: Option<(Packet, Stamp)> = None;
        let mut refused = NtpError::Silent;
        while let Some(left) = PATIENCE.checked_sub(start.elapsed()) {
            let patience = match answered {
                Some(_) => left.min(Duration::from_millis(u64::from(TX_TIMEOUT_MS))),
                None => left,
            };
            let ready = self.transport.wait(Some(patience), None)?;
            self.transport.poll_tx(|event| match event {
                TxEvent::Stamped {
                    token: of, stamp, ..
                } if of == token => {
                    (sent, sent_known) = (Some(stamp), true);
                }
                TxEvent::Lost { token: of } if of == token => sent_known = true,
                TxEvent::Stamped { .. } | TxEvent::Lost { .. } => {}
            })?;
            if ready.readable {
                let server = self.server;
                self.transport.receive(16, |datagram| {
                    if datagram.from != server || answered.is_some() {
                        return;
                    }
                    match check(datagram.bytes, cookie) {
                        Ok(packet) => answered = Some((packet, datagram.stamp)),
                        Err(error) => refused = error,
                    }
                })?;
            }
            if answered.is_some() && sent_known {
                break;
            }
            // A server that answers us and refuses will not say more.
            if let NtpError::Disbelieved(reason) = &refused
                && !matches!(reason, Disbelief::Origin | Disbelief::Mode(_))
            {
                break;
            }
        }
        let Some((packet, arrived)) = answered else {
            return Err(refused);
        };
        evaluate(&packet, before, sent, arrived)
    }

    /// A number that cannot be guessed: it stands for our timestamp in the question.
    fn cookie(&mut self) -> u64 {
        self.asked += 1;
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.asked);
        hasher.finish().max(1)
    }
}

fn check(bytes: &[u8], cookie: u64) -> Result<Packet, NtpError> {
    let packet = Packet::parse(bytes)?;
    packet.believe(cookie)?;
    Ok(packet)
}

/// Offset and delay (RFC 5905, section 8) from the stamps of both ends. `before` is the system
/// clock before the question was sent: it counts if the question's stamp was lost.
fn evaluate(
    packet: &Packet,
    before: i64,
    sent: Option<Stamp>,
    arrived: Stamp,
) -> Result<Answer, NtpError> {
    let now = CrossRead::take(Domain::Realtime, Domain::MonotonicRaw, 3);
    let on_system_clock = |stamp: Stamp| match stamp.domain {
        // Some milliseconds ago at most, so slewing of 500 ppm is a microsecond at most.
        Domain::MonotonicRaw => now.a + (stamp.nanos - now.b),
        // Cards are not used here.
        Domain::Realtime | Domain::Tai | Domain::Phc(_) => stamp.nanos,
    };
    let t1 = sent.map_or(before, on_system_clock);
    let t4 = on_system_clock(arrived);
    let there = packet.receive.to_unix(t4).saturating_sub(t1);
    let back = packet.transmit.to_unix(t4).saturating_sub(t4);
    let delay = there.saturating_sub(back);
    if delay < -SLACK.max(packet.resolution().min(1_000_000)) {
        return Err(NtpError::Delay(delay));
    }
    let delay = delay.max(0);
    let sent_by = sent.map_or(Source::User, |stamp| stamp.source);
    Ok(Answer {
        offset: (i128::from(there) + i128::from(back)) as f64 / 2.0,
        delay,
        distance: (delay / 2)
            .saturating_add(packet.root_distance())
            .saturating_add(packet.resolution()),
        stratum: packet.stratum,
        reference_id: packet.reference_id,
        stamps: sent_by.min(arrived.source),
        at: now.b,
    })
}

#[cfg(test)]
mod tests {
    use super::super::packet::NtpTime;
    use super::*;
    use std::net::UdpSocket;
    use std::thread::JoinHandle;

    /// A server on loopback that answers one question as `make` has it, from our packet and the
    /// time of its arrival on the system clock.
    fn serve(
        make: impl Fn(&Packet, i64) -> Vec<Vec<u8>> + Send + 'static,
    ) -> (SocketAddr, JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 100];
            let (len, from) = socket.recv_from(&mut bytes).unwrap();
            let now = Domain::Realtime.now();
            let question = Packet::parse(&bytes[..len]).unwrap();
            for answer in make(&question, now) {
                socket.send_to(&answer, from).unwrap();
            }
        });
        (address, thread)
    }

    /// A server whose clock is ahead by `ahead` ns.
    fn good(question: &Packet, now: i64, ahead: i64) -> Packet {
        Packet {
            version: 4,
            mode: 4,
            stratum: 1,
            precision: -23,
            root_dispersion: 1,
            reference_id: *b"TEST",
            origin: question.transmit,
            reference: NtpTime::from_unix(now + ahead - 1_000_000_000),
            receive: NtpTime::from_unix(now + ahead),
            transmit: NtpTime::from_unix(now + ahead + 1_000),
            ..Packet::default()
        }
    }

    fn ask(
        make: impl Fn(&Packet, i64) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Result<Answer, NtpError> {
        let (address, thread) = serve(make);
        let answer = Client::new(address).unwrap().ask();
        thread.join().unwrap();
        answer
    }

    #[test]
    fn a_known_offset_is_found_within_the_distance() {
        for ahead in [0, 37_000_000_000, -3_600_000_000_000, 250] {
            let answer = ask(move |q, now| vec![good(q, now, ahead).to_bytes().to_vec()]).unwrap();
            let error = answer.offset - ahead as f64;
            assert!(
                error.abs() <= answer.distance as f64,
                "{answer:?} for {ahead}"
            );
            assert_eq!((answer.stratum, answer.reference_id), (1, *b"TEST"));
            // One unit of root dispersion is 15 µs, the resolution 120 ns.
            assert_eq!(answer.distance, answer.delay / 2 + 15_258 + 120);
        }
    }

    #[test]
    fn refusals_are_told_with_their_code() {
        let refused = ask(|q, now| {
            let kiss = Packet {
                stratum: 0,
                reference_id: *b"RATE",
                ..good(q, now, 0)
            };
            vec![kiss.to_bytes().to_vec()]
        });
        assert!(matches!(
            refused,
            Err(NtpError::Disbelieved(Disbelief::Kiss(code))) if &code == b"RATE"
        ));
    }

    #[test]
    fn forged_and_malformed_answers_do_not_hide_the_good_one() {
        let answer = ask(|q, now| {
            let honest = good(q, now, 5_000_000);
            let forged = Packet {
                origin: NtpTime(q.transmit.0 ^ 1),
                ..good(q, now, 1_000_000_000)
            };
            let mirrored = q.to_bytes().to_vec();
            vec![
                forged.to_bytes().to_vec(),
                vec![0x24; 47],
                mirrored,
                honest.to_bytes().to_vec(),
            ]
        });
        let answer = answer.unwrap();
        let error = answer.offset - 5e6;
        // The forged one is a second off; how long the good one takes is the machine's affair.
        assert!(error.abs() <= answer.distance as f64, "{answer:?}");
    }

    #[test]
    fn nothing_but_noise_is_named() {
        let forged = ask(|q, now| {
            let other = Packet {
                origin: NtpTime(1),
                ..good(q, now, 0)
            };
            vec![other.to_bytes().to_vec()]
        });
        assert!(matches!(
            forged,
            Err(NtpError::Disbelieved(Disbelief::Origin))
        ));
        let garbage = ask(|_, _| vec![vec![1, 2, 3]]);
        assert!(matches!(
            garbage,
            Err(NtpError::Malformed(PacketError::TooShort(3)))
        ));
        let silence = ask(|_, _| Vec::new());
        assert!(matches!(silence, Err(NtpError::Silent)));
    }

    #[test]
    fn figures_worked_out_by_hand() {
        // RFC 5905, figure 15, with T1 = 0 at the epoch: 100 ns there, 300 back, 50 at the server,
        // which is ahead by 1 s: T2 = 1 s + 100, T3 = 1 s + 150, T4 = 450.
        let base = 1_700_000_000_000_000_000;
        let stamp = |nanos| Stamp {
            nanos,
            domain: Domain::Realtime,
            source: Source::Kernel,
        };
        let packet = Packet {
            stratum: 3,
            precision: -30,
            receive: NtpTime::from_unix(base + 1_000_000_100),
            transmit: NtpTime::from_unix(base + 1_000_000_150),
            ..Packet::default()
        };
        let answer = evaluate(&packet, 0, Some(stamp(base)), stamp(base + 450)).unwrap();
        assert_eq!(answer.delay, 400);
        assert!((answer.offset - 999_999_900.0).abs() < 1e-6, "{answer:?}");
        assert_eq!(answer.distance, 200 + 1);
        assert_eq!(answer.stamps, Source::Kernel);
        // Without its stamp the question left when we were about to send it.
        let late = evaluate(&packet, base - 100, None, stamp(base + 450)).unwrap();
        assert_eq!((late.delay, late.stamps), (500, Source::User));
        // An answer that took less than no time.
        let stepped = evaluate(&packet, 0, Some(stamp(base)), stamp(base - 5_000_000));
        assert!(matches!(stepped, Err(NtpError::Delay(_))));
    }

    #[test]
    fn questions_are_not_repeated() {
        let mut client = Client::new("127.0.0.1:9".parse().unwrap()).unwrap();
        let first = client.cookie();
        assert!(first != 0 && client.cookie() != first);
    }
}

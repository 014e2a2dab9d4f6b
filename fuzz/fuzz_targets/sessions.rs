//! Two hosts and somebody on the wire between them who drops, repeats, damages and invents.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use parisync::security::{Identity, Incoming, Limits, PlainBuf, Sessions};
use parisync::time::{RawTime, Span};
use parisync::wire::{MAX_DATAGRAM, MESSAGE_LEN, NetworkId};
use rand_core::RngCore;
use std::net::SocketAddr;

#[derive(Debug, Arbitrary)]
struct Input {
    /// Datagrams delivered in good order before the trouble starts: six make a session.
    peace: u8,
    steps: Vec<Step>,
}

/// `nth` counts back from the newest datagram seen on the wire.
#[derive(Debug, Arbitrary)]
enum Step {
    Connect { b: bool },
    Send { b: bool },
    Wait { millis: u16 },
    Deliver { nth: u8 },
    Damage { nth: u8, at: u16, with: u8 },
    Cut { nth: u8, len: u16 },
    Move { nth: u8, from: u8 },
    Invent { b: bool, bytes: Vec<u8> },
}

struct Counter(u64);

impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        self.0 ^ (self.0 >> 32)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for byte in dest {
            *byte = self.next_u64() as u8;
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

struct Datagram {
    from: SocketAddr,
    to: usize,
    bytes: Vec<u8>,
}

struct World {
    now: RawTime,
    hosts: [Sessions; 2],
    wire: Vec<Datagram>,
    sent: [u64; 2],
    received: [u64; 2],
}

fn addr(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n as u8], 7))
}

impl World {
    fn deliver(&mut self, from: SocketAddr, to: usize, bytes: &[u8]) {
        let mut plain = PlainBuf::default();
        let host = &mut self.hosts[to];
        match host.handle(self.now, from, bytes, &mut plain) {
            Ok(Incoming::Message { bytes, .. }) => {
                // Nobody but the other host can have written this.
                assert_eq!(bytes, [1 - to as u8; MESSAGE_LEN]);
                self.received[to] += 1;
                assert!(self.received[to] <= self.sent[1 - to]);
            }
            Ok(Incoming::Handshake) | Err(_) => {}
        }
        self.collect(to, Some((from, bytes.len())));
    }

    fn collect(&mut self, n: usize, cause: Option<(SocketAddr, usize)>) {
        let mut out = [0; MAX_DATAGRAM];
        let mut answers = 0;
        while let Some((len, to)) = self.hosts[n].poll_transmit(&mut out) {
            answers += 1;
            if let Some((from, cause)) = cause {
                assert!(answers == 1 && to == from && len <= cause);
            }
            if let Some(to) = (0..2).find(|n| addr(*n) == to) {
                let bytes = out[..len].to_vec();
                let from = addr(n);
                self.wire.push(Datagram { from, to, bytes });
            }
        }
        while self.hosts[n].poll_event().is_some() {}
        let usage = self.hosts[n].usage();
        assert!(usage.peers <= 1 && usage.sessions <= 2);
        assert!(usage.pending <= 8 && usage.attempts <= 8);
    }

    fn step(&mut self, step: Step) {
        let picked = |wire: &[Datagram], nth: u8| {
            let back = usize::from(nth).checked_rem(wire.len())?;
            let datagram = wire.get(wire.len() - 1 - back)?;
            Some((datagram.from, datagram.to, datagram.bytes.clone()))
        };
        match step {
            Step::Connect { b } => {
                let n = usize::from(b);
                let expect = Some(self.hosts[1 - n].node_id());
                self.hosts[n].connect(self.now, addr(1 - n), expect);
                self.collect(n, None);
            }
            Step::Send { b } => {
                let n = usize::from(b);
                let peer = self.hosts[1 - n].node_id();
                let mut out = [0; MAX_DATAGRAM];
                let text = [n as u8; MESSAGE_LEN];
                if let Ok((len, _)) = self.hosts[n].seal(self.now, &peer, &text, &mut out) {
                    self.sent[n] += 1;
                    let bytes = out[..len].to_vec();
                    let (from, to) = (addr(n), 1 - n);
                    self.wire.push(Datagram { from, to, bytes });
                }
            }
            Step::Wait { millis } => {
                self.now += Span::from_millis(i64::from(millis));
                for n in 0..2 {
                    self.hosts[n].handle_timeout(self.now);
                    self.collect(n, None);
                }
            }
            Step::Deliver { nth } => {
                if let Some((from, to, bytes)) = picked(&self.wire, nth) {
                    self.deliver(from, to, &bytes);
                }
            }
            Step::Damage { nth, at, with } => {
                if let Some((from, to, mut bytes)) = picked(&self.wire, nth) {
                    let at = usize::from(at) % bytes.len();
                    bytes[at] = with;
                    self.deliver(from, to, &bytes);
                }
            }
            Step::Cut { nth, len } => {
                if let Some((from, to, mut bytes)) = picked(&self.wire, nth) {
                    bytes.truncate(usize::from(len));
                    self.deliver(from, to, &bytes);
                }
            }
            Step::Move { nth, from } => {
                if let Some((_, to, bytes)) = picked(&self.wire, nth) {
                    self.deliver(addr(usize::from(from)), to, &bytes);
                }
            }
            Step::Invent { b, bytes } => self.deliver(addr(9), usize::from(b), &bytes),
        }
        if self.wire.len() > 200 {
            self.wire.drain(..50);
        }
    }
}

fuzz_target!(|input: Input| {
    let now = RawTime::from_nanos(0);
    let limits = Limits {
        max_outbound: 2,
        max_inbound: 2,
        max_attempts: 8,
        max_pending: 8,
        max_sources: 16,
        ..Limits::default()
    };
    let host = |seed: u8| {
        let identity = Identity::from_secret(&[seed; 32]);
        let rng = Box::new(Counter(u64::from(seed)));
        Sessions::with_rng(&identity, NetworkId::default(), limits, now, rng)
    };
    let (Ok(a), Ok(b)) = (host(1), host(2)) else {
        return;
    };
    let mut world = World {
        now,
        hosts: [a, b],
        wire: Vec::new(),
        sent: [0; 2],
        received: [0; 2],
    };
    let peace = input.peace % 7;
    if peace > 0 {
        world.step(Step::Connect { b: false });
        (0..peace).for_each(|_| world.step(Step::Deliver { nth: 0 }));
    }
    if peace == 6 {
        for n in 0..2 {
            let other = world.hosts[1 - n].node_id();
            assert!(world.hosts[n].peer_addr(&other).is_some());
        }
    }
    for step in input.steps.into_iter().take(100) {
        world.step(step);
    }
});

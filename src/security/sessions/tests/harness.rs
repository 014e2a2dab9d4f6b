//! A network of sessions without sockets or clocks: datagrams may be lost, doubled and delayed.

use super::super::{Incoming, PlainBuf, Refusal, SessionEvent, Sessions};
use crate::security::{Identity, Limits};
use crate::time::{RawTime, Span};
use crate::topology::NodeId;
use crate::wire::{MAX_DATAGRAM, MESSAGE_LEN, NetworkId};
use rand_core::RngCore;
use std::net::SocketAddr;

/// SplitMix64 (Steele, Lea, Flood 2014): repeatable, unfit for keys.
#[derive(Clone)]
pub(super) struct TestRng(pub(super) u64);

impl RngCore for TestRng {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

pub(super) fn addr(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 5000))
}

pub(super) fn sessions(seed: u8, limits: Limits, now: RawTime) -> Sessions {
    Sessions::with_rng(
        &Identity::from_secret(&[seed; 32]),
        NetworkId::default(),
        limits,
        now,
        Box::new(TestRng(u64::from(seed))),
    )
    .unwrap()
}

pub(super) struct Node {
    pub(super) sessions: Sessions,
    pub(super) addr: SocketAddr,
    pub(super) events: Vec<SessionEvent>,
    /// Senders and first bytes of the messages received.
    pub(super) inbox: Vec<(NodeId, u8)>,
    pub(super) refused: Vec<Refusal>,
}

impl Node {
    pub(super) fn id(&self) -> NodeId {
        self.sessions.node_id()
    }

    pub(super) fn established(&self) -> Vec<(NodeId, bool)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                SessionEvent::Established { peer, inbound, .. } => Some((*peer, *inbound)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn closed(&self) -> usize {
        let closed = |event: &&SessionEvent| matches!(event, SessionEvent::Closed { .. });
        self.events.iter().filter(closed).count()
    }
}

#[derive(Clone)]
pub(super) struct Datagram {
    pub(super) at: RawTime,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// What the network does to datagrams, in percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) doubled: u64,
    /// Each datagram takes between 1 ms and this.
    pub(super) delay_ms: u64,
}

pub(super) const CALM: Weather = Weather {
    loss: 0,
    doubled: 0,
    delay_ms: 1,
};

pub(super) struct Net {
    pub(super) nodes: Vec<Node>,
    pub(super) now: RawTime,
    pub(super) wire: Vec<Datagram>,
    /// Everything ever sent, for those who listen.
    pub(super) log: Vec<Datagram>,
    pub(super) weather: Weather,
    pub(super) wakes: usize,
    rng: TestRng,
}

impl Net {
    pub(super) fn new(nodes: usize, limits: Limits, weather: Weather, seed: u64) -> Self {
        let now = RawTime::from_nanos(0);
        let node = |n: usize| Node {
            sessions: sessions(n as u8 + 1, limits, now),
            addr: addr(n),
            events: Vec::new(),
            inbox: Vec::new(),
            refused: Vec::new(),
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            now,
            wire: Vec::new(),
            log: Vec::new(),
            weather,
            wakes: 0,
            rng: TestRng(seed),
        }
    }

    pub(super) fn connect(&mut self, from: usize, to: usize) {
        let (addr, id) = (self.nodes[to].addr, self.nodes[to].id());
        let now = self.now;
        self.nodes[from].sessions.connect(now, addr, Some(id));
        self.drain(from);
    }

    /// Seals a message whose first byte is `tag`.
    pub(super) fn send(&mut self, from: usize, to: usize, tag: u8) -> bool {
        let id = self.nodes[to].id();
        let mut out = [0; MAX_DATAGRAM];
        let mut text = [0; MESSAGE_LEN];
        text[0] = tag;
        let now = self.now;
        match self.nodes[from].sessions.seal(now, &id, &text, &mut out) {
            Ok((len, addr)) => {
                self.post(from, addr, &out[..len]);
                true
            }
            Err(_) => false,
        }
    }

    fn post(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        let percent = |rng: &mut TestRng, p| rng.next_u64() % 100 < p;
        let copies = 1 + usize::from(percent(&mut self.rng, self.weather.doubled));
        for _ in 0..copies {
            let delay = 1 + self.rng.next_u64() % self.weather.delay_ms;
            let datagram = Datagram {
                at: self.now + Span::from_millis(delay as i64),
                from: self.nodes[from].addr,
                to,
                bytes: bytes.to_vec(),
            };
            self.log.push(datagram.clone());
            if !percent(&mut self.rng, self.weather.loss) {
                self.wire.push(datagram);
            }
        }
    }

    pub(super) fn drain(&mut self, n: usize) {
        let mut out = [0; MAX_DATAGRAM];
        while let Some((len, to)) = self.nodes[n].sessions.poll_transmit(&mut out) {
            self.post(n, to, &out[..len]);
        }
        while let Some(event) = self.nodes[n].sessions.poll_event() {
            self.nodes[n].events.push(event);
        }
    }

    pub(super) fn deliver(&mut self, datagram: &Datagram) {
        let Some(n) = self.nodes.iter().position(|node| node.addr == datagram.to) else {
            return;
        };
        let node = &mut self.nodes[n];
        let mut plain = PlainBuf::default();
        match node
            .sessions
            .handle(self.now, datagram.from, &datagram.bytes, &mut plain)
        {
            Ok(Incoming::Message { peer, bytes }) => node.inbox.push((peer, bytes[0])),
            Ok(Incoming::Handshake) => {}
            Err(refusal) => node.refused.push(refusal),
        }
        self.drain(n);
    }

    /// Lets `span` pass.
    pub(super) fn run(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            let arrival = self.wire.iter().map(|d| d.at);
            let timers = self.nodes.iter().filter_map(|n| n.sessions.next_timeout());
            let next = arrival.chain(timers).min().filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if let Some(i) = self.wire.iter().position(|d| d.at <= self.now) {
                let datagram = self.wire.swap_remove(i);
                self.deliver(&datagram);
                continue;
            }
            for n in 0..self.nodes.len() {
                self.wakes += 1;
                self.nodes[n].sessions.handle_timeout(self.now);
                self.drain(n);
            }
        }
    }

    /// A pair that has met.
    pub(super) fn pair(limits: Limits) -> Self {
        let mut net = Self::new(2, limits, CALM, 1);
        net.connect(0, 1);
        net.run(Span::from_secs(1));
        assert_eq!(net.nodes[0].established(), [(net.nodes[1].id(), false)]);
        assert_eq!(net.nodes[1].established(), [(net.nodes[0].id(), true)]);
        net
    }
}

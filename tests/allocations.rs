//! A node in its steady state allocates nothing: neither to receive, authenticate and take in a
//! packet, nor to make, seal and send one, nor for its rounds, nor to have all that recorded. And
//! what it allocates before is bounded.

#[path = "../benches/work/mod.rs"]
mod work;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hwts::alloc::{Counting, Counts, this_thread};
use hwts::clock::RawClock;
use hwts::transport::{Transport, UdpConfig, UdpTransport};
use parisync::engine::PeerEvent;
use parisync::node::{LinkId, Node, NodeConfig, RawStamp, Strategies};
use parisync::record::{Header, RawScale, Recorder, Taped};
use parisync::security::{Identity, Limits, Sessions};
use parisync::service::core::{Core, Outgoing};
use parisync::service::local::LocalClock;
use parisync::service::port::{Incoming, Port};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::wire::{ClockState, MAX_DATAGRAM, NetworkId, StampSource, TIME_DATAGRAM_LEN};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND: i64 = 1_000_000_000;
/// From a datagram's transmit stamp to its receive stamp.
const DELAY: i64 = 5_000;
/// How often every node gets its turn; poll intervals are far longer.
const TURN: i64 = 1_000_000;

/// One node with its own bad oscillator, and what it has allocated.
struct Host {
    core: Core,
    ppm: i64,
    allocated: u64,
    /// Writes down what the node is told, from a thread whose allocations do not count.
    recorder: Recorder,
}

impl Host {
    fn new(number: u8) -> Self {
        let identity = Identity::from_secret(&[number + 1; 32]);
        let ppm = i64::from(number) * 12 - 48;
        let now = raw(ppm, 0);
        let epoch = VirtualTime::from_nanos(SECOND * 1_800_000_000 + i64::from(number) * 1_000_000);
        let line = VirtualLine::new(now, epoch, Rate::ZERO);
        let node = Node::new(NodeConfig::default(), now, line, u64::from(number));
        let network = NetworkId::default();
        let sessions = Sessions::new(&identity, network, Limits::default(), now)
            .expect("the system gives random bytes");
        let id = identity.node_id();
        let config = node.config().clone();
        let strategies = Strategies::default();
        let raw_clock = (RawScale::Virtual, None);
        let header = Header::new(id, strategies, raw_clock, now, line, number.into(), config);
        let (recorder, tape) = Recorder::on(io::sink(), Path::new("nowhere"), &header)
            .expect("there is a thread to be had");
        let node = Taped::new(node, Some(tape));
        let core = Core::new(id, node, sessions, Default::default());
        Self {
            core,
            ppm,
            allocated: 0,
            recorder,
        }
    }

    /// Lets the node do something, and counts what it allocates for that.
    fn run<T>(&mut self, work: impl FnOnce(&mut Core, i64) -> T) -> T {
        let before = this_thread();
        let result = work(&mut self.core, self.ppm);
        self.allocated += (this_thread() - before).allocations;
        result
    }

    fn exchanges(&self) -> u64 {
        self.core.totals().exchanges
    }
}

/// What an oscillator with this error shows at a true time.
fn raw(ppm: i64, at: i64) -> RawTime {
    RawTime::from_nanos(SECOND + at + at / 1_000_000 * ppm)
}

fn stamp(ppm: i64, at: i64) -> RawStamp {
    RawStamp {
        at: raw(ppm, at),
        error: Span::from_nanos(20),
        source: StampSource::Kernel,
    }
}

fn address(number: usize) -> SocketAddr {
    (Ipv4Addr::new(10, 0, number as u8, 1), 4711).into()
}

struct Network {
    hosts: Vec<Host>,
    now: i64,
    flying: VecDeque<(usize, usize, Vec<u8>)>,
}

impl Network {
    /// So many nodes that all know each other's address.
    fn new(count: u8) -> Self {
        let mut hosts: Vec<Host> = (0..count).map(Host::new).collect();
        for (me, host) in hosts.iter_mut().enumerate() {
            for other in (0..usize::from(count)).filter(|other| *other != me) {
                host.core
                    .peer_event(raw(host.ppm, 0), PeerEvent::Contact(address(other)));
            }
        }
        Self {
            hosts,
            now: 0,
            flying: VecDeque::new(),
        }
    }

    fn run_for(&mut self, seconds: i64) {
        let end = self.now + seconds * SECOND;
        while self.now < end {
            self.now += TURN;
            for number in 0..self.hosts.len() {
                self.turn(number);
            }
            while let Some((from, to, bytes)) = self.flying.pop_front() {
                let at = self.now + DELAY;
                self.hosts[to].run(|core, ppm| {
                    // What is refused is seen in the count of exchanges.
                    let _ = core.datagram(raw(ppm, at), address(from), &bytes, stamp(ppm, at));
                });
                self.turn(to);
            }
        }
    }

    /// Lets one node do all that is due.
    fn turn(&mut self, number: usize) {
        let (at, count) = (self.now, self.hosts.len());
        let host = &mut self.hosts[number];
        let mut out = [0; MAX_DATAGRAM];
        host.run(|core, ppm| {
            let now = raw(ppm, at);
            if core.next_timeout() <= now {
                core.tick(now);
            }
        });
        loop {
            while host
                .run(|core, ppm| core.poll_notice(raw(ppm, at)))
                .is_some()
            {}
            let sent = host.run(|core, ppm| {
                let outgoing = core.poll_send(raw(ppm, at), &mut out)?;
                if let Some(packet) = outgoing.packet {
                    core.sent(packet, stamp(ppm, at));
                }
                Some(outgoing)
            });
            let Some(outgoing) = sent else { break };
            if let Some(to) = (0..count).find(|to| address(*to) == outgoing.to) {
                self.flying
                    .push_back((number, to, out[..outgoing.len].to_vec()));
            }
        }
    }
}

#[test]
fn a_node_with_eight_neighbours_exchanges_without_allocating() {
    let mut network = Network::new(9);
    network.run_for(30);
    for host in &mut network.hosts {
        assert_eq!(host.core.clock().state, ClockState::Synchronized);
        assert!(
            host.allocated > 0,
            "the count works: sessions and neighbours were allocated"
        );
        host.allocated = 0;
    }
    let before: Vec<u64> = network.hosts.iter().map(Host::exchanges).collect();
    network.run_for(30);
    for (host, before) in network.hosts.iter().zip(before) {
        let exchanges = host.exchanges() - before;
        assert!(
            exchanges >= 8 * 25,
            "only {exchanges} exchanges in 30 s with 8 neighbours"
        );
        assert_eq!(host.allocated, 0, "in {exchanges} exchanges");
    }
    for host in network.hosts {
        drop(host.core);
        host.recorder.finish();
    }
}

#[test]
fn no_strategy_allocates() {
    for piece in work::pieces() {
        let mut work = piece.settled();
        let before = this_thread();
        (0..1_000).for_each(|_| work());
        assert_eq!(this_thread() - before, Counts::default(), "{}", piece.name);
    }
}

/// The name of a packet that a node made.
fn some_packet() -> Option<(LinkId, u32)> {
    let mut network = Network::new(2);
    network.run_for(1);
    let core = &mut network.hosts[0].core;
    let later = core.next_timeout() + Span::from_secs(1);
    core.tick(later);
    let mut out = [0; MAX_DATAGRAM];
    let mut sent = std::iter::from_fn(|| core.poll_send(later, &mut out));
    sent.find_map(|outgoing| outgoing.packet)
}

#[test]
fn a_port_sends_stamps_and_receives_without_allocating() {
    const EXCHANGES: usize = 300;
    let open = || {
        let config = UdpConfig {
            max_datagram: MAX_DATAGRAM,
            ..UdpConfig::new((Ipv4Addr::LOCALHOST, 0).into())
        };
        let transport = UdpTransport::open(&config).unwrap();
        Port::new(transport.into(), LocalClock::new(RawClock::Monotonic))
    };
    let mut ports = [open(), open()];
    let packet = some_packet();
    assert!(packet.is_some());
    let bytes = [7; TIME_DATAGRAM_LEN];
    let (mut sent, mut received) = (0, 0);
    let before = this_thread();
    for number in 0..2 * EXCHANGES {
        // To and fro, as in exchanges.
        let (from, to) = (number % 2, (number + 1) % 2);
        let outgoing = Outgoing {
            to: ports[to].transport().local_addr(),
            len: bytes.len(),
            packet,
        };
        ports[from].send(&outgoing, &bytes).unwrap();
        ports[to].wait(Duration::from_secs(1), None).unwrap();
        for port in &mut ports {
            port.drain(|incoming| match incoming {
                Incoming::Sent { .. } => sent += 1,
                Incoming::Datagram { bytes, .. } => received += usize::from(bytes.len() > 1),
            })
            .unwrap();
        }
    }
    assert_eq!(this_thread() - before, Counts::default());
    assert_eq!(received, 2 * EXCHANGES);
    assert!(sent > 2 * EXCHANGES - 10, "only {sent} transmit stamps");
}

#[test]
fn a_node_takes_its_memory_when_it_is_made() {
    let before = this_thread();
    let line = VirtualLine::new(raw(0, 0), VirtualTime::from_nanos(0), Rate::ZERO);
    let node: Node = Node::new(NodeConfig::default(), raw(0, 0), line, 1);
    let node_bytes = (this_thread() - before).bytes + size_of_val(&node) as u64;

    let identity = Identity::from_secret(&[1; 32]);
    let before = this_thread();
    let network = NetworkId::default();
    let sessions = Sessions::new(&identity, network, Limits::default(), raw(0, 0)).unwrap();
    let session_bytes = (this_thread() - before).bytes + size_of_val(&sessions) as u64;

    println!("node {node_bytes} bytes, sessions {session_bytes} bytes");
    assert!(node_bytes <= 118 << 10, "node {node_bytes} bytes");
    assert!(session_bytes <= 512 << 10, "sessions {session_bytes} bytes");
}

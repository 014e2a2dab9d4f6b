//! Packets by AF_XDP between network namespaces. Needs root and a kernel with XDP on veth; says
//! that it was skipped, and why, elsewhere.
#![expect(clippy::unwrap_used, reason = "a failing helper is a failing test")]

mod away;
mod leaks;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hwts::netlink;
use hwts::transport::{
    StampRequest, Transport, TxEvent, TxToken, UdpConfig, UdpTransport, WaitMode, XdpConfig,
    XdpTransport,
};
use hwts::xdp::{Copying, XdpError};
use hwts::{Domain, Source, Stamp};
use support::{Namespace, VETH, pair};

/// Long enough for any machine; nothing here waits for it unless something is lost.
const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 4711;

fn config() -> XdpConfig {
    let mut udp = UdpConfig::new(format!("[::]:{PORT}").parse().unwrap());
    udp.tx_timeout_ms = 10_000;
    XdpConfig {
        interface: Some(VETH.to_owned()),
        frames: 64,
        ..XdpConfig::new(udp)
    }
}

fn open(namespace: &Namespace) -> Result<XdpTransport, XdpError> {
    namespace.inside(|| XdpTransport::open(&config()))
}

/// Two namespaces with a transport each.
fn joined() -> Option<([Namespace; 2], [XdpTransport; 2])> {
    let namespaces = pair()?;
    let [a, b] = &namespaces;
    match (open(a), open(b)) {
        (Ok(one), Ok(two)) => Some((namespaces, [one, two])),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

/// Opens a transport on a port that was used before. The time socket is not closed on exec: a
/// program that another test starts may have it for a moment.
fn patiently<T, E: std::fmt::Display>(open: impl Fn() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open() {
            Ok(transport) => return transport,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), PORT)
}

#[derive(Debug, Default)]
struct Passed {
    sent: HashMap<TxToken, u32>,
    left: HashMap<u32, Stamp>,
    arrived: HashMap<u32, (Stamp, SocketAddr)>,
}

/// Sends numbered datagrams until `count` of them have arrived and all stamps are there.
fn pass<A: Transport, B: Transport>(
    from: &mut A,
    to: &mut B,
    at: SocketAddr,
    count: u32,
) -> Passed {
    let mut passed = Passed::default();
    let deadline = Instant::now() + PATIENCE;
    let mut next = 0;
    while passed.arrived.len() < count as usize || passed.left.len() < next as usize {
        assert!(Instant::now() < deadline, "{next} sent: {passed:?}");
        if next < count {
            let token = from.send(at, &next.to_be_bytes()).unwrap();
            passed.sent.insert(token, next);
            next += 1;
        }
        from.wait(Some(Duration::from_millis(1)), None).unwrap();
        from.poll_tx(|event| match event {
            TxEvent::Stamped { token, stamp, .. } => {
                let number = passed.sent[&token];
                assert_eq!(passed.left.insert(number, stamp), None);
            }
            TxEvent::Lost { token } => panic!("{token:?}"),
        })
        .unwrap();
        // What the asking end hears beside: word of its neighbour.
        from.receive(8, |_| {}).unwrap();
        to.wait(Some(Duration::from_millis(1)), None).unwrap();
        to.receive(8, |received| {
            let number = u32::from_be_bytes(received.bytes.try_into().unwrap());
            let arrival = (received.stamp, received.from);
            assert!(passed.arrived.insert(number, arrival).is_none());
        })
        .unwrap();
    }
    passed
}

/// Sends until the kernel has found out the neighbour, so that packets go by frames.
fn find_out<B: Transport>(from: &mut XdpTransport, to: &mut B, at: SocketAddr) {
    // Datagrams may be lost while interfaces and their programs come and go.
    let deadline = Instant::now() + PATIENCE;
    let (mut left, mut arrived) = (false, false);
    while !(left && arrived) {
        assert!(Instant::now() < deadline, "{:?}", from.counters());
        // While it is found out the kernel keeps a few packets and refuses more.
        let _ = from.send(at, &[0; 4]);
        std::thread::sleep(Duration::from_millis(2));
        from.wait(Some(Duration::from_millis(1)), None).unwrap();
        from.poll_tx(|event| {
            left |= matches!(event, TxEvent::Stamped { stamp, .. } if stamp.source == Source::Xdp);
        })
        .unwrap();
        from.receive(8, |_| {}).unwrap();
        to.wait(Some(Duration::from_millis(1)), None).unwrap();
        to.receive(8, |_| arrived = left).unwrap();
    }
    // What is still on its way is not what is to be looked at.
    std::thread::sleep(Duration::from_millis(20));
    while to.receive(64, |_| {}).unwrap() > 0 {}
    while from.poll_tx(|_| {}).unwrap() > 0 {}
}

#[test]
fn datagrams_pass_by_frames_and_are_stamped_both_ways() {
    let Some((_namespaces, [mut one, mut two])) = joined() else {
        return;
    };
    assert_eq!(one.interface(), VETH);
    assert_eq!(one.queues(), 1);
    assert!(!one.is_zero_copy(), "veth copies");
    for (to, back) in [("192.0.2.2", "192.0.2.1"), ("fd00::2", "fd00::1")] {
        find_out(&mut one, &mut two, address(to));
        let began = Domain::Realtime.now();
        let passed = pass(&mut one, &mut two, address(to), 50);
        let ended = Domain::Realtime.now();
        assert!(passed.arrived.values().all(|a| a.1 == address(back)));
        for stamp in passed
            .left
            .values()
            .chain(passed.arrived.values().map(|a| &a.0))
        {
            assert_eq!(
                (stamp.source, stamp.domain),
                (Source::Xdp, Domain::Realtime)
            );
            assert!((began..=ended).contains(&stamp.nanos));
        }
    }
    let (sent, received) = (one.counters(), two.counters());
    assert_eq!((sent.tx_lost, sent.tx_unmatched), (0, 0));
    assert_eq!(sent.tx_xdp + sent.tx_kernel, sent.sent);
    assert_eq!(received.received, received.rx_xdp);
    // And answers take the same way.
    let back = address("192.0.2.1");
    find_out(&mut two, &mut one, back);
    let passed = pass(&mut two, &mut one, back, 10);
    assert!(passed.arrived.values().all(|a| a.1 == address("192.0.2.2")));
}

#[test]
fn an_ordinary_socket_at_the_other_end_does_as_well() {
    let Some((namespaces, [mut one, two])) = joined() else {
        return;
    };
    drop(two);
    // Whatever is on its way while veth changes over is lost.
    until_detached(&namespaces[1]);
    let mut other = namespaces[1].inside(|| {
        let config = UdpConfig::new(format!("[::]:{PORT}").parse().unwrap());
        patiently(|| UdpTransport::open(&config))
    });
    for to in ["192.0.2.2", "fd00::2"] {
        find_out(&mut one, &mut other, address(to));
        let passed = pass(&mut one, &mut other, address(to), 20);
        assert!(passed.left.values().all(|s| s.source == Source::Xdp));
        assert!(
            passed
                .arrived
                .values()
                .all(|a| a.0.source == Source::Kernel)
        );
    }
    // The kernel leaves the checksum of what it sends over veth half done.
    let passed = pass(&mut other, &mut one, address("192.0.2.1"), 20);
    let by_kernel: Vec<u32> = passed
        .arrived
        .iter()
        .filter(|(_, a)| a.0.source != Source::Xdp)
        .map(|(number, _)| *number)
        .collect();
    assert!(by_kernel.is_empty(), "{by_kernel:?} {:?}", one.counters());
}

#[test]
fn others_are_left_alone() {
    let Some((namespaces, [mut one, _two])) = joined() else {
        return;
    };
    // Another port.
    let bind = |at: &str| {
        let at: SocketAddr = at.parse().unwrap();
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let here = namespaces[0].inside(|| bind("192.0.2.1:9"));
    let there = namespaces[1].inside(|| bind("192.0.2.2:9"));
    there
        .send_to(b"not ours", here.local_addr().unwrap())
        .unwrap();
    assert_eq!(here.recv(&mut [0; 16]).unwrap(), 8);
    // A datagram in fragments to our port takes the ordinary way.
    there.send_to(&[7; 1_900], address("192.0.2.1")).unwrap();
    // Loopback does, too.
    let own = namespaces[0].inside(|| bind("127.0.0.1:0"));
    own.send_to(b"hello", address("127.0.0.1")).unwrap();
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 2 && Instant::now() < deadline {
        one.wait(Some(Duration::from_millis(100)), None).unwrap();
        one.receive(8, |r| seen.push((r.bytes.len(), r.stamp.source)))
            .unwrap();
    }
    seen.sort_unstable();
    let lens: Vec<usize> = seen.iter().map(|(len, _)| *len).collect();
    assert_eq!(lens, [5, 1_900]);
    assert!(seen.iter().all(|(_, source)| *source != Source::Xdp));
}

#[test]
fn a_program_that_is_there_stays_there() {
    let Some((namespaces, [_one, _two])) = joined() else {
        return;
    };
    let mut second = config();
    second.udp.local.set_port(PORT + 1);
    let refused = namespaces[0].inside(|| XdpTransport::open(&second));
    assert!(matches!(refused, Err(XdpError::Occupied(_))), "{refused:?}");
    let attached = || netlink::links().unwrap().iter().filter(|l| l.xdp).count();
    assert_eq!(namespaces[0].inside(attached), 1);
    let mut exact = second;
    exact.copying = Copying::Never;
    exact.interface = Some("lo".to_owned());
    assert!(namespaces[0].inside(|| XdpTransport::open(&exact)).is_err());
}

#[test]
fn what_was_wished_for_and_is_not_to_be_had_is_an_error_that_leaves_nothing() {
    let Some([a, _b]) = pair() else { return };
    let mut zero_copy = config();
    zero_copy.copying = Copying::Never;
    match a.inside(|| XdpTransport::open(&zero_copy)) {
        Err(error @ (XdpError::NotPermitted(_) | XdpError::Os { .. })) => {
            eprintln!("SKIPPED: {error}");
        }
        refused => {
            assert!(
                matches!(refused, Err(XdpError::NoZeroCopy(_))),
                "{refused:?}"
            );
            assert!(!is_attached(&a));
        }
    }
}

#[test]
fn user_stamps_and_all_ways_to_wait_work() {
    let Some((namespaces, transports)) = joined() else {
        return;
    };
    drop(transports);
    for wait in [
        WaitMode::Block,
        WaitMode::BusyPoll { micros: 50 },
        WaitMode::Spin,
    ] {
        let open = |namespace: &Namespace| {
            let mut config = config();
            config.udp.stamps = StampRequest::User;
            config.udp.wait = wait;
            namespace.inside(|| patiently(|| XdpTransport::open(&config)))
        };
        let (mut one, mut two) = (open(&namespaces[0]), open(&namespaces[1]));
        assert_eq!(one.capabilities().tx, Source::User);
        let passed = pass(&mut one, &mut two, address("192.0.2.2"), 10);
        assert!(passed.arrived.values().all(|a| a.0.source == Source::User));
    }
}

fn is_attached(namespace: &Namespace) -> bool {
    namespace.inside(|| netlink::links().unwrap().iter().any(|link| link.xdp))
}

/// The kernel closes what a process held before it says that it is dead, but frees some of it a
/// moment later.
fn until_detached(namespace: &Namespace) {
    let deadline = Instant::now() + PATIENCE;
    while is_attached(namespace) {
        assert!(Instant::now() < deadline, "still attached");
        std::thread::sleep(Duration::from_millis(1));
    }
}

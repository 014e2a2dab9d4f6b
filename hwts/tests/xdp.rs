//! Packets by AF_XDP between network namespaces. Needs root and a kernel with XDP on veth; says
//! that it was skipped, and why, elsewhere.
#![expect(clippy::unwrap_used, reason = "a failing helper is a failing test")]

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hwts::netlink;
use hwts::transport::{
    StampRequest, Transport, TxEvent, TxToken, UdpConfig, UdpTransport, WaitMode, XdpConfig,
    XdpNote, XdpTransport,
};
use hwts::xdp::{Copying, XdpError};
use hwts::{Domain, Source, Stamp};
use support::{Namespace, VETH, join, pair};

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

#[test]
fn a_link_that_goes_down_and_comes_up_carries_packets_again() {
    let Some((namespaces, [mut one, mut two])) = joined() else {
        return;
    };
    pass(&mut one, &mut two, address("192.0.2.2"), 10);
    namespaces[1]
        .ip(&format!("link set dev {VETH} down"))
        .unwrap();
    // The kernel says what it says; nothing hangs and nothing fails for good.
    for _ in 0..5 {
        let _ = one.send(address("192.0.2.2"), &[0; 3]);
        one.wait(Some(Duration::from_millis(2)), None).unwrap();
        one.poll_tx(|_| {}).unwrap();
        one.receive(8, |_| {}).unwrap();
    }
    namespaces[1]
        .ip(&format!("link set dev {VETH} up"))
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut arrived = false;
    while !arrived {
        assert!(Instant::now() < deadline, "{:?}", one.counters());
        let _ = one.send(address("192.0.2.2"), &[0; 3]);
        one.wait(Some(Duration::from_millis(5)), None).unwrap();
        one.poll_tx(|_| {}).unwrap();
        one.receive(8, |_| {}).unwrap();
        two.wait(Some(Duration::from_millis(5)), None).unwrap();
        two.receive(8, |r| arrived |= r.stamp.source == Source::Xdp)
            .unwrap();
    }
}

/// What the transport has to say, which must live in this namespace, until there is something.
fn next_note(namespace: &Namespace, transport: &mut XdpTransport) -> XdpNote {
    let deadline = Instant::now() + PATIENCE;
    namespace.inside(|| {
        loop {
            if let Some(note) = transport.next_note() {
                return note;
            }
            assert!(Instant::now() < deadline, "{:?}", transport.counters());
            let pause = Some(Duration::from_millis(5));
            transport.wait(pause, None).unwrap();
            transport.poll_tx(|_| {}).unwrap();
            transport.receive(8, |_| {}).unwrap();
        }
    })
}

#[test]
fn an_interface_that_goes_is_let_go_and_taken_again_when_it_is_back() {
    let Some((namespaces, [mut one, mut two])) = joined() else {
        return;
    };
    find_out(&mut one, &mut two, address("192.0.2.2"));
    for _ in 0..3 {
        // Something is on its way.
        let _ = one.send(address("192.0.2.2"), &[0; 3]);
        namespaces[0]
            .ip(&format!("link delete dev {VETH}"))
            .unwrap();
        for (namespace, transport) in namespaces.iter().zip([&mut one, &mut two]) {
            let gone = next_note(namespace, transport);
            assert!(matches!(&gone, XdpNote::Gone { interface } if interface == VETH));
            assert_eq!(transport.queues(), 0);
            assert_eq!(transport.capabilities().tx, Source::Kernel);
        }
        // The kernel sends what it can: here nowhere, and that is an error of this packet only.
        assert!(one.send(address("192.0.2.2"), &[0; 3]).is_err());
        join(&namespaces).unwrap();
        for (namespace, transport) in namespaces.iter().zip([&mut one, &mut two]) {
            let back = next_note(namespace, transport);
            assert!(matches!(back, XdpNote::Back { .. }), "{back}");
            assert_eq!(transport.queues(), 1);
            assert!(is_attached(namespace));
        }
        find_out(&mut one, &mut two, address("192.0.2.2"));
        let passed = pass(&mut one, &mut two, address("192.0.2.2"), 10);
        assert!(passed.arrived.values().all(|a| a.0.source == Source::Xdp));
    }
    drop((one, two));
    namespaces.iter().for_each(until_detached);
}

#[test]
fn an_interface_that_is_back_and_taken_is_waited_for() {
    let Some((namespaces, [mut one, two])) = joined() else {
        return;
    };
    drop(two);
    let here = &namespaces[0];
    here.ip(&format!("link delete dev {VETH}")).unwrap();
    join(&namespaces).unwrap();
    let mut second = config();
    second.udp.local.set_port(PORT + 1);
    let foreign = here.inside(|| XdpTransport::open(&second)).unwrap();
    let gone = next_note(here, &mut one);
    assert!(matches!(gone, XdpNote::Gone { .. }), "{gone}");
    let refused = next_note(here, &mut one);
    let why = XdpError::Occupied(VETH.to_owned()).to_string();
    assert!(matches!(&refused, XdpNote::Refused { why: said } if said.to_string() == why));
    drop(foreign);
    until_detached(here);
    for state in ["down", "up"] {
        here.ip(&format!("link set dev {VETH} {state}")).unwrap();
        // Each is seen.
        one.wait(Some(Duration::from_millis(50)), None).unwrap();
        let one = &mut one;
        here.inside(|| one.receive(8, |_| {}).unwrap());
    }
    let mut back = next_note(here, &mut one);
    if let XdpNote::Refused { why } = &back {
        // The kernel frees a queue a moment after its program has gone.
        assert!(matches!(why, XdpError::QueueTaken { .. }), "{why}");
        back = next_note(here, &mut one);
    }
    assert!(matches!(back, XdpNote::Back { .. }), "{back}");
    assert!(is_attached(here));
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

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// `VmPin` and `VmLck` of this process, kB.
fn locked() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines = status.lines();
    lines
        .filter(|l| l.starts_with("VmPin") || l.starts_with("VmLck"))
        .collect()
}

/// `HWTS_XDP_ROUNDS=1000` for more than a sign.
#[test]
fn attaching_and_detaching_leaks_nothing() {
    let rounds = std::env::var("HWTS_XDP_ROUNDS").map_or(20_u32, |text| text.parse().unwrap());
    let Some([a, _b]) = pair() else { return };
    // Descriptors of other tests come and go in this process: look in one of our own.
    let Some(_alone) = alone("attaching_and_detaching_leaks_nothing") else {
        return;
    };
    let (mut before, start) = (None, Instant::now());
    for round in 0..rounds {
        match open(&a) {
            Ok(transport) => drop(transport),
            Err(error) if round == 0 => return eprintln!("SKIPPED: {error}"),
            Err(error) => panic!("round {round}: {error}"),
        }
        let now = (descriptors(), locked(), is_attached(&a));
        assert_eq!(*before.get_or_insert(now.clone()), now, "round {round}");
    }
    eprintln!("{rounds} times in {:.1?}", start.elapsed());
    assert!(!is_attached(&a));
}

/// A sign to run on in this process; the process that ran the test starts one that runs it alone.
fn alone(test: &str) -> Option<()> {
    const ALONE: &str = "HWTS_XDP_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return Some(());
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .status();
    assert!(status.unwrap().success());
    None
}

const CHILD: &str = "HWTS_XDP_CHILD";

/// Runs in a process of its own, to be killed.
#[test]
fn child_that_attaches_until_it_is_killed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    println!("\nbegin");
    loop {
        match XdpTransport::open(&config()) {
            Ok(_transport) => println!("attached"),
            Err(error) => println!("refused: {error}"),
        }
    }
}

#[test]
fn a_killed_process_leaves_no_program() {
    let Some((namespaces, transports)) = joined() else {
        return;
    };
    drop(transports);
    let namespace = &namespaces[0];
    let rounds =
        std::env::var("HWTS_XDP_ROUNDS").map_or(10_u32, |text| text.parse().unwrap()) / 10 + 5;
    let mut attached = 0;
    for round in 0..rounds {
        let mut child = namespace.inside(|| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "child_that_attaches_until_it_is_killed",
                    "--nocapture",
                ])
                .env(CHILD, "1")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let begun = lines.any(|line| line.unwrap() == "begin");
        assert!(begun);
        if round % 2 == 1 {
            // Others die before they are attached for the first time, or while they are.
            let first = lines.next().unwrap().unwrap();
            attached += u32::from(first == "attached");
        }
        // Spread over the time that attaching takes.
        std::thread::sleep(Duration::from_micros(u64::from(round) * 1_730 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        until_detached(namespace);
    }
    assert!(attached > 0);
    // The queue is free, too.
    assert!(open(namespace).is_ok());
    eprintln!("{rounds} killed");
}

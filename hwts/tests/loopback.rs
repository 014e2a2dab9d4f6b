//! Real packets over loopback, with the kernel's stamps.
#![expect(clippy::unwrap_used, reason = "a failing helper is a failing test")]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hwts::clock::StampConverter;
use hwts::transport::{
    Readiness, StampRequest, TransportError, TxEvent, TxToken, UdpConfig, UdpTransport, WaitMode,
};
use hwts::{Domain, Source, Stamp, Wake};

/// Long enough for any machine; nothing here waits for it unless something is lost.
const PATIENCE: Duration = Duration::from_secs(20);

fn open(local: &str) -> UdpTransport {
    open_with(UdpConfig {
        // A busy machine may take its time; no stamp is ever late on loopback.
        tx_timeout_ms: 10_000,
        ..UdpConfig::new(local.parse().unwrap())
    })
}

fn open_with(config: UdpConfig) -> UdpTransport {
    UdpTransport::open(&config).unwrap()
}

/// The kernel turns its stamps on in the background when the first socket asks for them.
fn warm_up() {
    let mut t = open("127.0.0.1:0");
    let deadline = Instant::now() + PATIENCE;
    let mut stamped = false;
    while !stamped {
        assert!(Instant::now() < deadline, "no kernel stamps on this host");
        t.send(t.local_addr(), b"warm up").unwrap();
        t.wait(Some(Duration::from_millis(100)), None).unwrap();
        t.poll_tx(|_| {}).unwrap();
        t.receive(8, |r| stamped |= r.stamp.source == Source::Kernel)
            .unwrap();
        thread::sleep(Duration::from_millis(1));
    }
}

struct Exchanged {
    tx: HashMap<TxToken, Stamp>,
    rx: HashMap<u32, (Stamp, SocketAddr)>,
}

/// Sends `count` numbered datagrams in bursts and collects all stamps.
fn exchange(from: &mut UdpTransport, to: &mut UdpTransport, count: u32) -> Exchanged {
    let addr = to.local_addr();
    let mut out = Exchanged {
        tx: HashMap::new(),
        rx: HashMap::new(),
    };
    let deadline = Instant::now() + PATIENCE;
    let mut sent = 0;
    while out.tx.len() < count as usize || out.rx.len() < count as usize {
        assert!(
            Instant::now() < deadline,
            "{} {}",
            out.tx.len(),
            out.rx.len()
        );
        for _ in 0..5.min(count - sent) {
            let token = from.send(addr, &sent.to_le_bytes()).unwrap();
            assert_eq!(token, TxToken(sent));
            sent += 1;
        }
        from.poll_tx(|event| match event {
            TxEvent::Stamped { token, stamp, .. } => {
                assert!(out.tx.insert(token, stamp).is_none(), "two stamps for one");
            }
            TxEvent::Lost { token } => panic!("lost the stamp of {token:?}"),
        })
        .unwrap();
        to.wait(Some(Duration::from_millis(10)), None).unwrap();
        to.receive(64, |r| {
            let number = u32::from_le_bytes(r.bytes.try_into().unwrap());
            assert!(out.rx.insert(number, (r.stamp, r.from)).is_none());
        })
        .unwrap();
    }
    out
}

fn kernel_stamps_in_order(local: &str) {
    warm_up();
    let (mut a, mut b) = (open(local), open(local));
    assert_eq!(a.capabilities().rx, Source::Kernel);
    assert_eq!(a.capabilities().tx, Source::Kernel);
    let count = 200;
    let got = exchange(&mut a, &mut b, count);
    let mut last = 0;
    for number in 0..count {
        let tx = got.tx[&TxToken(number)];
        let (rx, from) = got.rx[&number];
        assert_eq!((tx.source, rx.source), (Source::Kernel, Source::Kernel));
        assert_eq!((tx.domain, rx.domain), (Domain::Realtime, Domain::Realtime));
        // One clock stamps both ends, and one thread sends: all stamps are in one order.
        assert!(last <= tx.nanos && tx.nanos <= rx.nanos, "packet {number}");
        last = tx.nanos;
        assert_eq!(from, a.local_addr());
    }
    let (ca, cb) = (a.counters(), b.counters());
    assert_eq!(
        (ca.sent, ca.tx_kernel),
        (u64::from(count), u64::from(count))
    );
    assert_eq!((ca.tx_lost, ca.tx_unmatched, ca.resyncs), (0, 0, 0));
    assert_eq!(
        (cb.received, cb.rx_kernel),
        (u64::from(count), u64::from(count))
    );
}

#[test]
fn kernel_stamps_in_order_v4() {
    kernel_stamps_in_order("127.0.0.1:0");
}

#[test]
fn kernel_stamps_in_order_v6() {
    kernel_stamps_in_order("[::1]:0");
}

#[test]
fn a_dual_stack_socket_shows_ipv4_as_ipv4() {
    warm_up();
    let (mut any, mut v4) = (open("[::]:0"), open("127.0.0.1:0"));
    let (any_port, v4_addr) = (any.local_addr().port(), v4.local_addr());
    any.send(v4_addr, b"to 4").unwrap();
    v4.send(SocketAddr::new(v4_addr.ip(), any_port), b"to 6")
        .unwrap();
    for t in [&mut any, &mut v4] {
        let (mut tx, mut from) = (None, None);
        let deadline = Instant::now() + PATIENCE;
        while tx.is_none() || from.is_none() {
            assert!(Instant::now() < deadline);
            t.wait(Some(Duration::from_millis(10)), None).unwrap();
            t.poll_tx(|e| tx = Some(e)).unwrap();
            t.receive(4, |r| from = Some(r.from.ip())).unwrap();
        }
        let Some(TxEvent::Stamped { stamp, .. }) = tx else {
            panic!("{tx:?}");
        };
        assert_eq!(stamp.source, Source::Kernel);
        assert_eq!(from, Some(IpAddr::from([127, 0, 0, 1])));
    }
}

#[test]
fn ids_stay_in_step_through_failed_sends() {
    warm_up();
    let (mut a, mut b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    let too_long = vec![0; 70_000];
    for round in 0..20 {
        if round % 3 == 0 {
            let refused = a.send(b.local_addr(), &too_long);
            assert!(matches!(refused, Err(TransportError::Send { .. })));
        }
        if round % 3 == 1 {
            // No route and a senseless port.
            assert!(a.send("240.0.0.1:1".parse().unwrap(), b"x").is_err());
            assert!(
                a.send(SocketAddr::new([127, 0, 0, 1].into(), 0), b"x")
                    .is_err()
            );
        }
        let v6 = a.send("[::1]:9".parse().unwrap(), b"x");
        assert!(matches!(v6, Err(TransportError::WrongFamily { .. })));
        let before = Domain::Realtime.now();
        let token = a.send(b.local_addr(), b"good").unwrap();
        assert_eq!(token, TxToken(round));
        let mut event = None;
        let deadline = Instant::now() + PATIENCE;
        while event.is_none() {
            assert!(Instant::now() < deadline);
            a.poll_tx(|e| event = Some(e)).unwrap();
        }
        let Some(TxEvent::Stamped {
            token: of, stamp, ..
        }) = event
        else {
            panic!("{event:?}");
        };
        assert_eq!((of, stamp.source), (token, Source::Kernel));
        assert!(stamp.nanos >= before);
    }
    assert!(a.counters().resyncs > 0);
    assert_eq!(a.counters().tx_lost, 0);
    b.receive(64, |_| {}).unwrap();
}

#[test]
fn closed_ports_neither_stop_nor_spin_the_transport() {
    warm_up();
    let mut a = open("127.0.0.1:0");
    let closed = {
        let s = UdpSocket::bind("127.0.0.1:0").unwrap();
        s.local_addr().unwrap()
    };
    let mut stamped = 0;
    for _ in 0..20 {
        a.send(closed, b"anybody?").unwrap();
        a.poll_tx(|e| stamped += u32::from(matches!(e, TxEvent::Stamped { .. })))
            .unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while stamped < 20 {
        assert!(Instant::now() < deadline);
        a.wait(Some(Duration::from_millis(10)), None).unwrap();
        a.poll_tx(|e| stamped += u32::from(matches!(e, TxEvent::Stamped { .. })))
            .unwrap();
    }
    // All is read; a wait has nothing left to return for but its timeout.
    let ready = a.wait(Some(Duration::from_millis(5)), None).unwrap();
    assert_eq!(ready, Readiness::default());
}

#[test]
fn long_datagrams_are_dropped_and_counted() {
    let mut a = open("127.0.0.1:0");
    let mut b = open_with(UdpConfig {
        max_datagram: 100,
        ..UdpConfig::new("127.0.0.1:0".parse().unwrap())
    });
    for len in [100, 101, 50] {
        a.send(b.local_addr(), &vec![7; len]).unwrap();
    }
    let mut lengths = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while b.counters().truncated + b.counters().received < 3 {
        assert!(Instant::now() < deadline);
        b.wait(Some(Duration::from_millis(10)), None).unwrap();
        b.receive(8, |r| lengths.push(r.bytes.len())).unwrap();
    }
    assert_eq!(lengths, [100, 50]);
    assert_eq!(b.counters().truncated, 1);
}

#[test]
fn user_stamps_bracket_the_packet() {
    let user = UdpConfig {
        stamps: StampRequest::User,
        ..UdpConfig::new("127.0.0.1:0".parse().unwrap())
    };
    let (mut a, mut b) = (open_with(user), open_with(user));
    assert_eq!(a.capabilities().tx, Source::User);
    assert_eq!(a.capabilities().fallback, None);
    let got = exchange(&mut a, &mut b, 20);
    for number in 0..20 {
        let (tx, (rx, _)) = (got.tx[&TxToken(number)], got.rx[&number]);
        assert_eq!((tx.source, rx.source), (Source::User, Source::User));
        assert_eq!(tx.domain, Domain::MonotonicRaw);
        assert!(tx.nanos <= rx.nanos);
    }
    assert_eq!(a.counters().tx_user, 20);
    assert_eq!(b.counters().rx_user, 20);
}

#[test]
fn stamps_convert_into_the_bracket_of_raw_reads() {
    warm_up();
    let (mut a, mut b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    let mut raw = StampConverter::new(Domain::Realtime);
    let before = Domain::MonotonicRaw.now();
    let got = exchange(&mut a, &mut b, 50);
    let after = Domain::MonotonicRaw.now();
    for stamp in got.tx.values().chain(got.rx.values().map(|(s, _)| s)) {
        let c = raw.convert(*stamp).unwrap();
        assert!(
            before <= c.raw + c.error && c.raw - c.error <= after,
            "{c:?}"
        );
    }
}

#[test]
fn a_wake_ends_every_kind_of_wait() {
    for wait in [
        WaitMode::Block,
        WaitMode::BusyPoll { micros: 50 },
        WaitMode::Spin,
    ] {
        let t = open_with(UdpConfig {
            wait,
            ..UdpConfig::new("127.0.0.1:0".parse().unwrap())
        });
        let wake = Arc::new(Wake::new().unwrap());
        let waker = {
            let wake = Arc::clone(&wake);
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                wake.wake();
            })
        };
        let ready = t.wait(Some(PATIENCE), Some(&wake)).unwrap();
        assert!(ready.woken && !ready.readable, "{wait:?} {ready:?}");
        waker.join().unwrap();
        let ready = t.wait(Some(Duration::ZERO), Some(&wake)).unwrap();
        assert_eq!(ready, Readiness::default());
    }
}

#[test]
fn a_taken_port_is_named() {
    let a = open("127.0.0.1:0");
    let error = UdpTransport::open(&UdpConfig::new(a.local_addr())).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&a.local_addr().to_string()), "{text}");
    assert!(text.contains("another process"), "{text}");
}

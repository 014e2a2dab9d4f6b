//! Interfaces that go and come back.

use std::time::{Duration, Instant};

use hwts::Source;
use hwts::transport::{Transport, XdpNote, XdpTransport};
use hwts::xdp::XdpError;

use crate::support::{Namespace, VETH, join};
use crate::{PATIENCE, PORT, address, config, find_out, is_attached, joined, pass, until_detached};

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

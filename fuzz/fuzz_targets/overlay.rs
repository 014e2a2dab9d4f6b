//! Datagrams of link structures: any bytes, no panic, no signature where there is none. What is
//! read of a framed one reaches the machine, which must not panic over it either.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parisync::engine::overlay::{Endpoint, Realm, Unverified, parse_overlay};
use parisync::time::{RawTime, Span};
use parisync::topology::NodeId;
use parisync::topology::overlay::{AnyStructure, Contact, Key, Overlay, Structure, Waits};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let structure = Structure::ALL[usize::from(first % 4)];
    let realm = Realm {
        network: *b"network!",
        structure,
    };
    let mut framed = b"PSOV\x01".to_vec();
    framed.push(first % 4);
    framed.extend(rest.first());
    framed.push(0);
    framed.extend(realm.network);
    framed.extend(rest.get(1..).unwrap_or_default());
    let _ = parse_overlay(bytes, &realm);
    let Ok(Unverified::Message(claimed)) = parse_overlay(&framed, &realm) else {
        return;
    };
    let addr = ([192, 0, 2, 1], 1).into();
    let _ = claimed.verify(&realm.network, addr, None);
    let at = Endpoint {
        id: NodeId::from_bytes([1; 32]),
        solution: 0,
        addr,
        time_port: 1,
    };
    let from = Contact {
        key: Key(1 << 40),
        at,
    };
    let mut now = RawTime::from_nanos(0);
    let own = Key(1 << 50);
    let links = AnyStructure::new(structure, own);
    let mut overlay = Overlay::new(own, links, Waits::default(), now, 1);
    overlay.found();
    overlay.join(now, from);
    // As an answer to whatever was asked, and as it is.
    while let Some((to, sent)) = overlay.poll_transmit() {
        let mut answer = claimed.message.clone();
        answer.number = sent.number;
        overlay.receive(now, to, answer);
        now = now + Span::from_secs(1);
        if now > RawTime::from_nanos(0) + Span::from_secs(50) {
            break;
        }
    }
    overlay.receive(now, from, claimed.message);
    overlay.handle_timeout(now + Span::from_secs(100));
});

//! Answers of NTP servers: any datagram, no panic; what is a packet writes the same bytes again, and
//! what is believed makes sense.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parisync_bench::observe::ntp::packet::{LENGTH, Packet};

fuzz_target!(|input: (i64, &[u8])| {
    let (pivot, bytes) = input;
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    assert_eq!(packet.to_bytes(), bytes[..LENGTH]);
    let _ = (packet.receive.to_unix(pivot), packet.resolution());
    if packet.believe(packet.origin.0).is_ok() {
        assert!((1..=15).contains(&packet.stratum) && packet.leap < 3);
        assert!(packet.transmit.since(packet.receive) >= 0);
        assert!((0..16_000_000_000).contains(&packet.root_distance()));
    }
    // Nobody knows a question's number but who asked it.
    assert!(packet.believe(packet.origin.0.wrapping_add(1)).is_err());
});

//! The outer datagram: any bytes, no panic; what parses is written back to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parisync::wire::{
    Kind, NetworkId, Packet, TRANSPORT_HEADER_LEN, write_finish, write_init, write_response,
    write_retry, write_transport_header,
};

fuzz_target!(|bytes: &[u8]| {
    let Some(number) = bytes.get(4..8).and_then(|b| b.try_into().ok()) else {
        assert!(Packet::parse(bytes, NetworkId::default()).is_err());
        return;
    };
    let network = NetworkId::from_u32(u32::from_le_bytes(number));
    let Ok(packet) = Packet::parse(bytes, network) else {
        return;
    };
    let transport = |kind, receiver, counter| {
        let header = write_transport_header(kind, network, receiver, counter);
        assert_eq!(bytes[..TRANSPORT_HEADER_LEN], header);
    };
    match packet {
        Packet::Init { cookie, noise } => assert_eq!(bytes, write_init(network, cookie, noise)),
        Packet::Retry { receiver, cookie } => {
            assert_eq!(bytes, write_retry(network, receiver, cookie));
        }
        Packet::Response { receiver, noise } => {
            assert_eq!(bytes, write_response(network, receiver, noise));
        }
        Packet::Finish { receiver, noise } => {
            assert_eq!(bytes, write_finish(network, receiver, noise));
        }
        Packet::Confirm {
            receiver, counter, ..
        } => transport(Kind::Confirm, receiver, counter),
        Packet::Time {
            receiver, counter, ..
        } => transport(Kind::Time, receiver, counter),
    }
});

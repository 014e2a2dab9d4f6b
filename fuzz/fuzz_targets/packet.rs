//! The outer datagram: any bytes, no panic; what parses is written back to the same bytes.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use parisync::wire::{
    Kind, NetworkId, Packet, TRANSPORT_HEADER_LEN, write_finish, write_init, write_response,
    write_retry, write_transport_header,
};

/// Left to guess, the fuzzer does not find a header: this says how much of one is given to it.
#[derive(Debug, Arbitrary)]
enum Input {
    Raw(Vec<u8>),
    Headed {
        kind: u8,
        rest: Vec<u8>,
    },
    Fitting {
        kind: u8,
        padded: bool,
        rest: [u8; 152],
    },
}

impl Input {
    fn bytes(self) -> Vec<u8> {
        let headed = |kind, rest: &[u8]| [&[b'P', b'S', 1, kind, 9, 8, 7, 6], rest].concat();
        match self {
            Self::Raw(bytes) => bytes,
            Self::Headed { kind, rest } => headed(kind % 8, &rest),
            Self::Fitting {
                kind,
                padded,
                mut rest,
            } => {
                let kind = kind % 6 + 1;
                // Where the padding of each kind begins, and how long the datagram is.
                let (end, len) = [
                    (52, 152),
                    (20, 152),
                    (136, 152),
                    (100, 152),
                    (28, 28),
                    (152, 152),
                ][usize::from(kind - 1)];
                if padded {
                    rest[end..].fill(0);
                }
                headed(kind, &rest[..len])
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let bytes = input.bytes();
    let bytes = bytes.as_slice();
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

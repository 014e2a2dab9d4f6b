use super::super::doc::{agrees, fields};
use super::*;
use proptest::prelude::*;

const NETWORK: NetworkId = NetworkId::from_u32(0x0403_0201);

#[test]
fn the_document_gives_this_layout() {
    agrees("Header", &fields!(Header: magic, version, kind, network), 8);
    let all = HANDSHAKE_DATAGRAM_LEN;
    agrees("Init", &fields!(Init: header, cookie, noise, padding), all);
    agrees(
        "Retry",
        &fields!(Retry: header, receiver, cookie, padding),
        all,
    );
    agrees(
        "Response",
        &fields!(Response: header, receiver, noise, padding),
        all,
    );
    agrees(
        "Finish",
        &fields!(Finish: header, receiver, noise, padding),
        all,
    );
    let transport = fields!(Transport: header, receiver, counter);
    agrees("Transport", &transport, TRANSPORT_HEADER_LEN);
}

#[test]
fn these_are_the_bytes() {
    let init = write_init(NETWORK, &[0xC0; 16], &[0xA0; 36]);
    assert_eq!(init[..8], *b"PS\x01\x01\x01\x02\x03\x04");
    assert_eq!(
        (init[8], init[23], init[24], init[59]),
        (0xC0, 0xC0, 0xA0, 0xA0)
    );
    assert_eq!(init[60..], [0; 100]);
    let time = write_transport_header(Kind::Time, NETWORK, 0x0807_0605, 0x100F_0E0D_0C0B_0A09);
    let bytes = *b"PS\x01\x06\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10";
    assert_eq!(time, bytes);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        receiver: u32,
        counter: u64,
        cookie: [u8; 16],
        fill: u8,
        extension in 0_usize..100,
    ) {
        let noise = [fill; NOISE_INIT_LEN];
        let bytes = write_init(NETWORK, &cookie, &noise);
        let packet = Packet::Init { cookie: &cookie, noise: &noise };
        prop_assert_eq!(Packet::parse(&bytes, NETWORK), Ok(packet));

        let bytes = write_retry(NETWORK, receiver, &cookie);
        let packet = Packet::Retry { receiver, cookie: &cookie };
        prop_assert_eq!(Packet::parse(&bytes, NETWORK), Ok(packet));

        let noise = [fill; NOISE_RESPONSE_LEN];
        let bytes = write_response(NETWORK, receiver, &noise);
        let packet = Packet::Response { receiver, noise: &noise };
        prop_assert_eq!(Packet::parse(&bytes, NETWORK), Ok(packet));

        let noise = [fill; NOISE_FINISH_LEN];
        let bytes = write_finish(NETWORK, receiver, &noise);
        let packet = Packet::Finish { receiver, noise: &noise };
        prop_assert_eq!(Packet::parse(&bytes, NETWORK), Ok(packet));

        let mut bytes = write_transport_header(Kind::Time, NETWORK, receiver, counter).to_vec();
        bytes.resize(TIME_DATAGRAM_LEN + extension, fill);
        let sealed = &bytes[TRANSPORT_HEADER_LEN..];
        let packet = Packet::Time { receiver, counter, sealed };
        prop_assert_eq!(Packet::parse(&bytes, NETWORK), Ok(packet));

        let mut bytes =
            write_transport_header(Kind::Confirm, NETWORK, receiver, counter).to_vec();
        bytes.resize(CONFIRM_DATAGRAM_LEN, fill);
        let sealed = &bytes[TRANSPORT_HEADER_LEN..];
        let packet = Packet::Confirm { receiver, counter, sealed };
        prop_assert_eq!(Packet::parse(&bytes, NETWORK), Ok(packet));
    }

    #[test]
    fn anything_may_come(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ours: bool,
        kind in 0_u8..9,
    ) {
        if let (true, Some(header)) = (ours, bytes.first_chunk_mut::<8>()) {
            *header = [b'P', b'S', VERSION, kind, 1, 2, 3, 4];
        }
        if Packet::parse(&bytes, NETWORK).is_ok() {
            let len = bytes.len();
            prop_assert!((CONFIRM_DATAGRAM_LEN..=MAX_DATAGRAM).contains(&len));
        }
    }

    #[test]
    fn a_wrong_length_is_refused(cut in 0_usize..160, more in 1_usize..400) {
        let init = write_init(NETWORK, &[0; 16], &[0; 36]);
        prop_assert!(Packet::parse(&init[..cut], NETWORK).is_err());
        let mut longer = init.to_vec();
        longer.resize(init.len() + more, 0);
        let refused = Err(PacketError::Length(longer.len()));
        prop_assert_eq!(Packet::parse(&longer, NETWORK), refused);
    }
}

#[test]
fn what_is_not_ours_is_named() {
    let good = write_retry(NETWORK, 1, &[0; 16]);
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        Packet::parse(&bytes, NETWORK).unwrap_err()
    };
    assert_eq!(with(0, 0x23), PacketError::Magic);
    assert_eq!(with(2, 2), PacketError::Version(2));
    assert_eq!(with(3, 7), PacketError::Kind(7));
    assert_eq!(
        with(4, 0),
        PacketError::Network(NetworkId::from_u32(0x0403_0200))
    );
    assert_eq!(with(159, 1), PacketError::Padding);
}

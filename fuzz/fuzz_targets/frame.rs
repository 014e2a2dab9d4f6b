//! Frames from the network: any bytes, no panic; what is understood is written again as it was.
#![no_main]

use hwts::packet::{Ends, Frame, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(datagram) = parse(bytes) else {
        return;
    };
    let Ends { from, to } = datagram.ends;
    // Of IPv6, addresses that stand for IPv4 come out as such.
    let Some(frame) = Frame::new([2; 6], [4; 6], &[], datagram.ends) else {
        return;
    };
    let mut room = vec![0; frame.header_len() + datagram.bytes.len()];
    let len = frame.write(&mut room, datagram.bytes, 0).unwrap();
    let again = parse(&room[..len]).unwrap();
    assert_eq!(again.bytes, datagram.bytes);
    assert_eq!(again.ends.to.ip().to_canonical(), to.ip().to_canonical());
    assert_eq!(again.ends.from.port(), from.port());
});

//! The content of a time packet: any bytes, no panic; what decodes is sane and stable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parisync::time::{RawTime, Span};
use parisync::wire::{MESSAGE_LEN, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = decode(bytes) else {
        return;
    };
    assert!(bytes.len() >= MESSAGE_LEN);
    assert!(message.bound >= Span::ZERO);
    assert!(message.line.rate().as_fraction().abs() <= 0.1);
    assert!(message.line.slew().0.as_fraction().abs() <= 0.1);
    for raw in [i64::MIN, -1, 0, 1, i64::MAX] {
        let (_, fraction) = message.line.at_exact(RawTime::from_nanos(raw));
        assert!((0.0..=1.0).contains(&fraction));
    }
    let mut again = [0; MESSAGE_LEN];
    encode(&message, &mut again);
    assert_eq!(decode(&again), Ok(message));
});

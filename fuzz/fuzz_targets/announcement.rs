//! Announcements on the local network: any bytes, no panic, and no signature where there is none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parisync::engine::lan::parse_announcement;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(unverified) = parse_announcement(bytes) {
        let _ = unverified.verify();
    }
});

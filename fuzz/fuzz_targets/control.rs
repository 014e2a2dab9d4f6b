//! Requests on the control socket: any line, no panic; what is understood is said the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parisync::export::protocol::Request;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::parse(bytes) {
        assert_eq!(Request::parse(request.to_line().as_bytes()), Ok(request));
    }
});

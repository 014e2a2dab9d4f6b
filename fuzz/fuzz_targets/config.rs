//! What people write: configurations and addresses; any text, no panic, and one-line errors.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use parisync::config::Config;
use parisync::engine::PeerAddress;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse(text, Path::new("f.toml")) {
        assert_eq!(error.to_string().lines().count(), 1);
    }
    if let Ok(peer) = text.parse::<PeerAddress>() {
        assert_eq!(peer.to_string().parse(), Ok(peer));
    }
});

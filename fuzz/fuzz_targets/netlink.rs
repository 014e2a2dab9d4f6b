//! What the kernel says of interfaces and routes: any datagram, no panic; no message is longer than
//! what it came in.
#![no_main]

use hwts::netlink::{LinkChange, link_changes, route_answer};
use hwts::nic::physical;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let mut links = Vec::new();
    for change in link_changes(datagram) {
        match change {
            LinkChange::Changed(link) => {
                assert!(link.name.len() <= 3 * datagram.len());
                links.push(link);
            }
            LinkChange::Gone(_) => {}
        }
    }
    // Whatever stands on whatever, the search ends.
    for link in &links {
        let _ = physical(&links, link.index);
    }
    if let Some(Err(number)) = route_answer(datagram) {
        assert!(number > 0);
    }
});

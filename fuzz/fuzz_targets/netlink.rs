//! What the kernel says of interfaces, routes and neighbours: any datagram, no panic; no message is longer than
//! what it came in.
#![no_main]

use hwts::netlink::{Change, LinkChange, changes, link_changes, neighbour_in, route_in};
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
    for change in changes(datagram) {
        if let Change::Neighbour(neighbour) = change {
            assert!(neighbour.hardware.is_none() || datagram.len() > 40);
        }
    }
    if let Some(Err(number)) = route_in(datagram) {
        assert!(number > 0);
    }
    if let Some(Err(number)) = neighbour_in(datagram) {
        assert!(number > 0);
    }
});

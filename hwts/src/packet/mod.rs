//! Ethernet frames with UDP datagrams (IEEE 802.3, 802.1Q; RFC 791, 8200, 768), for transports that
//! see frames.

mod checksum;
mod frame;
mod parse;

pub use frame::{Ends, Frame, MAX_HEADERS, Tag};
pub use parse::{Datagram, parse};

const ETHER_TYPE_V4: u16 = 0x0800;
const ETHER_TYPE_V6: u16 = 0x86dd;
const TAG_CUSTOMER: u16 = 0x8100;
const TAG_SERVICE: u16 = 0x88a8;
const PROTOCOL_UDP: u8 = 17;
const ETHERNET: usize = 14;
const TAG: usize = 4;
const V4: usize = 20;
const V6: usize = 40;
const UDP: usize = 8;
/// The twelve bits of a VLAN's number.
const VLAN_ID: u16 = 0x0fff;

//! What a driver can do for XDP (generic netlink family `netdev`,
//! Documentation/netlink/specs/netdev.yaml; Linux 6.3 and newer).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::message::{Message, attributes_after, messages, request};
use super::{NLM_F_REQUEST, error_of, receive};
use crate::sys;

/// The family that knows all families.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV: &[u8] = b"netdev\0";
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_A_DEV_RX_METADATA: u16 = 5;
const NETDEV_A_DEV_XSK_FEATURES: u16 = 6;
/// `struct genlmsghdr`: command u8, version u8, two more.
const GENL: usize = 4;
const ROOM: usize = 8 * 1024;
/// `NETDEV_XDP_ACT_BASIC` and `…_REDIRECT`, `…_XSK_ZEROCOPY`.
const NATIVE: u64 = 1 | 2;
const ZERO_COPY: u64 = 8;
/// `NETDEV_XDP_RX_METADATA_TIMESTAMP`, `NETDEV_XSK_FLAGS_TX_TIMESTAMP`.
const TIMESTAMP: u64 = 1;

/// What a driver can do for XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct XdpFeatures {
    /// Run programs in the driver, and redirect what they say.
    pub native: bool,
    /// Exchange packets with programs without copying them.
    pub zero_copy: bool,
    /// Tell programs when the card received a packet.
    pub rx_stamps: bool,
    /// Stamp packets sent without copying them.
    pub tx_stamps: bool,
}

impl XdpFeatures {
    /// Whether AF_XDP is better than anything else there.
    pub const fn is_best(&self) -> bool {
        self.zero_copy && self.rx_stamps && self.tx_stamps
    }

    fn parse(body: &[u8]) -> Self {
        let mut found = Self::default();
        for attribute in attributes_after(body, GENL) {
            let Some(bits) = attribute.u64() else {
                continue;
            };
            match attribute.kind {
                NETDEV_A_DEV_XDP_FEATURES => {
                    found.native = bits & NATIVE == NATIVE;
                    found.zero_copy = bits & ZERO_COPY != 0;
                }
                NETDEV_A_DEV_RX_METADATA => found.rx_stamps = bits & TIMESTAMP != 0,
                NETDEV_A_DEV_XSK_FEATURES => found.tx_stamps = bits & TIMESTAMP != 0,
                _ => {}
            }
        }
        found
    }
}

/// What the driver of interface number `index` says it can do. Changes nothing and needs no
/// privilege.
///
/// # Errors
/// There is no such interface, or the kernel is older than Linux 6.3 (`ENOENT`).
pub fn xdp_features(index: u32) -> io::Result<XdpFeatures> {
    let socket = sys::netlink_socket(libc::NETLINK_GENERIC, 0)?;
    let name = (CTRL_ATTR_FAMILY_NAME, NETDEV);
    let family = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name, |message| {
        attributes_after(message.body, GENL)
            .find(|attribute| attribute.kind == CTRL_ATTR_FAMILY_ID)
            .and_then(|attribute| attribute.u16())
    })?;
    let number = index.to_ne_bytes();
    let device = (NETDEV_A_DEV_IFINDEX, &number[..]);
    ask(&socket, family, NETDEV_CMD_DEV_GET, device, |message| {
        Some(XdpFeatures::parse(message.body))
    })
}

fn ask<T>(
    socket: &OwnedFd,
    family: u16,
    command: u8,
    attribute: (u16, &[u8]),
    answer: impl Fn(&Message<'_>) -> Option<T>,
) -> io::Result<T> {
    let header = [command, 1, 0, 0];
    let question = request(family, NLM_F_REQUEST, 1, &header, &[attribute]);
    sys::send(socket.as_fd(), question.bytes())?;
    let mut room = vec![0; ROOM];
    let len = receive(socket.as_fd(), &mut room)?;
    let found = messages(&room[..len]).find_map(|message| match error_of(&message) {
        Some(number) => Some(Err(io::Error::from_raw_os_error(number))),
        None if message.kind == family => answer(&message).map(Ok),
        None => None,
    });
    found.unwrap_or_else(|| Err(io::Error::from_raw_os_error(libc::EPROTO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(attributes: &[(u16, u64)]) -> Vec<u8> {
        let mut bytes = vec![NETDEV_CMD_DEV_GET, 1, 0, 0];
        for (kind, value) in attributes {
            bytes.extend(12_u16.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn only_zero_copy_with_stamps_both_ways_is_best() {
        let igc = XdpFeatures::parse(&body(&[(3, 0x2f), (5, 7), (6, 3)]));
        assert!(igc.native && igc.is_best());
        // Zero-copy without stamps, as igb has it.
        let igb = XdpFeatures::parse(&body(&[(3, 0x2f), (5, 0), (6, 0)]));
        assert!(igb.native && igb.zero_copy && !igb.is_best());
        // No redirects: our program would be of no use.
        assert!(!XdpFeatures::parse(&body(&[(3, 1)])).native);
        assert_eq!(XdpFeatures::parse(&[1, 1]), XdpFeatures::default());
    }

    #[test]
    fn the_loopback_runs_no_programs() {
        match xdp_features(1) {
            Ok(features) => assert!(!features.native, "{features:?}"),
            Err(error) => eprintln!("SKIPPED: {error}"),
        }
        assert!(xdp_features(u32::MAX).is_err());
    }
}

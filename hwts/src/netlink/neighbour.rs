//! Hardware addresses of neighbours, as the kernel has found them out by ARP and neighbour
//! discovery (`RTM_GETNEIGH`, linux/neighbour.h).

use std::io;
use std::net::IpAddr;

use super::message::{attributes_after, messages, read_u16, read_u32, request};
use super::{NLM_F_REQUEST, Routes, error_of};

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
/// `struct ndmsg`: family u8, three of padding, interface i32, state u16, flags u8, type u8.
const NDMSG: usize = 12;
const NDMSG_INTERFACE: usize = 4;
const NDMSG_STATE: usize = 8;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// `NUD_VALID`: permanent, needing none, reachable, probed, stale or about to be probed.
const VALID: u16 =
    libc::NUD_PERMANENT | libc::NUD_NOARP | libc::NUD_REACHABLE | libc::NUD_PROBE | UNSURE;
const UNSURE: u16 = libc::NUD_STALE | libc::NUD_DELAY;

/// A neighbour on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface by which it is reached.
    pub interface: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address, if that is known and can be used.
    pub hardware: Option<[u8; 6]>,
    /// The kernel wants to hear of it before it calls it reachable again: it asks when a packet is
    /// sent through it.
    pub stale: bool,
}

impl Neighbour {
    /// From the body of an `RTM_NEWNEIGH` or `RTM_DELNEIGH`.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let state = read_u16(body, NDMSG_STATE)?;
        let (mut address, mut hardware) = (None, None);
        for attribute in attributes_after(body, NDMSG) {
            match attribute.kind {
                NDA_DST => address = attribute.address(),
                NDA_LLADDR => hardware = attribute.data.try_into().ok(),
                _ => {}
            }
        }
        Some(Self {
            interface: read_u32(body, NDMSG_INTERFACE)?,
            address: address?,
            hardware: hardware.filter(|_| state & VALID != 0),
            stale: state & libc::NUD_STALE != 0,
        })
    }
}

impl Routes {
    /// What the kernel knows of a neighbour.
    ///
    /// # Errors
    /// It never heard of it (`ENOENT`), or does not answer.
    pub fn neighbour(&mut self, interface: u32, address: IpAddr) -> io::Result<Neighbour> {
        let (v4, v6);
        let (family, bytes): (_, &[u8]) = match address {
            IpAddr::V4(ip) => {
                v4 = ip.octets();
                (libc::AF_INET, &v4)
            }
            IpAddr::V6(ip) => {
                v6 = ip.octets();
                (libc::AF_INET6, &v6)
            }
        };
        let mut fixed = [0; NDMSG];
        fixed[0] = family as u8;
        fixed[NDMSG_INTERFACE..NDMSG_STATE].copy_from_slice(&interface.to_ne_bytes());
        let sequence = self.next_sequence();
        let attributes = [(NDA_DST, bytes)];
        let question = request(RTM_GETNEIGH, NLM_F_REQUEST, sequence, &fixed, &attributes);
        self.ask(&question, neighbour_in)
    }
}

/// The kernel's answer about a neighbour, or the error number it gives.
pub fn neighbour_in(datagram: &[u8]) -> Option<Result<Neighbour, i32>> {
    messages(datagram).find_map(|message| match message.kind {
        RTM_NEWNEIGH => Neighbour::parse(message.body).map(Ok),
        _ => error_of(&message).map(Err),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip -4 neighbour get` by the book: 192.0.2.2 on interface 3 at 02:00:00:00:00:07.
    fn message(state: u16) -> Vec<u8> {
        let mut bytes = vec![
            0x30, 0, 0, 0, 0x1c, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
            2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, // ndmsg
            8, 0, 1, 0, 192, 0, 2, 2, // NDA_DST
            10, 0, 2, 0, 2, 0, 0, 0, 0, 7, 0, 0, // NDA_LLADDR
        ];
        bytes[24..26].copy_from_slice(&state.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_what_can_be_used_has_a_hardware_address() {
        let neighbour = |state| neighbour_in(&message(state)).unwrap().unwrap();
        let reachable = Neighbour {
            interface: 3,
            address: "192.0.2.2".parse().unwrap(),
            hardware: Some([2, 0, 0, 0, 0, 7]),
            stale: false,
        };
        assert_eq!(neighbour(libc::NUD_REACHABLE), reachable);
        assert_eq!(neighbour(libc::NUD_PERMANENT), reachable);
        let stale = Neighbour {
            stale: true,
            ..reachable
        };
        assert_eq!(neighbour(libc::NUD_STALE), stale);
        for state in [0, libc::NUD_INCOMPLETE, libc::NUD_FAILED] {
            assert_eq!(neighbour(state).hardware, None);
        }
    }

    #[test]
    fn who_is_unknown_is_an_error() {
        let mut routes = Routes::open().unwrap();
        let nobody = routes.neighbour(1, "127.9.9.9".parse().unwrap());
        assert!(nobody.is_err() || nobody.is_ok_and(|n| n.hardware.is_some()));
    }
}

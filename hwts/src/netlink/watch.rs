//! What changes on the way to others: neighbours, routes, addresses, links.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::message::{attributes_after, messages};
use super::neighbour::Neighbour;
use super::{DUMP_ROOM, Link, LinkChange, RTM_DELLINK, RTM_NEWLINK, RTM_NEWROUTE, dump, receive};
use crate::sys;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
/// Multicast groups, as bits: links, neighbours, addresses and routes of both families, rules.
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x100 | 0x40 | 0x400 | 0x80;
/// `struct ifaddrmsg`.
const IFADDR: usize = 8;
const IFA_ADDRESS: u16 = 1;
/// Differs from the address at the ends of point-to-point links only.
const IFA_LOCAL: u16 = 2;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The kernel learnt something of a neighbour, or forgot it.
    Neighbour(Neighbour),
    /// Routes or rules changed.
    Routes,
    /// Addresses of this host changed.
    Addresses,
    /// An interface changed.
    Link(LinkChange),
}

/// The changes that one datagram of the kernel reports; what is not understood is skipped.
pub fn changes(datagram: &[u8]) -> impl Iterator<Item = Change> + '_ {
    messages(datagram).filter_map(|message| match message.kind {
        RTM_NEWNEIGH => Neighbour::parse(message.body).map(Change::Neighbour),
        RTM_DELNEIGH => Neighbour::parse(message.body).map(|gone| {
            Change::Neighbour(Neighbour {
                hardware: None,
                ..gone
            })
        }),
        RTM_NEWADDR | RTM_DELADDR => Some(Change::Addresses),
        RTM_NEWLINK => Link::parse(message.body)
            .map(LinkChange::Changed)
            .map(Change::Link),
        RTM_DELLINK => Link::parse(message.body)
            .map(|link| LinkChange::Gone(link.index))
            .map(Change::Link),
        RTM_NEWROUTE | RTM_DELROUTE | 32 | 33 => Some(Change::Routes),
        _ => None,
    })
}

/// Hears of every change.
#[derive(Debug)]
pub struct Watch {
    socket: OwnedFd,
    room: Box<[u8]>,
}

impl Watch {
    /// Begins to listen; what was asked before that may be out of date.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: sys::netlink_socket(libc::NETLINK_ROUTE, GROUPS)?,
            room: vec![0; DUMP_ROOM].into_boxed_slice(),
        })
    }

    /// Hands what happened to `sink`, without waiting. False if some of it was lost: all that is
    /// remembered may be out of date.
    pub fn poll(&mut self, mut sink: impl FnMut(Change)) -> bool {
        loop {
            match receive(self.socket.as_fd(), &mut self.room) {
                Ok(len) => changes(&self.room[..len]).for_each(&mut sink),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                // ENOBUFS: the kernel had no room for all.
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// All addresses of this network namespace.
///
/// # Errors
/// The kernel gives no netlink socket, or does not answer on it.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    dump(RTM_GETADDR, &[0; IFADDR], |message| {
        if message.kind == RTM_NEWADDR {
            found.extend(address_in(message.body));
        }
    })?;
    Ok(found)
}

fn address_in(body: &[u8]) -> Option<IpAddr> {
    let (mut local, mut address) = (None, None);
    for attribute in attributes_after(body, IFADDR) {
        match attribute.kind {
            IFA_LOCAL => local = attribute.address(),
            IFA_ADDRESS => address = attribute.address(),
            _ => {}
        }
    }
    local.or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_its_address() {
        let all = addresses().unwrap();
        assert!(all.contains(&"127.0.0.1".parse().unwrap()), "{all:?}");
    }

    #[test]
    fn of_point_to_point_links_our_end_counts() {
        let body = [
            2, 32, 0, 0, 4, 0, 0, 0, // ifaddrmsg
            8, 0, 1, 0, 192, 0, 2, 1, // IFA_ADDRESS: the other end
            8, 0, 2, 0, 192, 0, 2, 9, // IFA_LOCAL
        ];
        assert_eq!(address_in(&body), "192.0.2.9".parse().ok());
        assert_eq!(address_in(&body[..16]), "192.0.2.1".parse().ok());
        assert_eq!(address_in(&body[..7]), None);
    }
}

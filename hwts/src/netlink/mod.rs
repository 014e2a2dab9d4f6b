//! What the kernel says of interfaces and routes (`rtnetlink(7)`), asked and watched. Changes
//! nothing and needs no privilege.

mod link;
mod message;
mod neighbour;
mod netdev;
mod route;
mod watch;

pub use link::Link;
pub use neighbour::{Neighbour, neighbour_in};
pub use netdev::{XdpFeatures, xdp_features};
pub use route::{Route, route_in};
pub use watch::{Change, Watch, addresses, changes};

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use self::message::{Message, Request, messages, read_u32, request};
use crate::sys;

/// Message types and flags (linux/netlink.h, linux/rtnetlink.h).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const RTMGRP_LINK: u32 = 1;
/// `struct rtmsg`: family, destination length, and ten more bytes.
const RTMSG: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// The kernel fills at most 32 KiB of a dump at a time.
const DUMP_ROOM: usize = 32 * 1024;
/// The answer to a question for one route has some 100 bytes.
const ROUTE_ROOM: usize = 1024;

/// Something happened to an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// It appeared, or something about it changed: its name, its state, where it belongs.
    Changed(Link),
    /// It is gone.
    Gone(u32),
}

/// The changes that one datagram of the kernel reports; what is not understood is skipped.
pub fn link_changes(datagram: &[u8]) -> impl Iterator<Item = LinkChange> + '_ {
    messages(datagram).filter_map(|message| {
        let link = Link::parse(message.body);
        match message.kind {
            RTM_NEWLINK => link.map(LinkChange::Changed),
            RTM_DELLINK => link.map(|link| LinkChange::Gone(link.index)),
            _ => None,
        }
    })
}

/// `struct nlmsgerr` begins with the negative error number; 0 acknowledges.
fn error_number(message: &Message<'_>) -> Option<i32> {
    let number = read_u32(message.body, 0)?.cast_signed().checked_neg()?;
    (number > 0).then_some(number)
}

/// The error number of a message, if that is what it is.
fn error_of(message: &Message<'_>) -> Option<i32> {
    (message.kind == NLMSG_ERROR).then(|| error_number(message).unwrap_or(libc::EPROTO))
}

/// All interfaces of this network namespace.
///
/// # Errors
/// The kernel gives no netlink socket, or does not answer on it.
pub fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    // AF_UNSPEC and no filter.
    dump(RTM_GETLINK, &[0; 16], |message| {
        if message.kind == RTM_NEWLINK {
            links.extend(Link::parse(message.body));
        }
    })?;
    Ok(links)
}

/// Asks for all there is of a kind; `fixed` is the fixed part of the question.
fn dump(kind: u16, fixed: &[u8], mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
    let socket = sys::netlink_socket(libc::NETLINK_ROUTE, 0)?;
    let question = request(kind, NLM_F_REQUEST | NLM_F_DUMP, 1, fixed, &[]);
    sys::send(socket.as_fd(), question.bytes())?;
    let mut room = vec![0; DUMP_ROOM];
    loop {
        let len = receive(socket.as_fd(), &mut room)?;
        for message in messages(&room[..len]) {
            match message.kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let number = error_number(&message).unwrap_or(libc::EPROTO);
                    return Err(io::Error::from_raw_os_error(number));
                }
                _ => each(&message),
            }
        }
    }
}

/// Receives one datagram; a signal does not end it.
fn receive(socket: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match sys::receive(socket, room) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Asks by which interface packets leave. Allocates nothing once it is open.
#[derive(Debug)]
pub struct Routes {
    socket: OwnedFd,
    sequence: u32,
}

impl Routes {
    /// Opens a socket to ask on.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: sys::netlink_socket(libc::NETLINK_ROUTE, 0)?,
            sequence: 0,
        })
    }

    /// The number of the interface by which packets to `to` leave now (some 10 µs).
    ///
    /// # Errors
    /// There is no route (`ENETUNREACH`), or the kernel does not answer.
    pub fn interface_to(&mut self, to: SocketAddr) -> io::Result<u32> {
        match to {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Ok(v6.scope_id()),
            _ => Ok(self.route_to(to)?.interface),
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Asks what has the current sequence number.
    fn ask<T>(
        &self,
        question: &Request,
        read: impl Fn(&[u8]) -> Option<Result<T, i32>>,
    ) -> io::Result<T> {
        sys::send(self.socket.as_fd(), question.bytes())?;
        let mut room = [0; ROUTE_ROOM];
        loop {
            let len = receive(self.socket.as_fd(), &mut room)?;
            let answer = &room[..len];
            // An answer that an earlier call left behind is of no use.
            if messages(answer).any(|message| message.sequence == self.sequence) {
                return match read(answer) {
                    Some(Ok(found)) => Ok(found),
                    Some(Err(number)) => Err(io::Error::from_raw_os_error(number)),
                    None => Err(io::Error::from_raw_os_error(libc::ENETUNREACH)),
                };
            }
        }
    }
}

/// Hears of every change of an interface.
#[derive(Debug)]
pub struct LinkWatch {
    socket: OwnedFd,
    room: Box<[u8]>,
}

impl LinkWatch {
    /// Begins to listen. Ask for [`links`] after that, so that nothing falls between.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: sys::netlink_socket(libc::NETLINK_ROUTE, RTMGRP_LINK)?,
            room: vec![0; DUMP_ROOM].into_boxed_slice(),
        })
    }

    /// Hands what happened to `sink`, without waiting (0.3 µs if nothing did). False if some of it
    /// was lost: ask for [`links`] again.
    pub fn poll(&mut self, mut sink: impl FnMut(LinkChange)) -> bool {
        loop {
            match receive(self.socket.as_fd(), &mut self.room) {
                Ok(len) => link_changes(&self.room[..len]).for_each(&mut sink),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                // ENOBUFS: the kernel had no room for all.
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `RTM_NEWLINK` of a VLAN by the book (linux/if_link.h): index 5, `eth0.7`, up with carrier, on
    /// interface 2, kind `vlan`, id 7.
    const VLAN: &[u8] = &[
        0x50, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
        0, 0, 1, 0, 5, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0, // ifinfomsg
        0x0b, 0, 3, 0, b'e', b't', b'h', b'0', b'.', b'7', 0, 0, // IFLA_IFNAME
        8, 0, 5, 0, 2, 0, 0, 0, // IFLA_LINK
        0x1c, 0, 0x12, 0, // IFLA_LINKINFO
        9, 0, 1, 0, b'v', b'l', b'a', b'n', 0, 0, 0, 0, // kind
        0x0c, 0, 2, 0, 6, 0, 1, 0, 7, 0, 0, 0, // data: id
    ];

    /// What a 6.18 kernel sent: all links of a namespace with two veth pairs, a bridge on `eth2` and
    /// a macvlan on `eth0`; the answers for a route that is there and for one that is not.
    const LINKS: &[u8] = include_bytes!("testdata/links.bin");
    const ROUTE: &[u8] = include_bytes!("testdata/route.bin");
    const NO_ROUTE: &[u8] = include_bytes!("testdata/noroute.bin");

    #[test]
    fn recorded_links_are_understood() {
        let links: Vec<Link> = link_changes(LINKS)
            .map(|change| match change {
                LinkChange::Changed(link) => link,
                LinkChange::Gone(index) => panic!("{index} is there"),
            })
            .collect();
        let named = |name: &str| links.iter().find(|link| link.name == name).unwrap();
        assert_eq!(links.len(), 7);
        assert!(named("lo").loopback && named("lo").up);
        let (eth0, eth2, bridge) = (named("eth0"), named("eth2"), named("br0"));
        assert!(eth0.up && eth0.carrier && !eth0.lower_elsewhere && !eth0.xdp);
        assert_eq!((eth0.kind.as_deref(), eth0.lower), (Some("veth"), Some(2)));
        assert!(!eth2.up && !eth2.carrier);
        assert_eq!(eth2.master, Some(bridge.index));
        assert_eq!(bridge.kind.as_deref(), Some("bridge"));
        let macvlan = named("mv0");
        assert_eq!(macvlan.kind.as_deref(), Some("macvlan"));
        assert_eq!(macvlan.lower, Some(eth0.index));
    }

    #[test]
    fn recorded_routes_are_understood() {
        assert_eq!(route_in(ROUTE).unwrap().unwrap().interface, 3);
        assert_eq!(route_in(NO_ROUTE), Some(Err(libc::ENETUNREACH)));
        assert_eq!(route_in(VLAN), None);
    }

    #[test]
    fn a_vlan_is_understood() {
        let changes: Vec<LinkChange> = link_changes(VLAN).collect();
        let vlan = Link {
            index: 5,
            name: "eth0.7".to_owned(),
            up: true,
            carrier: true,
            kind: Some("vlan".to_owned()),
            lower: Some(2),
            vlan: Some(crate::packet::Tag {
                protocol: 0x8100,
                id: 7,
            }),
            ..Link::default()
        };
        assert_eq!(changes, [LinkChange::Changed(vlan)]);
        let mut gone = VLAN.to_vec();
        gone[4] = RTM_DELLINK as u8;
        assert_eq!(link_changes(&gone).next(), Some(LinkChange::Gone(5)));
        // What a bridge says of a port that leaves it.
        gone[16] = libc::AF_BRIDGE as u8;
        assert_eq!(link_changes(&gone).next(), None);
    }

    #[test]
    fn the_loopback_is_listed_and_on_the_way_to_itself() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.loopback).unwrap();
        assert_eq!((lo.name.as_str(), lo.kind.as_deref()), ("lo", None));
        let mut routes = Routes::open().unwrap();
        let to = "127.0.0.1:1".parse().unwrap();
        assert_eq!(routes.interface_to(to).unwrap(), lo.index);
        let scoped = "[fe80::1%77]:1".parse().unwrap();
        assert_eq!(routes.interface_to(scoped).unwrap(), 77);
    }

    #[test]
    fn a_quiet_watch_has_nothing_to_say() {
        let mut watch = LinkWatch::open().unwrap();
        assert!(watch.poll(|_| {}));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            link_changes(&bytes).for_each(drop);
            let _ = (route_in(&bytes), neighbour_in(&bytes));
            changes(&bytes).for_each(drop);
        }

        #[test]
        fn damaged_messages_never_panic(at in 0..VLAN.len(), value: u8, cut in 0..=VLAN.len()) {
            let mut bytes = VLAN.to_vec();
            bytes[at] = value;
            link_changes(&bytes[..cut]).for_each(drop);
        }
    }
}

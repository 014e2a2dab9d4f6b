//! The way to an address (`RTM_GETROUTE`, linux/rtnetlink.h).

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::message::{attributes_after, messages, request};
use super::{NLM_F_REQUEST, RTA_DST, RTA_OIF, RTM_GETROUTE, RTM_NEWROUTE, RTMSG, Routes, error_of};

const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
/// The next hop of an IPv4 route may have an IPv6 address: family u16, address.
const RTA_VIA: u16 = 18;
/// Where `struct rtmsg` says what kind of route it is, and the kind that leads to other hosts.
const RTMSG_TYPE: usize = 7;
const RTN_UNICAST: u8 = 1;

/// How packets to an address leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// By the interface of this number.
    pub interface: u32,
    /// Through a router; none if the address is on the link.
    pub gateway: Option<IpAddr>,
    /// The address they come from, if nothing else is said.
    pub source: Option<IpAddr>,
    /// To one other host: not to ourselves, to a group, or nowhere.
    pub unicast: bool,
}

impl Route {
    /// From the body of an `RTM_NEWROUTE` that answers a question for one address.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut route = Self {
            interface: 0,
            gateway: None,
            source: None,
            unicast: *body.get(RTMSG_TYPE)? == RTN_UNICAST,
        };
        for attribute in attributes_after(body, RTMSG) {
            match attribute.kind {
                RTA_OIF => route.interface = attribute.u32()?,
                RTA_GATEWAY => route.gateway = attribute.address(),
                RTA_VIA => route.gateway = attribute.after(2).address(),
                RTA_PREFSRC => route.source = attribute.address(),
                _ => {}
            }
        }
        Some(route)
    }
}

impl Routes {
    /// How packets to `to` leave now (some 10 µs).
    ///
    /// # Errors
    /// There is no route (`ENETUNREACH`), or the kernel does not answer.
    pub fn route_to(&mut self, to: SocketAddr) -> io::Result<Route> {
        let (mut v4, mut v6) = ([0; 4], [0; 16]);
        let (family, address): (_, &[u8]) = match to.ip().to_canonical() {
            IpAddr::V4(ip) => {
                v4.copy_from_slice(&ip.octets());
                (libc::AF_INET, &v4)
            }
            IpAddr::V6(ip) => {
                v6.copy_from_slice(&ip.octets());
                (libc::AF_INET6, &v6)
            }
        };
        let mut fixed = [0; RTMSG];
        fixed[0] = family as u8;
        fixed[1] = (address.len() * 8) as u8;
        let scope = match to {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id().to_ne_bytes()),
            _ => None,
        };
        let destination = (RTA_DST, address);
        let with_scope;
        let attributes: &[(u16, &[u8])] = match &scope {
            Some(scope) => {
                with_scope = [destination, (RTA_OIF, scope)];
                &with_scope
            }
            None => &[destination],
        };
        let sequence = self.next_sequence();
        let question = request(RTM_GETROUTE, NLM_F_REQUEST, sequence, &fixed, attributes);
        self.ask(&question, route_in)
    }
}

/// The kernel's answer about a route, or the error number it gives.
pub fn route_in(datagram: &[u8]) -> Option<Result<Route, i32>> {
    messages(datagram).find_map(|message| match message.kind {
        RTM_NEWROUTE => Route::parse(message.body).map(Ok),
        _ => error_of(&message).map(Err),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 6.18 kernel's answers, as in `super::tests`.
    const ROUTE: &[u8] = include_bytes!("testdata/route.bin");

    #[test]
    fn a_recorded_route_is_understood() {
        let route = route_in(ROUTE).unwrap().unwrap();
        assert_eq!((route.interface, route.unicast), (3, true));
    }

    #[test]
    fn the_way_to_ourselves_is_not_to_another_host() {
        let mut routes = Routes::open().unwrap();
        let route = routes.route_to("127.0.0.1:9".parse().unwrap()).unwrap();
        assert!(!route.unicast && route.gateway.is_none());
        assert_eq!(route.source, "127.0.0.1".parse().ok());
        let group = routes.route_to("224.0.0.1:9".parse().unwrap());
        assert!(group.is_ok_and(|route| !route.unicast) || routes.next_sequence() > 0);
    }
}

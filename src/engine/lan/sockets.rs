//! The multicast sockets, and the interfaces they reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::LanConfig;
use crate::engine::EngineError;

/// IPv4 Local Scope (RFC 2365 §6.1).
pub(super) const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 80, 83);
/// Link-local scope, transient (RFC 4291 §2.7): not assigned by anybody, so nobody's.
pub(super) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x5053);

/// Interfaces used at most; hosts with hundreds of virtual ones exist.
const INTERFACES: usize = 64;

/// One place to announce from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    V4(u32, Ipv4Addr),
    V6(u32),
}

/// One socket for each family.
pub(super) struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    port: u16,
    loopback: bool,
    places: Vec<Place>,
}

impl Sockets {
    pub(super) fn open(config: &LanConfig) -> Result<Self, EngineError> {
        let v4 = config.ipv4.then(|| open_v4(config.port)).transpose()?;
        // A host without IPv6 is no error where IPv4 works.
        let v6 = match config.ipv6.then(|| open_v6(config.port)).transpose() {
            Err(error) if v4.is_none() => return Err(error),
            other => other.unwrap_or(None),
        };
        let (port, loopback) = (config.port, config.loopback);
        Ok(Self {
            v4,
            v6,
            port,
            loopback,
            places: Vec::new(),
        })
    }

    /// Looks at the host's interfaces again and joins the groups on new ones. Whether there is a
    /// place that was not there before.
    pub(super) fn rescan(&mut self) -> bool {
        let mut places = Vec::new();
        for interface in getifaddrs().into_iter().flatten() {
            let flags = interface.flags;
            let loopback = flags.contains(InterfaceFlags::IFF_LOOPBACK);
            // Linux does not mark its loopback as capable of multicast; it is all the same.
            let usable = flags.contains(InterfaceFlags::IFF_UP)
                && if loopback {
                    self.loopback
                } else {
                    flags.contains(InterfaceFlags::IFF_MULTICAST)
                };
            let Some(address) = interface.address.filter(|_| usable) else {
                continue;
            };
            let Ok(index) = if_nametoindex(interface.interface_name.as_str()) else {
                continue;
            };
            if let Some(v4) = address.as_sockaddr_in() {
                places.push(Place::V4(index, v4.ip()));
            } else if let Some(v6) = address.as_sockaddr_in6()
                && (v6.ip().is_unicast_link_local() || loopback)
            {
                places.push(Place::V6(index));
            }
        }
        places.sort_unstable();
        places.dedup();
        places.truncate(INTERFACES);
        // The group stays joined on an interface whose other address went; the kernel forgets it
        // with the interface.
        places.retain(|place| self.places.contains(place) || self.join(*place));
        let fresh = places.iter().any(|place| !self.places.contains(place));
        self.places = places;
        fresh
    }

    /// Whether the group is joined there now.
    fn join(&self, place: Place) -> bool {
        let joined = match (place, &self.v4, &self.v6) {
            (Place::V4(index, _), Some(socket), _) => SockRef::from(socket)
                .join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index)),
            (Place::V6(index), _, Some(socket)) => socket.join_multicast_v6(&GROUP_V6, index),
            _ => return false,
        };
        match joined {
            Ok(()) => true,
            // Joined before, through another address of the interface.
            Err(error) => error.kind() == io::ErrorKind::AddrInUse,
        }
    }

    /// How many places are announced from.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Sends to every place. A place that cannot be reached right now is passed over: interfaces
    /// go without notice.
    pub(super) fn announce(&self, bytes: &[u8]) {
        for place in &self.places {
            if let Err(error) = self.send(*place, bytes) {
                tracing::debug!(?place, %error, "announcement not sent");
            }
        }
    }

    fn send(&self, place: Place, bytes: &[u8]) -> io::Result<usize> {
        match (place, &self.v4, &self.v6) {
            (Place::V4(_, from), Some(socket), _) => {
                SockRef::from(socket).set_multicast_if_v4(&from)?;
                socket.send_to(bytes, SocketAddrV4::new(GROUP_V4, self.port))
            }
            (Place::V6(index), _, Some(socket)) => {
                SockRef::from(socket).set_multicast_if_v6(index)?;
                socket.send_to(bytes, SocketAddrV6::new(GROUP_V6, self.port, 0, index))
            }
            _ => Ok(0),
        }
    }

    /// The descriptors to wait on.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.v4, &self.v6].into_iter().flatten().map(AsFd::as_fd)
    }

    /// Hands at most `budget` datagrams of each family to `take`, without waiting. Whether a
    /// socket reported an error; reading has cleared it.
    pub(super) fn receive(&self, budget: usize, mut take: impl FnMut(&[u8], SocketAddr)) -> bool {
        let mut failed = false;
        // One byte more than any announcement, so that longer datagrams show.
        let mut buffer = [0; super::announcement::LEN + 1];
        for socket in [&self.v4, &self.v6].into_iter().flatten() {
            for _ in 0..budget {
                match socket.recv_from(&mut buffer) {
                    Ok((len, from)) if on_link(from.ip()) => take(&buffer[..len], from),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        failed = true;
                        break;
                    }
                }
            }
        }
        failed
    }
}

/// The IPv4 socket is bound to the group, so what arrives was multicast with a TTL of one; the
/// IPv6 one cannot be, but link-local senders are on the link.
fn on_link(from: IpAddr) -> bool {
    match from {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

fn open_v4(port: u16) -> Result<UdpSocket, EngineError> {
    let addr = SocketAddr::from((GROUP_V4, port));
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Several nodes of one host listen to the group.
        socket.set_reuse_address(true)?;
        socket.set_multicast_all_v4(false)?;
        socket.set_multicast_ttl_v4(1)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        Ok(socket.into())
    };
    open().map_err(|source| EngineError::Socket {
        purpose: "LAN discovery",
        addr,
        source,
    })
}

fn open_v6(port: u16) -> Result<UdpSocket, EngineError> {
    let addr = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let open = || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.set_reuse_address(true)?;
        socket.set_multicast_all_v6(false)?;
        socket.set_multicast_hops_v6(1)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        Ok(socket.into())
    };
    open().map_err(|source| EngineError::Socket {
        purpose: "LAN discovery",
        addr,
        source,
    })
}

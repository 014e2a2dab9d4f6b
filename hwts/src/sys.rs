//! System calls as safe functions; what libc lacks.
//!
//! Plain libc calls only, and no `SOCK_CLOEXEC` on the time socket: clock simulators that preload
//! a shim over libc must be able to recognise the socket and every clock read.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// `ee_origin` of a TX stamp on the error queue (linux/errqueue.h).
pub(crate) const SO_EE_ORIGIN_TIMESTAMPING: u8 = 4;

/// Reads a clock; the ids used in this crate always exist, so this cannot fail.
#[inline]
pub(crate) fn clock_gettime(id: libc::clockid_t) -> i64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is a valid, writable timespec for the duration of the call.
    unsafe { libc::clock_gettime(id, &raw mut t) };
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// Turns the −1 of a C call into the error it left in `errno`.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A socket address in the kernel's form.
pub(crate) struct SockAddr {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl SockAddr {
    fn empty() -> Self {
        Self {
            // SAFETY: sockaddr_storage is plain integers, for which all-zero bytes are valid.
            storage: unsafe { MaybeUninit::zeroed().assume_init() },
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    /// The address as Rust has it; a v4-mapped IPv6 address becomes plain IPv4.
    pub(crate) fn to_socket_addr(&self) -> Option<SocketAddr> {
        match libc::c_int::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that this is a sockaddr_in, which is smaller than the
                // storage and has no stricter alignment.
                let v4 = unsafe { *(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above, with sockaddr_in6.
                let v6 = unsafe { *(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddrV4::new(v4, port).into(),
                    None => SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into(),
                })
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for SockAddr {
    fn from(addr: SocketAddr) -> Self {
        let mut out = Self::empty();
        match addr {
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*v4.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is larger than, and aligned for, every socket address.
                unsafe {
                    (&raw mut out.storage)
                        .cast::<libc::sockaddr_in>()
                        .write(raw)
                };
                out.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: as above.
                unsafe {
                    (&raw mut out.storage)
                        .cast::<libc::sockaddr_in6>()
                        .write(raw)
                };
                out.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        out
    }
}

/// The v4-mapped form of an address, as an IPv6 socket wants it.
pub(crate) fn to_v6(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// A UDP socket of the family of `local`, bound to nothing yet.
pub(crate) fn udp_socket(local: SocketAddr) -> io::Result<OwnedFd> {
    let family = if local.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: no pointers; the result is checked before it is owned.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds `fd` to `local`.
pub(crate) fn bind(fd: BorrowedFd<'_>, local: SocketAddr) -> io::Result<()> {
    let addr = SockAddr::from(local);
    // SAFETY: `addr` holds an address of `addr.len` bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), addr.as_ptr(), addr.len) }).map(drop)
}

/// The address `fd` is bound to.
pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut addr = SockAddr::empty();
    let mut len = addr.len;
    // SAFETY: `addr` has room for `len` bytes and both live through the call.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), addr.as_mut_ptr(), &raw mut len) })?;
    addr.to_socket_addr()
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

/// Sets an integer socket option.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: `value` is a c_int and the length says so.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Takes the pending error of a socket (`SO_ERROR`), which clears it.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` has room for `len` bytes and both live through the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}

/// A netlink socket of a family that hears of `groups`.
pub(crate) fn netlink_socket(family: libc::c_int, groups: u32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers; the result is checked before it is owned.
    let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, family) })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: sockaddr_nl is plain integers, for which all-zero bytes are valid.
    let mut address: libc::sockaddr_nl = unsafe { MaybeUninit::zeroed().assume_init() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    // SAFETY: `address` is a live sockaddr_nl and the length says so.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_nl>() as libc::socklen_t,
        )
    })?;
    Ok(fd)
}

/// Sends to whom a socket belongs: the kernel, for netlink.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length come from a live slice.
    check_len(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) })
}

/// Receives one datagram without blocking.
pub(crate) fn receive(fd: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length come from a live slice.
    check_len(unsafe {
        libc::recv(
            fd.as_raw_fd(),
            room.as_mut_ptr().cast(),
            room.len(),
            libc::MSG_DONTWAIT,
        )
    })
}

/// Sends one datagram without blocking; with `stamps`, only these `SOF_TIMESTAMPING_TX_…` are asked
/// for, whatever the socket is set to.
pub(crate) fn send_to(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    to: &SockAddr,
    stamps: Option<u32>,
) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let Some(stamps) = stamps else {
        // SAFETY: pointers and lengths come from a live slice and a live address.
        return check_len(unsafe {
            libc::sendto(
                fd.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                flags,
                to.as_ptr(),
                to.len,
            )
        });
    };
    let mut control = StampsWanted {
        // SAFETY: cmsghdr is integers (and padding with some C libraries), for which all-zero bytes
        // are valid.
        header: unsafe { MaybeUninit::zeroed().assume_init() },
        stamps,
    };
    let control_len = size_of::<libc::cmsghdr>() + size_of::<u32>();
    control.header.cmsg_len = control_len as _;
    control.header.cmsg_level = libc::SOL_SOCKET;
    control.header.cmsg_type = libc::SO_TIMESTAMPING;
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: msghdr is integers and pointers, for which all-zero bytes are valid.
    let mut msg: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    msg.msg_name = to.as_ptr().cast_mut().cast();
    msg.msg_namelen = to.len;
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = (&raw mut control).cast();
    msg.msg_controllen = size_of::<StampsWanted>() as _;
    // SAFETY: every pointer in `msg` is to a live buffer of the length that stands beside it;
    // sending writes to none of them.
    check_len(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const msg, flags) })
}

/// A control message with the stamps wanted of one packet, as `CMSG_SPACE` lays it out.
#[repr(C, align(8))]
struct StampsWanted {
    header: libc::cmsghdr,
    stamps: u32,
}

/// Room for control messages, aligned as the kernel lays them out.
#[derive(Debug)]
#[repr(C, align(8))]
pub(crate) struct ControlBuffer(pub(crate) [u8; 512]);

/// What `recvmsg` reported besides the bytes.
pub(crate) struct Message {
    /// Bytes written to the buffer.
    pub(crate) len: usize,
    /// Bytes of control messages.
    pub(crate) control_len: usize,
    /// `MSG_TRUNC`, `MSG_CTRUNC`, `MSG_ERRQUEUE`.
    pub(crate) flags: libc::c_int,
    /// Where it came from.
    pub(crate) from: Option<SocketAddr>,
}

/// Receives one message without blocking.
pub(crate) fn recv_message(
    fd: BorrowedFd<'_>,
    bytes: &mut [u8],
    control: &mut ControlBuffer,
    flags: libc::c_int,
) -> io::Result<Message> {
    let mut from = SockAddr::empty();
    from.storage.ss_family = libc::AF_UNSPEC as libc::sa_family_t;
    let mut iov = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: msghdr is integers and pointers, for which all-zero bytes are valid.
    let mut msg: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    msg.msg_name = from.as_mut_ptr().cast();
    msg.msg_namelen = from.len;
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.0.as_mut_ptr().cast();
    msg.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer in `msg` is to a live buffer of the length that stands beside it.
    let len = check_len(unsafe {
        libc::recvmsg(fd.as_raw_fd(), &raw mut msg, flags | libc::MSG_DONTWAIT)
    })?;
    // Some C libraries have a narrower type for it.
    let control_len: usize = msg.msg_controllen as _;
    Ok(Message {
        len: len.min(bytes.len()),
        control_len: control_len.min(control.0.len()),
        flags: msg.msg_flags,
        from: from.to_socket_addr(),
    })
}

/// `poll(2)`, and for what that cannot express `ppoll(2)`; without a timeout for ever.
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<libc::c_int> {
    let count = fds.len() as libc::nfds_t;
    let millis = match timeout {
        None => Some(-1),
        Some(left) if left.subsec_nanos().is_multiple_of(1_000_000) => {
            Some(libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX))
        }
        Some(_) => None,
    };
    if let Some(millis) = millis {
        // SAFETY: pointer and length come from a live slice.
        return check(unsafe { libc::poll(fds.as_mut_ptr(), count, millis) });
    }
    let left = timeout.unwrap_or_default();
    let left = libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    // SAFETY: as above; the time is live, and no signals are masked.
    check(unsafe { libc::ppoll(fds.as_mut_ptr(), count, &raw const left, std::ptr::null()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        for text in ["127.0.0.1:123", "[::1]:123", "[fe80::1%3]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SockAddr::from(addr).to_socket_addr(), Some(addr));
        }
    }

    #[test]
    fn mapped_addresses_come_back_plain() {
        let plain: SocketAddr = "192.0.2.7:9".parse().unwrap();
        let mapped = to_v6(plain);
        assert!(mapped.is_ipv6());
        assert_eq!(SockAddr::from(mapped).to_socket_addr(), Some(plain));
    }
}

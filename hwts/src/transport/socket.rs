//! Making and setting up the socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{TransportError, UdpConfig, WaitMode};
use crate::stamp::{Domain, Source, Stamp};
use crate::sys;

/// Stamps of the kernel both ways, TX stamps alone (no copy of the packet) on the error queue.
pub(super) const FLAGS: u32 = libc::SOF_TIMESTAMPING_TX_SOFTWARE
    | libc::SOF_TIMESTAMPING_RX_SOFTWARE
    | libc::SOF_TIMESTAMPING_SOFTWARE
    | libc::SOF_TIMESTAMPING_OPT_TSONLY;
/// Numbers the TX stamps; the count starts from 0 whenever this is turned on.
pub(super) const NUMBERED: u32 = FLAGS | libc::SOF_TIMESTAMPING_OPT_ID;

/// The cards' stamps beside those of the kernel, and which card took a packet in.
pub(super) const HARDWARE: u32 = libc::SOF_TIMESTAMPING_TX_HARDWARE
    | libc::SOF_TIMESTAMPING_RX_HARDWARE
    | libc::SOF_TIMESTAMPING_RAW_HARDWARE
    | libc::SOF_TIMESTAMPING_OPT_PKTINFO
    | libc::SOF_TIMESTAMPING_OPT_TX_SWHW;

/// Has the kernel say which interface took a packet in.
pub(super) fn tell_interface(fd: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        sys::set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

pub(super) fn open_bound(config: &UdpConfig) -> Result<(OwnedFd, SocketAddr), TransportError> {
    let local = config.local;
    match bound_socket(local) {
        Err(_) if local.is_ipv6() && local.ip().is_unspecified() => {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local.port());
            bound_socket(v4).map(|fd| (fd, v4))
        }
        result => result.map(|fd| (fd, local)),
    }
}

fn bound_socket(local: SocketAddr) -> Result<OwnedFd, TransportError> {
    let fd = sys::udp_socket(local).map_err(TransportError::Socket)?;
    if local.is_ipv6() && local.ip().is_unspecified() {
        sys::set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)
            .map_err(TransportError::Socket)?;
    }
    sys::bind(fd.as_fd(), local).map_err(|error| TransportError::Bind { local, error })?;
    Ok(fd)
}

/// Options that are wishes: the transport works without.
pub(super) fn set_hints(fd: BorrowedFd<'_>, config: &UdpConfig) {
    let limit = |v: u32| libc::c_int::try_from(v).unwrap_or(libc::c_int::MAX);
    let wishes = [
        (libc::SO_RCVBUF, config.receive_buffer),
        (libc::SO_SNDBUF, config.send_buffer),
        (
            libc::SO_BUSY_POLL,
            match config.wait {
                WaitMode::BusyPoll { micros } => Some(micros),
                WaitMode::Block | WaitMode::Spin => None,
            },
        ),
    ];
    for (name, value) in wishes {
        if let Some(value) = value {
            let _ = sys::set_option(fd, libc::SOL_SOCKET, name, limit(value));
        }
    }
}

pub(super) fn set_timestamping(fd: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    sys::set_option(
        fd,
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMPING,
        flags.cast_signed(),
    )
}

pub(super) fn kernel_stamp(nanos: i64) -> Stamp {
    Stamp {
        nanos,
        domain: Domain::Realtime,
        source: Source::Kernel,
    }
}

/// What ICMP messages about earlier packets turn into.
pub(super) fn is_network_error(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::ENONET
        )
    )
}

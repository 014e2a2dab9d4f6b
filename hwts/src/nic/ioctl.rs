//! Requests to a network interface by its name (`netdevice(7)`).

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use crate::sys;

/// Makes `request` of `interface` in this network namespace, with a pointer to `data`.
///
/// # Safety
/// `data` must be of the type that `request` reads and writes.
pub(super) unsafe fn ask<T>(
    interface: &str,
    request: libc::c_ulong,
    data: &mut T,
) -> io::Result<()> {
    let name = interface.as_bytes();
    // SAFETY: ifreq is integers and pointers, for which all-zero bytes are valid.
    let mut ifreq: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    if name.is_empty() || name.len() >= ifreq.ifr_name.len() || name.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("no interface can be called {interface:?}"),
        ));
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed() as libc::c_char;
    }
    ifreq.ifr_ifru.ifru_data = (&raw mut *data).cast();
    let socket = sys::udp_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    // SAFETY: `ifreq` names the interface and points to live data of the type the request wants.
    sys::check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request as _, &raw mut ifreq) })
        .map(drop)
}

//! Our program with the maps it looks into, and attaching it to an interface.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use super::XdpError;
use super::bpf::{self, AddressMap, LoadError, SocketMap, address_map, socket_map};
use super::btf;
use super::program::{PASS, Redirect};

/// Addresses a host may have; those beyond come by the ordinary socket.
const MAX_ADDRESSES: u32 = 1024;
/// Queues that can have a socket; packets of further ones take the ordinary way.
pub(crate) const MAX_QUEUES: u32 = 32;
/// Between looks whether a program that is going is gone.
const PAUSE: Duration = Duration::from_millis(5);
/// Asks the driver for the card's stamp of a received packet.
const RX_TIMESTAMP: &str = "bpf_xdp_metadata_rx_timestamp";

/// Where to attach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttachConfig<'a> {
    /// Name and number of the interface.
    pub(crate) name: &'a str,
    pub(crate) interface: u32,
    /// Ask the card for its stamps.
    pub(crate) hardware: bool,
    /// How long to wait for a program that is just going.
    pub(crate) patience: Duration,
}

/// The attached program; dropping it detaches it.
#[derive(Debug)]
pub(crate) struct Attached {
    _link: OwnedFd,
    hardware: bool,
}

impl Attached {
    /// Whether the card is asked for its stamps.
    pub(crate) const fn asks_for_hardware_stamps(&self) -> bool {
        self.hardware
    }
}

/// Our program and its maps in the kernel, for any interface. To load them takes privileges, to
/// attach the program later does not: who holds it may.
#[derive(Debug)]
pub(crate) struct Program {
    /// Does without the stamps of cards, so it is bound to none.
    plain: OwnedFd,
    sockets: SocketMap,
    addresses: AddressMap,
    known: HashSet<[u8; 16]>,
    port: u16,
}

impl Program {
    /// Loads it for this UDP port. It passes everything on until it is told of sockets and
    /// addresses.
    pub(crate) fn load(port: u16) -> Result<Self, XdpError> {
        let map = |error| XdpError::os("make a BPF map", error);
        let sockets = socket_map(MAX_QUEUES).map_err(map)?;
        let addresses = address_map(MAX_ADDRESSES).map_err(map)?;
        Ok(Self {
            plain: load(port, &sockets, &addresses, None)?,
            sockets,
            addresses,
            known: HashSet::new(),
            port,
        })
    }

    /// Attaches it. Where the card's stamps are not to be had it does without.
    pub(crate) fn attach(&self, config: AttachConfig<'_>) -> Result<Attached, XdpError> {
        let attach = |program: &OwnedFd| {
            attach_patiently(program.as_fd(), config.interface, config.patience)
                .map_err(|error| refused(config.name, error))
        };
        let function = if config.hardware {
            btf::kernel_function(RX_TIMESTAMP).ok().flatten()
        } else {
            None
        };
        if let Some(function) = function {
            // The driver's functions are for programs that are bound to its device.
            let bound = Some((function, config.interface));
            let bound = load(self.port, &self.sockets, &self.addresses, bound);
            match bound.and_then(|bound| attach(&bound)) {
                Ok(link) => {
                    return Ok(Attached {
                        _link: link,
                        hardware: true,
                    });
                }
                Err(error @ XdpError::Occupied(_)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Attached {
            _link: attach(&self.plain)?,
            hardware: false,
        })
    }

    /// From now on a queue's packets go to this socket.
    pub(crate) fn connect(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        self.sockets
            .insert(queue, socket.as_raw_fd().cast_unsigned())
            .map_err(|error| XdpError::os("hand an AF_XDP socket to the program", error))
    }

    /// From now on packets to these addresses are ours, and no others.
    ///
    /// # Errors
    /// A kernel before Linux 5.19 allows that to privileged processes only. What is missing then
    /// comes by the ordinary socket.
    pub(crate) fn set_addresses(&mut self, wanted: &[IpAddr]) -> io::Result<()> {
        let key = |address: &IpAddr| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let wanted: HashSet<[u8; 16]> = wanted
            .iter()
            .map(key)
            .take(MAX_ADDRESSES as usize)
            .collect();
        for gone in self.known.difference(&wanted) {
            self.addresses.remove(*gone)?;
        }
        for new in wanted.difference(&self.known) {
            self.addresses.insert(*new, 1)?;
        }
        self.known = wanted;
        Ok(())
    }
}

/// Loads the program; one that asks the card for its stamps by this function is bound to this
/// interface.
fn load(
    port: u16,
    sockets: &SocketMap,
    addresses: &AddressMap,
    hardware: Option<(u32, u32)>,
) -> Result<OwnedFd, XdpError> {
    let code = Redirect {
        port,
        sockets: sockets.fd.as_fd(),
        addresses: addresses.fd.as_fd(),
        hardware: hardware.map(|(function, _)| function),
        otherwise: PASS,
    }
    .assemble();
    let code = code.map_err(|error| XdpError::Program {
        error: io::Error::from(io::ErrorKind::InvalidInput),
        complaint: format!("{error:?}"),
    })?;
    let program = bpf::load(&code, hardware.map(|(_, interface)| interface));
    program.map_err(
        |LoadError { error, complaint }| match error.raw_os_error() {
            Some(libc::EPERM) => XdpError::NotPermitted("load a BPF program"),
            _ => XdpError::Program { error, complaint },
        },
    )
}

/// A program whose process has just ended is detached in the background.
fn attach_patiently(
    program: BorrowedFd<'_>,
    interface: u32,
    patience: Duration,
) -> io::Result<OwnedFd> {
    let start = Instant::now();
    loop {
        match bpf::attach(program, interface) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < patience =>
            {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

fn refused(name: &str, error: io::Error) -> XdpError {
    match error.raw_os_error() {
        // EEXIST: a program in generic mode.
        Some(libc::EBUSY | libc::EEXIST) => XdpError::Occupied(name.to_owned()),
        Some(libc::EOPNOTSUPP | libc::ERANGE | libc::EINVAL) => XdpError::NoNative {
            interface: name.to_owned(),
            error,
        },
        _ => XdpError::os("attach an XDP program", error),
    }
}

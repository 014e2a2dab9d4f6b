//! Our program at one interface, with the maps it looks into.

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
/// By when a program that is going is gone, and the pause between looks.
const DETACHES: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);
/// Asks the driver for the card's stamp of a received packet.
const RX_TIMESTAMP: &str = "bpf_xdp_metadata_rx_timestamp";

/// What to attach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttachConfig<'a> {
    /// Name and number of the interface.
    pub(crate) name: &'a str,
    pub(crate) interface: u32,
    /// Our UDP port.
    pub(crate) port: u16,
    /// Receive queues.
    pub(crate) queues: u32,
    /// Ask the card for its stamps.
    pub(crate) hardware: bool,
}

/// The attached program; dropping it detaches it.
#[derive(Debug)]
pub(crate) struct Attached {
    _link: OwnedFd,
    sockets: SocketMap,
    addresses: AddressMap,
    known: HashSet<[u8; 16]>,
    hardware: bool,
}

impl Attached {
    /// Loads and attaches the program. It passes everything on until it is told of sockets and
    /// addresses. Where the card's stamps are not to be had it does without.
    pub(crate) fn new(config: AttachConfig<'_>) -> Result<Self, XdpError> {
        let map = |error| XdpError::os("make a BPF map", error);
        let sockets = socket_map(config.queues).map_err(map)?;
        let addresses = address_map(MAX_ADDRESSES).map_err(map)?;
        let program = |hardware: Option<u32>| {
            let code = Redirect {
                port: config.port,
                sockets: sockets.fd.as_fd(),
                addresses: addresses.fd.as_fd(),
                hardware,
                otherwise: PASS,
            }
            .assemble();
            let code = code.map_err(|error| XdpError::Program {
                error: io::Error::from(io::ErrorKind::InvalidInput),
                complaint: format!("{error:?}"),
            })?;
            // The driver's functions are for programs that are bound to its device.
            let program = bpf::load(&code, hardware.map(|_| config.interface));
            let program =
                program.map_err(
                    |LoadError { error, complaint }| match error.raw_os_error() {
                        Some(libc::EPERM) => XdpError::NotPermitted("load a BPF program"),
                        _ => XdpError::Program { error, complaint },
                    },
                )?;
            attach_patiently(program.as_fd(), config.interface)
                .map_err(|error| refused(config.name, error))
        };
        let function = if config.hardware {
            btf::kernel_function(RX_TIMESTAMP).ok().flatten()
        } else {
            None
        };
        let (link, hardware) = match function.map(|function| program(Some(function))) {
            Some(Ok(link)) => (link, true),
            Some(Err(XdpError::Occupied(name))) => return Err(XdpError::Occupied(name)),
            Some(Err(_)) | None => (program(None)?, false),
        };
        Ok(Self {
            _link: link,
            sockets,
            addresses,
            known: HashSet::new(),
            hardware,
        })
    }

    /// Whether the card is asked for its stamps.
    pub(crate) const fn asks_for_hardware_stamps(&self) -> bool {
        self.hardware
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

/// A program whose process has just ended is detached in the background.
fn attach_patiently(program: BorrowedFd<'_>, interface: u32) -> io::Result<OwnedFd> {
    let start = Instant::now();
    loop {
        match bpf::attach(program, interface) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < DETACHES =>
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

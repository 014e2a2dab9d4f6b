//! What can go wrong with a transport.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why stamps are worse than what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackReason {
    /// The kernel refused `SO_TIMESTAMPING`.
    Refused {
        /// Its error number.
        errno: i32,
    },
    /// The kernel promised TX stamps, but none comes any more: the driver of the interface does
    /// not deliver them.
    TxStampsStopped,
    /// The kernel does not say which packet a TX stamp belongs to.
    TxStampsUnidentified {
        /// The error number of the attempt.
        errno: i32,
    },
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Refused { errno } => write!(
                f,
                "the kernel refused SO_TIMESTAMPING ({})",
                io::Error::from_raw_os_error(errno)
            ),
            Self::TxStampsStopped => f.write_str(
                "no transmit stamps come from the kernel; the interface's driver may lack them \
                 (see ethtool -T)",
            ),
            Self::TxStampsUnidentified { errno } => write!(
                f,
                "transmit stamps cannot be told apart ({})",
                io::Error::from_raw_os_error(errno)
            ),
        }
    }
}

/// Why a transport could not be opened or used.
#[derive(Debug)]
pub enum TransportError {
    /// The address cannot be listened on.
    Bind {
        /// The address.
        local: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The socket cannot be made or asked.
    Socket(io::Error),
    /// IPv6 from a socket that has IPv4 only.
    WrongFamily {
        /// The address.
        to: SocketAddr,
    },
    /// The datagram was not sent. Others may be: the transport stays usable.
    Send {
        /// Whom it was for.
        to: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// Nothing can be received.
    Receive(io::Error),
    /// Waiting failed.
    Wait(io::Error),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { local, error } => {
                write!(f, "cannot listen on {local}: {error}")?;
                match error.raw_os_error() {
                    Some(libc::EADDRINUSE) => {
                        f.write_str(" (another process has it; choose another port)")
                    }
                    Some(libc::EADDRNOTAVAIL) => f.write_str(" (no interface has this address)"),
                    Some(libc::EACCES) => {
                        f.write_str(" (ports below 1024 need CAP_NET_BIND_SERVICE)")
                    }
                    _ => Ok(()),
                }
            }
            Self::Socket(e) => write!(f, "cannot make a UDP socket: {e}"),
            Self::WrongFamily { to } => write!(
                f,
                "cannot send to {to} from a socket that has IPv4 only: listen on [::]"
            ),
            Self::Send { to, error } => write!(f, "cannot send to {to}: {error}"),
            Self::Receive(e) => write!(f, "cannot receive: {e}"),
            Self::Wait(e) => write!(f, "cannot wait for packets: {e}"),
        }
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { error, .. } | Self::Send { error, .. } => Some(error),
            Self::Socket(e) | Self::Receive(e) | Self::Wait(e) => Some(e),
            Self::WrongFamily { .. } => None,
        }
    }
}

//! Why there is no AF_XDP, and what helps.

use std::fmt;
use std::io;

use crate::transport::TransportError;

/// Why packets cannot go by AF_XDP.
#[derive(Debug)]
pub enum XdpError {
    /// The ordinary socket beside it cannot be opened.
    Udp(TransportError),
    /// There is no such interface here.
    NoInterface(String),
    /// No interface is named, and none suggests itself.
    WhichInterface,
    /// The interface cannot carry our packets this way.
    Unsuitable {
        /// The interface.
        interface: String,
        /// Why.
        reason: &'static str,
    },
    /// The process lacks a privilege.
    NotPermitted(&'static str),
    /// Another program is attached to the interface; ours would disturb it.
    Occupied(String),
    /// The driver runs no programs.
    NoNative {
        /// The interface.
        interface: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// Another socket has the queue.
    QueueTaken {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// Packets can be copied only, and that was not wanted.
    NoZeroCopy(String),
    /// More memory would be locked than this process may.
    MemoryLimit {
        /// What was asked for, bytes.
        wanted: usize,
        /// `RLIMIT_MEMLOCK`, bytes.
        limit: u64,
    },
    /// The kernel does not accept our program.
    Program {
        /// What it said.
        error: io::Error,
        /// What its verifier said.
        complaint: String,
    },
    /// Any other refusal of the kernel.
    Os {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for XdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(error) => error.fmt(f),
            Self::NoInterface(name) => write!(f, "there is no interface {name}; see `ip link`"),
            Self::WhichInterface => f.write_str(
                "no default route says which interface to use: name it (transport.interface)",
            ),
            Self::Unsuitable { interface, reason } => write!(f, "{interface} {reason}"),
            Self::NotPermitted(what) => write!(
                f,
                "not permitted to {what}: AF_XDP needs CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW at \
                 the start (root, or AmbientCapabilities= in a unit)"
            ),
            Self::Occupied(interface) => write!(
                f,
                "another XDP program is attached to {interface} and ours would disturb it (`ip \
                 link show {interface}` names it)"
            ),
            Self::NoNative { interface, error } => {
                write!(f, "the driver of {interface} runs no XDP programs")?;
                if error.raw_os_error() != Some(libc::EOPNOTSUPP) {
                    write!(f, " as it is set up now ({error}")?;
                    match error.raw_os_error() {
                        Some(libc::ERANGE | libc::EINVAL) => {
                            f.write_str("; its MTU may be too large, or LRO be on)")?;
                        }
                        _ => f.write_str(")")?,
                    }
                }
                f.write_str(
                    "; the kernel's generic mode is not used, since it stamps sent packets after \
                     they have arrived",
                )
            }
            Self::QueueTaken { interface, queue } => write!(
                f,
                "another AF_XDP socket has queue {queue} of {interface}, or has just left it"
            ),
            Self::NoZeroCopy(interface) => write!(
                f,
                "the driver of {interface} exchanges packets with programs by copying them only"
            ),
            Self::MemoryLimit { wanted, limit } => write!(
                f,
                "AF_XDP would lock {} KiB of memory for packets, but {} KiB are allowed: raise \
                 the limit (LimitMEMLOCK= in a unit, `ulimit -l`) or give the process CAP_IPC_LOCK",
                wanted.div_ceil(1024),
                limit / 1024
            ),
            Self::Program { error, complaint } => {
                write!(f, "the kernel refuses the XDP program: {error}")?;
                if complaint.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({complaint})")
                }
            }
            Self::Os { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for XdpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Udp(error) => Some(error),
            Self::NoNative { error, .. } | Self::Program { error, .. } | Self::Os { error, .. } => {
                Some(error)
            }
            _ => None,
        }
    }
}

impl XdpError {
    /// What the kernel said to `what`.
    pub(crate) fn os(what: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted(what),
            _ => Self::Os { what, error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_helps() {
        let refused = |errno| XdpError::os("load", io::Error::from_raw_os_error(errno)).to_string();
        assert!(refused(libc::EPERM).contains("CAP_BPF"));
        assert!(!refused(libc::ENOMEM).contains("CAP_BPF"));
        let limit = XdpError::MemoryLimit {
            wanted: 3_000_000,
            limit: 65_536,
        };
        assert!(limit.to_string().contains("2930 KiB"), "{limit}");
        assert!(limit.to_string().contains("LimitMEMLOCK="));
        let native = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            let interface = "eth0".to_owned();
            XdpError::NoNative { interface, error }.to_string()
        };
        assert!(native(libc::ERANGE).contains("MTU"));
        assert!(!native(libc::EOPNOTSUPP).contains("MTU"));
    }
}

//! Network namespaces without names: nothing of them can be left behind.
//!
//! A namespace lives as long as somebody holds it: here a file descriptor and the threads and
//! processes inside. It appears in no list of `ip netns`, and the kernel removes it (and its
//! interfaces) however this process ends. Only threads that ask to are moved; the process stays
//! where it is.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

/// Why there is no namespace, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Not root, or not with `CAP_SYS_ADMIN`.
    #[error("network namespaces need root (CAP_SYS_ADMIN)")]
    NotPermitted,
    /// The kernel or its limits.
    #[error("the kernel gives no network namespace: {0}")]
    Refused(io::Error),
    /// The program `ip` is missing.
    #[error("the program `ip` cannot be run ({0}): install iproute2")]
    NoIproute(io::Error),
    /// The program `ip` did not do what it was told.
    #[error("`ip {arguments}` failed: {complaint}")]
    Iproute {
        /// What it was told.
        arguments: String,
        /// What it said.
        complaint: String,
    },
}

impl From<nix::Error> for NetnsError {
    fn from(error: nix::Error) -> Self {
        match error {
            nix::Error::EPERM => Self::NotPermitted,
            other => Self::Refused(other.into()),
        }
    }
}

/// A network namespace, gone when this and everything inside is.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, whose loopback interface is up.
    ///
    /// # Errors
    /// See [`NetnsError`].
    pub fn new() -> Result<Self, NetnsError> {
        let file = apart(|| -> Result<File, NetnsError> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net").map_err(NetnsError::Refused)
        })?;
        let namespace = Self(file);
        namespace.ip("link set dev lo up")?;
        Ok(namespace)
    }

    /// Moves the calling thread into it, for good. Threads and processes it starts are inside, too;
    /// so are its sockets, whoever uses them.
    ///
    /// # Errors
    /// [`NetnsError::NotPermitted`] if the process gave its privileges away meanwhile.
    pub fn enter(&self) -> Result<(), NetnsError> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWNET)?)
    }

    /// Does something inside, on a thread of its own; the calling thread stays where it is.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        apart(|| self.enter().map(|()| work()))
    }

    /// Runs `ip` inside, with arguments separated by spaces.
    ///
    /// # Errors
    /// [`NetnsError::NoIproute`] and [`NetnsError::Iproute`].
    pub fn ip(&self, arguments: &str) -> Result<(), NetnsError> {
        let output = self.inside(|| {
            Command::new("ip")
                .args(arguments.split_whitespace())
                .stdin(Stdio::null())
                .output()
        })?;
        let output = output.map_err(NetnsError::NoIproute)?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(NetnsError::Iproute {
            arguments: arguments.to_owned(),
            complaint: complaint.trim().replace('\n', "; "),
        })
    }

    /// Joins this namespace and `other` by a pair of interfaces that are both called `name`, with
    /// one address each (of `/prefix` bits).
    ///
    /// # Errors
    /// As [`ip`](Self::ip).
    pub fn join(
        &self,
        other: &Self,
        name: &str,
        [here, there]: [IpAddr; 2],
        prefix: u8,
    ) -> Result<(), NetnsError> {
        // `ip` opens the other namespace through this process' table of descriptors.
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        self.ip(&format!(
            "link add dev {name} type veth peer name {name} netns {path}"
        ))?;
        for (namespace, address) in [(self, here), (other, there)] {
            // Without duplicate address detection an IPv6 address can be used at once.
            let quick = if address.is_ipv6() { "nodad" } else { "" };
            namespace.ip(&format!(
                "address add {address}/{prefix} dev {name} {quick}"
            ))?;
            namespace.ip(&format!("link set dev {name} up"))?;
        }
        Ok(())
    }
}

/// Does something on a thread of its own and waits for it.
fn apart<T: Send>(work: impl FnOnce() -> Result<T, NetnsError> + Send) -> Result<T, NetnsError> {
    let thread = std::thread::scope(|scope| scope.spawn(work).join());
    thread.unwrap_or_else(|_| {
        let panicked = io::Error::other("the thread inside it panicked");
        Err(NetnsError::Refused(panicked))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    /// Two namespaces that are joined; none (and a line that says why) where that is impossible.
    fn pair() -> Option<[Namespace; 2]> {
        match (Namespace::new(), Namespace::new()) {
            (Ok(a), Ok(b)) => Some([a, b]),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("SKIPPED: {error}");
                None
            }
        }
    }

    #[test]
    fn datagrams_pass_between_joined_namespaces_only() {
        let Some([a, b]) = pair() else { return };
        for (here, there, prefix) in [("192.0.2.1", "192.0.2.2", 24), ("fd00::1", "fd00::2", 64)] {
            let [here, there]: [IpAddr; 2] = [here.parse().unwrap(), there.parse().unwrap()];
            let name = if here.is_ipv4() { "four" } else { "six" };
            a.join(&b, name, [here, there], prefix).unwrap();
            let bind = |ip| UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap();
            let sender = a.inside(|| bind(here)).unwrap();
            let receiver = b.inside(|| bind(there)).unwrap();
            receiver
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            // Neither thread is inside any more; the sockets are. A link that has just come up may
            // lose the first ones.
            let to = receiver.local_addr().unwrap();
            let exchanged = (0..30).find_map(|_| {
                sender.send_to(b"hello", to).unwrap();
                receiver.recv_from(&mut [0; 16]).ok()
            });
            assert_eq!(exchanged.map(|(_, from)| from.ip()), Some(here));
            assert!(UdpSocket::bind(SocketAddr::new(here, 0)).is_err());
        }
    }

    #[test]
    fn what_ip_refuses_is_said() {
        let Some([a, _]) = pair() else { return };
        let error = a.ip("link set dev nosuch0 up").unwrap_err().to_string();
        assert!(error.contains("link set dev nosuch0 up"), "{error}");
        assert!(error.contains("nosuch0\""), "{error}");
    }
}

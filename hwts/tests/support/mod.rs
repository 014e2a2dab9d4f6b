//! Network namespaces without names, joined by a veth pair: gone when the test is.
#![expect(clippy::unwrap_used, reason = "a failing helper is a failing test")]
#![expect(unreachable_pub, reason = "for the tests beside it")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

/// The interface of each end.
pub const VETH: &str = "veth0";

pub struct Namespace(File);

/// Runs something on a thread of its own.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

impl Namespace {
    fn new() -> Result<Self, String> {
        apart(|| {
            // SAFETY: no pointers; only this thread moves.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(std::io::Error::last_os_error().to_string());
            }
            let file = File::open("/proc/thread-self/ns/net").map_err(|e| e.to_string())?;
            Ok(Self(file))
        })
    }

    /// Moves this thread inside, for good.
    pub fn enter(&self) {
        // SAFETY: the descriptor is that of a namespace.
        let moved = unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "{}", std::io::Error::last_os_error());
    }

    /// Does something inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        apart(|| {
            self.enter();
            work()
        })
    }

    /// Runs `ip` inside.
    pub fn ip(&self, arguments: &str) -> Result<(), String> {
        self.inside(|| {
            let output = Command::new("ip")
                .args(arguments.split_whitespace())
                .stdin(Stdio::null())
                .output()
                .map_err(|e| format!("ip: {e}"))?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.success().then_some(()).ok_or(said)
        })
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Two namespaces, 192.0.2.1 and fd00::1 in one, …2 in the other; none (and a line that says why)
/// where that is impossible.
pub fn pair() -> Option<[Namespace; 2]> {
    let made = (|| {
        let pair = [Namespace::new()?, Namespace::new()?];
        join(&pair)?;
        Ok::<_, String>(pair)
    })();
    made.map_err(|reason| eprintln!("SKIPPED: no namespaces: {reason}"))
        .ok()
}

/// Joins two namespaces that have no interfaces yet, or no longer.
pub fn join([a, b]: &[Namespace; 2]) -> Result<(), String> {
    a.ip(&format!(
        "link add dev {VETH} type veth peer name {VETH} netns {}",
        b.path()
    ))?;
    for (namespace, number) in [(a, 1), (b, 2)] {
        namespace.ip(&format!("address add 192.0.2.{number}/24 dev {VETH}"))?;
        namespace.ip(&format!("address add fd00::{number}/64 dev {VETH} nodad"))?;
        namespace.ip("link set dev lo up")?;
        namespace.ip(&format!("link set dev {VETH} up"))?;
    }
    Ok(())
}

//! What this process may do to the host, and giving up all of it but what a running daemon needs.

use std::ffi::CString;
use std::fmt;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::{self, Gid, Uid, User};
use serde::Serialize;

/// Steers the clock.
const STEER: Capability = Capability::CAP_SYS_TIME;
/// Makes sockets for an interface that was gone and is back.
const BYPASS: Capability = Capability::CAP_NET_RAW;

/// Privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The user is not known.
    #[error("there is no user `{0}`: create it (useradd --system {0}) or leave `user` out")]
    NoSuchUser(String),
    /// The user is root, so nothing would be given up.
    #[error("`{0}` is root: name an unprivileged user, or leave `user` out")]
    StillRoot(String),
    /// Only root may become somebody else.
    #[error(
        "cannot become user `{user}`: {missing} missing; start parisync as root, or as `{user}` \
         with AmbientCapabilities=CAP_SYS_TIME"
    )]
    NotRoot {
        /// Who was to be become.
        user: String,
        /// What is lacking.
        missing: String,
    },
    /// Capabilities belong to threads: those running already would keep theirs, or lose the clock.
    #[error("privileges must be given up before threads are started, but {0} are running")]
    ManyThreads(usize),
    /// The kernel refused a step on the way.
    #[error("cannot give up privileges: {what}: {source}")]
    Kernel {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: Errno,
    },
    /// The kernel refused to change capabilities.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] CapsError),
    /// After it all, root could be regained.
    #[error("privileges were given up but could be regained: refusing to run")]
    Regained,
}

/// What became of the privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Who the process is now.
    pub user: String,
    /// The same as a number.
    pub uid: u32,
    /// What is left.
    pub kept: Vec<Capability>,
    /// What was to be kept, and the process never had.
    pub missing: Vec<Capability>,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |some: &[Capability]| {
            let names: Vec<_> = some.iter().map(Capability::to_string).collect();
            names.join(" and ")
        };
        write!(f, "running as user {} ({})", self.user, self.uid)?;
        if !self.kept.is_empty() {
            write!(f, ", keeping {} only", names(&self.kept))?;
        }
        for capability in &self.missing {
            let so = match *capability {
                STEER => "the clock is only measured",
                _ => "AF_XDP ends when its interface goes",
            };
            write!(
                f,
                ", without {capability}, which was missing from the start: {so}"
            )?;
        }
        Ok(())
    }
}

/// Becomes `user` for good, keeping nothing but `CAP_SYS_TIME`, and `CAP_NET_RAW` where packets go
/// by AF_XDP: after sockets are bound, priorities set and files made, before any other thread is
/// started.
///
/// A process that is `user` already gives up its other capabilities.
///
/// # Errors
/// [`PrivilegeError`]. The process may then have given up a part, and should stop.
pub fn drop_to(user: &str, bypass: bool) -> Result<Dropped, PrivilegeError> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(PrivilegeError::ManyThreads(threads));
    }
    drop_this_thread_to(user, if bypass { &[STEER, BYPASS] } else { &[STEER] })
}

/// Lets this process use `SCHED_FIFO` up to `priority` after it has given up its privileges.
///
/// # Errors
/// [`PrivilegeError`] if the limit cannot be raised.
pub fn allow_realtime(priority: u8) -> Result<(), PrivilegeError> {
    let limit = u64::from(priority);
    setrlimit(Resource::RLIMIT_RTPRIO, limit, limit).map_err(kernel("RLIMIT_RTPRIO"))
}

/// Lets this process lock so many bytes after it has given up its privileges, or as many as it can
/// get: who is refused memory then says so.
pub fn allow_locked_memory(bytes: usize) {
    let bytes = bytes as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else {
        return;
    };
    let wanted = soft.max(bytes);
    if setrlimit(Resource::RLIMIT_MEMLOCK, wanted, hard.max(bytes)).is_err() {
        // To go beyond the hard limit takes CAP_SYS_RESOURCE.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, wanted.min(hard), hard);
    }
}

fn drop_this_thread_to(name: &str, keep: &[Capability]) -> Result<Dropped, PrivilegeError> {
    let user = User::from_name(name)
        .map_err(kernel("looking up the user"))?
        .ok_or_else(|| PrivilegeError::NoSuchUser(name.to_owned()))?;
    if user.uid.is_root() {
        return Err(PrivilegeError::StillRoot(name.to_owned()));
    }
    let permitted = caps::read(None, CapSet::Permitted)?;
    let (kept, missing): (Vec<_>, Vec<_>) = keep.iter().partition(|c| permitted.contains(c));
    if unistd::getuid() != user.uid || unistd::geteuid() != user.uid {
        become_user(name, user.uid, user.gid)?;
    }
    keep_only(&kept)?;
    prctl::set_no_new_privs().map_err(kernel("PR_SET_NO_NEW_PRIVS"))?;
    if unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(PrivilegeError::Regained);
    }
    Ok(Dropped {
        user: name.to_owned(),
        uid: user.uid.as_raw(),
        kept,
        missing,
    })
}

fn become_user(name: &str, uid: Uid, gid: Gid) -> Result<(), PrivilegeError> {
    let mut missing = Vec::new();
    for capability in [Capability::CAP_SETUID, Capability::CAP_SETGID] {
        if !caps::has_cap(None, CapSet::Effective, capability)? {
            missing.push(capability.to_string());
        }
    }
    if !missing.is_empty() {
        return Err(PrivilegeError::NotRoot {
            user: name.to_owned(),
            missing: missing.join(" and "),
        });
    }
    let c_name = CString::new(name).map_err(|_| PrivilegeError::NoSuchUser(name.to_owned()))?;
    prctl::set_keepcaps(true).map_err(kernel("PR_SET_KEEPCAPS"))?;
    unistd::initgroups(&c_name, gid).map_err(kernel("initgroups"))?;
    unistd::setresgid(gid, gid, gid).map_err(kernel("setresgid"))?;
    unistd::setresuid(uid, uid, uid).map_err(kernel("setresuid"))?;
    prctl::set_keepcaps(false).map_err(kernel("PR_SET_KEEPCAPS"))
}

fn keep_only(kept: &[Capability]) -> Result<(), CapsError> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    // Effective must stay within permitted, so it shrinks first; programs we start inherit none.
    caps::clear(None, CapSet::Effective)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Ambient)
}

fn kernel(what: &'static str) -> impl Fn(Errno) -> PrivilegeError {
    move |source| PrivilegeError::Kernel { what, source }
}

/// What the calling thread may do now; for `parisync diag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Privileges {
    /// Who runs it.
    pub user: String,
    /// The same as a number.
    pub uid: u32,
    /// `CAP_SYS_TIME`: steering the clock. In a container the kernel may refuse all the same.
    pub sys_time: bool,
    /// `CAP_NET_ADMIN`: turning on the network card's timestamps.
    pub net_admin: bool,
    /// `CAP_SYS_NICE`: real-time priority, whatever the limit below.
    pub sys_nice: bool,
    /// `CAP_IPC_LOCK`: locking memory, whatever the limit below.
    pub ipc_lock: bool,
    /// `RLIMIT_RTPRIO`: the highest real-time priority without `CAP_SYS_NICE`.
    pub realtime_priority_limit: Option<u64>,
    /// `RLIMIT_MEMLOCK`, bytes; null if unlimited or unknown.
    pub locked_memory_limit: Option<u64>,
    /// `RLIMIT_NOFILE`: open files.
    pub open_files_limit: Option<u64>,
}

impl Privileges {
    /// Those of the calling thread.
    pub fn now() -> Self {
        let uid = unistd::geteuid();
        let user = User::from_uid(uid).ok().flatten();
        let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
        Self {
            user: user.map_or_else(|| uid.to_string(), |user| user.name),
            uid: uid.as_raw(),
            sys_time: has(Capability::CAP_SYS_TIME),
            net_admin: has(Capability::CAP_NET_ADMIN),
            sys_nice: has(Capability::CAP_SYS_NICE),
            ipc_lock: has(Capability::CAP_IPC_LOCK),
            realtime_priority_limit: limit(Resource::RLIMIT_RTPRIO),
            locked_memory_limit: limit(Resource::RLIMIT_MEMLOCK),
            open_files_limit: limit(Resource::RLIMIT_NOFILE),
        }
    }

    /// What is lacking, what for, and how to give it; one line each.
    pub fn shortcomings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.sys_time {
            lines.push(
                "CAP_SYS_TIME is missing: the system clock is measured, not steered; start as \
                 root, or give it (systemd: AmbientCapabilities=CAP_SYS_TIME)"
                    .to_owned(),
            );
        }
        if !self.net_admin {
            lines.push(
                "CAP_NET_ADMIN is missing: timestamps of the network card cannot be turned on; \
                 those of the kernel are used"
                    .to_owned(),
            );
        }
        if !self.sys_nice && self.realtime_priority_limit.unwrap_or(0) == 0 {
            lines.push(
                "neither CAP_SYS_NICE nor RLIMIT_RTPRIO: no real-time priority for the socket \
                 thread (systemd: LimitRTPRIO=50)"
                    .to_owned(),
            );
        }
        lines
    }
}

fn limit(resource: Resource) -> Option<u64> {
    let (soft, _) = getrlimit(resource).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const CHILD: &str = "service::privileges::tests::child_that_drops";
    /// Stands for `CAP_SYS_TIME`, which even root may lack in a container.
    const PLENTY: Capability = Capability::CAP_NET_BIND_SERVICE;

    /// Runs [`child_that_drops`] in a process of its own, since dropping cannot be undone.
    fn in_child(user: &str) -> String {
        let binary = std::env::current_exe().unwrap();
        let output = Command::new(binary)
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .env("PARISYNC_TEST_DROP_TO", user)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    #[ignore = "gives up the privileges of its process: run by the others in a child"]
    fn child_that_drops() {
        let Ok(user) = std::env::var("PARISYNC_TEST_DROP_TO") else {
            return;
        };
        for keep in [PLENTY, Capability::CAP_CHOWN] {
            match drop_this_thread_to(&user, &[keep]) {
                Ok(dropped) => {
                    println!("DROPPED {dropped}");
                    println!("UID {}", Privileges::now().uid);
                    let effective = caps::read(None, CapSet::Effective).unwrap();
                    let permitted = caps::read(None, CapSet::Permitted).unwrap();
                    println!("CAPS {effective:?} of {permitted:?}");
                    println!("ROOT AGAIN {}", unistd::setuid(Uid::from_raw(0)).is_ok());
                    println!("GROUPS {:?}", unistd::getgroups().unwrap());
                }
                Err(error) => println!("ERROR {error}"),
            }
        }
    }

    #[test]
    fn one_capability_remains_and_nothing_can_be_regained() {
        let able =
            unistd::geteuid().is_root() && caps::has_cap(None, CapSet::Permitted, PLENTY).unwrap();
        let Some(nobody) = User::from_name("nobody").unwrap().filter(|_| able) else {
            eprintln!("skipped: needs root with {PLENTY} and a user `nobody`");
            return;
        };
        let said = in_child("nobody");
        let lines: Vec<_> = said.lines().collect();
        let has = |line: &str| lines.iter().any(|said| said.ends_with(line));
        assert!(has(&format!("UID {}", nobody.uid)), "{said}");
        assert!(has(&format!("CAPS {{{PLENTY}}} of {{{PLENTY}}}")), "{said}");
        // The second time as `nobody` already: the wish cannot be met, the rest is given up.
        assert!(has("CAPS {} of {}"), "{said}");
        assert!(said.contains("without CAP_CHOWN"), "{said}");
        assert!(!said.contains("ROOT AGAIN true"), "{said}");
        assert!(!said.contains("Gid(0)"), "{said}");
    }

    #[test]
    fn impossible_users_are_named() {
        let said = in_child("no-such-user-here");
        assert!(
            said.contains("there is no user `no-such-user-here`"),
            "{said}"
        );
        let said = in_child("root");
        assert!(said.contains("`root` is root"), "{said}");
    }

    #[test]
    fn threads_in_the_way_are_counted() {
        let waiting = std::thread::spawn(std::thread::park);
        let result = drop_to("no-such-user-here", false);
        waiting.thread().unpark();
        assert!(matches!(result, Err(PrivilegeError::ManyThreads(n)) if n > 1));
        waiting.join().unwrap();
    }

    #[test]
    fn what_is_lacking_is_said() {
        let mut privileges = Privileges::now();
        (
            privileges.sys_time,
            privileges.net_admin,
            privileges.sys_nice,
        ) = (false, true, false);
        privileges.realtime_priority_limit = Some(0);
        let lines = privileges.shortcomings();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("CAP_SYS_TIME"));
        privileges.realtime_priority_limit = Some(50);
        privileges.sys_time = true;
        assert!(privileges.shortcomings().is_empty());
    }
}

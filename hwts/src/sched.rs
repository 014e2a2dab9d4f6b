//! Scheduling of the calling thread: pinning, real-time priority, memory locking.
//!
//! Kernel stamps hardly need any of this; user stamps do.

use std::fmt;
use std::io;
use std::mem::{MaybeUninit, size_of};

use crate::sys::check;

/// Why the scheduling of this thread could not be changed, and what helps.
#[derive(Debug)]
pub enum SchedError {
    /// The machine has no such CPU, or this process may not run on it (cpuset, cgroup).
    NoSuchCpu(usize),
    /// Not a `SCHED_FIFO` priority: those are 1 to 99.
    BadPriority(u8),
    /// The process lacks a privilege.
    NotPermitted {
        /// What was asked for.
        what: &'static str,
        /// Which privilege allows it and how to get it.
        remedy: &'static str,
    },
    /// Any other refusal of the kernel.
    Os(io::Error),
}

impl fmt::Display for SchedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCpu(cpu) => write!(
                f,
                "cannot run on CPU {cpu}: it does not exist or this process is kept off it; \
                 choose one of those in Cpus_allowed_list of /proc/self/status"
            ),
            Self::BadPriority(p) => write!(f, "priority {p} is not between 1 and 99"),
            Self::NotPermitted { what, remedy } => write!(f, "{what} is not permitted: {remedy}"),
            Self::Os(e) => write!(f, "the kernel refused to change the scheduling: {e}"),
        }
    }
}

impl std::error::Error for SchedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os(e) => Some(e),
            _ => None,
        }
    }
}

/// Keeps the calling thread on one CPU (`sched_setaffinity(2)`); threads it starts later inherit
/// that.
///
/// # Errors
/// [`SchedError::NoSuchCpu`] if this thread cannot run there.
pub fn pin_to_cpu(cpu: usize) -> Result<(), SchedError> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(SchedError::NoSuchCpu(cpu));
    }
    // SAFETY: cpu_set_t is an array of integers, for which all-zero bytes are valid.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `cpu` is below CPU_SETSIZE, so the bit lies within the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is live and its size stands beside it; pid 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })
        .map_err(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => SchedError::NoSuchCpu(cpu),
            _ => SchedError::Os(e),
        })?;
    Ok(())
}

/// Gives the calling thread a `SCHED_FIFO` priority of 1 to 99 (`sched_setscheduler(2)`); threads
/// it starts fall back to the normal policy. A FIFO thread that spins starves everything else on
/// its CPU.
///
/// # Errors
/// [`SchedError::NotPermitted`] without `CAP_SYS_NICE` or a sufficient `RLIMIT_RTPRIO`.
pub fn set_fifo(priority: u8) -> Result<(), SchedError> {
    if !(1..=99).contains(&priority) {
        return Err(SchedError::BadPriority(priority));
    }
    let param = libc::sched_param {
        sched_priority: libc::c_int::from(priority),
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `param` is live through the call; pid 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const param) }).map_err(|e| {
        not_permitted(
            e,
            "SCHED_FIFO",
            "give the process CAP_SYS_NICE or raise its rtprio limit (LimitRTPRIO= in a unit)",
        )
    })?;
    Ok(())
}

/// Keeps all memory of the process resident, so that no page fault delays a stamp
/// (`mlockall(2)`).
///
/// # Errors
/// [`SchedError::NotPermitted`] without `CAP_IPC_LOCK` or a sufficient `RLIMIT_MEMLOCK`.
pub fn lock_memory() -> Result<(), SchedError> {
    // SAFETY: no pointers; the call only changes paging.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) }).map_err(|e| {
        not_permitted(
            e,
            "locking memory",
            "give the process CAP_IPC_LOCK or raise its memlock limit (LimitMEMLOCK= in a unit)",
        )
    })?;
    Ok(())
}

fn not_permitted(e: io::Error, what: &'static str, remedy: &'static str) -> SchedError {
    match e.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOMEM) => {
            SchedError::NotPermitted { what, remedy }
        }
        _ => SchedError::Os(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_requests_are_named() {
        assert!(matches!(pin_to_cpu(1023), Err(SchedError::NoSuchCpu(1023))));
        assert!(matches!(pin_to_cpu(9999), Err(SchedError::NoSuchCpu(9999))));
        assert!(matches!(set_fifo(0), Err(SchedError::BadPriority(0))));
    }

    #[test]
    fn a_thread_can_be_pinned_where_it_runs() {
        let pinned = std::thread::spawn(|| {
            // SAFETY: takes no arguments and touches nothing.
            let cpu = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
            pin_to_cpu(cpu).map(|()| cpu)
        });
        assert!(pinned.join().unwrap().is_ok());
    }
}

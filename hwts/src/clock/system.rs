//! `CLOCK_REALTIME`, steered through `clock_adjtime(2)`.

use std::fs;

use super::{Clock, ClockError, Steering, SyncStatus, timex};
use crate::stamp::Domain;
use crate::sys;

/// Whether this process may steer the system clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    Granted,
    /// It lacks `CAP_SYS_TIME`.
    NoCapability,
    /// It has `CAP_SYS_TIME`, but only within a user namespace, where it is worth nothing.
    UserNamespace,
}

/// The system clock.
///
/// Anybody can make one and read it; writing needs `CAP_SYS_TIME` and fails with
/// [`ClockError::NotPermitted`] without. The first write takes the clock over: the kernel's own
/// loop is turned off and its remaining slew dropped.
#[derive(Debug, Default)]
pub struct SystemClock {
    taken_over: bool,
}

impl SystemClock {
    /// The system clock; changes nothing.
    pub const fn new() -> Self {
        Self { taken_over: false }
    }

    /// Whether this process may steer the system clock; changes nothing.
    ///
    /// A process without the capability still asks the kernel, with a request that none grants:
    /// under a clock simulator the kernel that counts is not the one whose `/proc` it sees.
    pub fn permission() -> Permission {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let lacks = if !has_sys_time(&status) {
            Permission::NoCapability
        } else if in_user_namespace(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default()) {
            Permission::UserNamespace
        } else {
            return Permission::Granted;
        };
        match adjtime("ask for permission", timex::impossible()) {
            Err(ClockError::Os { error, .. }) if error.raw_os_error() == Some(libc::EINVAL) => {
                Permission::Granted
            }
            _ => lacks,
        }
    }

    fn write(&mut self, what: &'static str, tx: libc::timex) -> Result<libc::timex, ClockError> {
        if !self.taken_over {
            let current = adjtime(what, timex::empty())?;
            for call in timex::take_over(&current) {
                // Not every kernel or simulator knows all of these; the write below counts.
                if let Err(e @ ClockError::NotPermitted { .. }) = adjtime(what, call) {
                    return Err(e);
                }
            }
            self.taken_over = true;
        }
        adjtime(what, tx)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        Domain::Realtime.now()
    }

    fn max_rate(&self) -> f64 {
        timex::MAX_RATE
    }

    fn set_rate(&mut self, rate: f64) -> Result<f64, ClockError> {
        if rate.is_nan() {
            return Err(ClockError::OutOfRange("the rate is not a number"));
        }
        let tx = self.write("set the rate of the system clock", timex::rate(rate))?;
        Ok(timex::applied_rate(&tx))
    }

    fn step(&mut self, nanos: i64) -> Result<(), ClockError> {
        self.write("step the system clock", timex::step(nanos))
            .map(drop)
    }

    fn publish(&mut self, status: &SyncStatus) -> Result<(), ClockError> {
        self.write(
            "publish the status of the system clock",
            timex::publish(status),
        )
        .map(drop)
    }

    fn read_state(&self) -> Result<Steering, ClockError> {
        adjtime("read the state of the system clock", timex::empty()).map(|tx| timex::read(&tx))
    }
}

fn adjtime(what: &'static str, mut tx: libc::timex) -> Result<libc::timex, ClockError> {
    // SAFETY: `tx` is a live, initialised timex.
    sys::check(unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &raw mut tx) })
        .map_err(|e| ClockError::from_os(what, e))?;
    Ok(tx)
}

/// Whether `/proc/self/status` shows `CAP_SYS_TIME` (25) as effective.
fn has_sys_time(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|caps| caps & (1 << 25) != 0)
}

/// The initial user namespace maps all ids to themselves; others map less.
fn in_user_namespace(uid_map: &str) -> bool {
    let fields: Vec<&str> = uid_map.split_whitespace().collect();
    !fields.is_empty() && fields != ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_can_be_read_without_privilege() {
        let clock = SystemClock::new();
        let state = clock.read_state().unwrap();
        assert!(state.rate.abs() <= 0.1006, "{state:?}");
        assert!((9_000..=11_000).contains(&state.tick));
        assert!(clock.now() > 1_600_000_000_000_000_000);
    }

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        assert!(has_sys_time("Name:\tx\nCapEff:\t0000000002000000\n"));
        assert!(has_sys_time("CapEff:\t000001ffffffffff\n"));
        assert!(!has_sys_time("CapEff:\t0000000001000000\n"));
        assert!(!has_sys_time("CapPrm:\t000001ffffffffff\n"));
        assert!(!has_sys_time(""));
    }

    #[test]
    fn user_namespaces_are_recognised() {
        assert!(!in_user_namespace("         0          0 4294967295\n"));
        assert!(in_user_namespace("         0       1000          1\n"));
        assert!(!in_user_namespace(""));
    }
}

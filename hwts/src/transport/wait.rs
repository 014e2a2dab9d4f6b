//! How every transport waits: looking for a while if it is told to, then asleep in `poll(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Readiness, TransportError, WaitMode};
use crate::stamp::Domain;
use crate::sys;

/// The time that a wait may take, and how much of it is spent without sleeping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    start: i64,
    /// All of it, ns; none for ever.
    total: Option<i64>,
    /// Of that spent looking.
    looking: i64,
}

impl Patience {
    pub(super) fn new(mode: WaitMode, timeout: Option<Duration>) -> Self {
        let nanos = |t: Duration| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX);
        let total = timeout.map(nanos);
        let limit = total.unwrap_or(i64::MAX);
        Self {
            start: Domain::MonotonicRaw.now(),
            total,
            looking: match mode {
                WaitMode::Block => 0,
                WaitMode::BusyPoll { micros } => i64::from(micros).saturating_mul(1_000).min(limit),
                WaitMode::Spin => limit,
            },
        }
    }

    fn elapsed(&self) -> i64 {
        Domain::MonotonicRaw.now().saturating_sub(self.start)
    }

    /// Asks `ready` again and again as long as the mode has it; none if nothing came.
    pub(super) fn look(
        &self,
        mut ready: impl FnMut() -> Result<Readiness, TransportError>,
    ) -> Result<Option<Readiness>, TransportError> {
        while self.looking > 0 && self.elapsed() < self.looking {
            let ready = ready()?;
            if ready != Readiness::default() {
                return Ok(Some(ready));
            }
            std::hint::spin_loop();
        }
        Ok(None)
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self) -> bool {
        self.total.is_some_and(|total| self.elapsed() >= total)
    }

    /// What is left of the time for `poll(2)`, in whole milliseconds; -1 for ever.
    pub(super) fn left_ms(&self) -> libc::c_int {
        self.total.map_or(-1, |total| {
            let left = (total - self.elapsed()).max(0);
            libc::c_int::try_from(left.saturating_add(999_999) / 1_000_000)
                .unwrap_or(libc::c_int::MAX)
        })
    }
}

/// What to ask `poll(2)` about a descriptor.
pub(super) fn entry(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    }
}

/// `poll(2)`; false if a signal came first.
pub(super) fn poll(
    fds: &mut [libc::pollfd],
    timeout_ms: libc::c_int,
) -> Result<bool, TransportError> {
    match sys::poll(fds, timeout_ms) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(e) => Err(TransportError::Wait(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Readiness = Readiness {
        readable: false,
        tx: false,
        woken: false,
    };

    #[test]
    fn who_may_not_look_sleeps_at_once_and_for_as_long_as_he_may() {
        let patience = Patience::new(WaitMode::Block, Some(Duration::from_micros(1_500)));
        let looked = patience.look(|| panic!("nobody is to look"));
        assert_eq!(looked.unwrap(), None);
        assert!((1..=2).contains(&patience.left_ms()));
        assert_eq!(Patience::new(WaitMode::Block, None).left_ms(), -1);
        assert!(!Patience::new(WaitMode::Block, None).is_over());
    }

    #[test]
    fn looking_ends_with_what_comes_or_with_its_time() {
        let mode = WaitMode::BusyPoll { micros: 300 };
        let patience = Patience::new(mode, Some(Duration::from_secs(9)));
        let mut looks = 0;
        assert_eq!(
            patience
                .look(|| {
                    looks += 1;
                    Ok(NOTHING)
                })
                .unwrap(),
            None
        );
        assert!(looks > 0 && patience.left_ms() > 8_000);
        let found = Readiness {
            tx: true,
            ..NOTHING
        };
        let spin = Patience::new(WaitMode::Spin, None);
        assert_eq!(spin.look(|| Ok(found)).unwrap(), Some(found));
        let short = Patience::new(WaitMode::Spin, Some(Duration::from_micros(50)));
        assert_eq!(short.look(|| Ok(NOTHING)).unwrap(), None);
        assert!(short.is_over() && short.left_ms() == 0);
    }
}

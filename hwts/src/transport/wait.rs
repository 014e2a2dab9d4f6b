//! How every transport waits: looking for a while if it is told to, then asleep in `ppoll(2)`, or in
//! `poll(2)` for whole milliseconds.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Readiness, TransportError, WaitMode};
use crate::stamp::Domain;
use crate::sys;

/// How a transport waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) mode: WaitMode,
    /// Sleep for whole milliseconds.
    pub(super) whole_millis: bool,
}

/// The time that a wait may take, and how much of it is spent without sleeping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    start: i64,
    /// All of it, ns; none for ever.
    total: Option<i64>,
    whole_millis: bool,
    /// Of that spent looking.
    looking: i64,
}

impl Patience {
    pub(super) fn new(mode: Waiting, timeout: Option<Duration>) -> Self {
        let Waiting { mode, whole_millis } = mode;
        let nanos = |t: Duration| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX);
        let total = timeout.map(nanos);
        let limit = total.unwrap_or(i64::MAX);
        Self {
            start: Domain::MonotonicRaw.now(),
            total,
            whole_millis,
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

    /// What is left of the time; none if it never ends.
    pub(super) fn left(&self) -> Option<Duration> {
        self.total.map(|total| {
            let left = total.saturating_sub(self.elapsed()).max(0).cast_unsigned();
            if self.whole_millis {
                Duration::from_millis(left.div_ceil(1_000_000))
            } else {
                Duration::from_nanos(left)
            }
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
    timeout: Option<Duration>,
) -> Result<bool, TransportError> {
    match sys::poll(fds, timeout) {
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

    const fn waiting(mode: WaitMode) -> Waiting {
        Waiting {
            mode,
            whole_millis: false,
        }
    }

    #[test]
    fn who_may_not_look_sleeps_at_once_and_for_as_long_as_he_may() {
        let time = Some(Duration::from_micros(900_500));
        let patience = Patience::new(waiting(WaitMode::Block), time);
        let looked = patience.look(|| panic!("nobody is to look"));
        assert_eq!(looked.unwrap(), None);
        assert!(patience.left() < time && patience.left() > Some(Duration::ZERO));
        let coarse = Waiting {
            mode: WaitMode::Block,
            whole_millis: true,
        };
        let left = Patience::new(coarse, time).left().unwrap();
        assert!(left.subsec_nanos().is_multiple_of(1_000_000) && left.as_millis() <= 901);
        let for_ever = Patience::new(waiting(WaitMode::Block), None);
        assert_eq!(for_ever.left(), None);
        assert!(!for_ever.is_over());
    }

    #[test]
    fn looking_ends_with_what_comes_or_with_its_time() {
        let mode = WaitMode::BusyPoll { micros: 300 };
        let patience = Patience::new(waiting(mode), Some(Duration::from_secs(9)));
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
        assert!(looks > 0 && patience.left() > Some(Duration::from_secs(8)));
        let found = Readiness {
            tx: true,
            ..NOTHING
        };
        let spin = Patience::new(waiting(WaitMode::Spin), None);
        assert_eq!(spin.look(|| Ok(found)).unwrap(), Some(found));
        let short = Patience::new(waiting(WaitMode::Spin), Some(Duration::from_micros(50)));
        assert_eq!(short.look(|| Ok(NOTHING)).unwrap(), None);
        assert!(short.is_over() && short.left() == Some(Duration::ZERO));
    }
}

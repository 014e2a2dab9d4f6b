//! Waking a thread that sleeps in `poll(2)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::check;

/// An `eventfd(2)`: any thread wakes the one that waits for it. Wakes before the wait are kept,
/// several become one.
#[derive(Debug)]
pub struct Wake {
    fd: OwnedFd,
}

impl Wake {
    /// A new, quiet one.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        Ok(Self {
            // SAFETY: `fd` was just made and nobody else owns it.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Wakes the waiting thread, or the next that waits. Never blocks.
    pub fn wake(&self) {
        let one: u64 = 1;
        // SAFETY: eight bytes from a live integer. The only possible failure is a full counter,
        // which means that a wake is pending already.
        unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Takes a pending wake; false if there was none.
    pub fn take(&self) -> bool {
        let mut count: u64 = 0;
        // SAFETY: eight bytes into a live integer.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), 8) };
        read == 8
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_are_kept_and_merged() {
        let wake = Wake::new().unwrap();
        assert!(!wake.take());
        wake.wake();
        wake.wake();
        assert!(wake.take());
        assert!(!wake.take());
    }
}

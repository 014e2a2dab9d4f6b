//! Memory that is shared with the kernel: the area of packets, and the rings.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// Mapped pages, unmapped when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to its owner alone and to no thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// New memory of our own, all of it present.
    pub(super) fn anonymous(len: usize) -> io::Result<Self> {
        Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// What a socket offers at `offset`.
    pub(super) fn of(socket: BorrowedFd<'_>, len: usize, offset: libc::off_t) -> io::Result<Self> {
        Self::map(len, libc::MAP_SHARED, socket.as_raw_fd(), offset)
    }

    fn map(len: usize, flags: i32, fd: i32, offset: libc::off_t) -> io::Result<Self> {
        // SAFETY: a new mapping wherever the kernel likes; nothing that exists is touched.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | libc::MAP_POPULATE,
                fd,
                offset,
            )
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(found) if base != libc::MAP_FAILED => Ok(Self { base: found, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(super) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Some of it, to read; none if that is not within.
    ///
    /// # Safety
    /// Nobody, the kernel included, may write there meanwhile.
    pub(super) unsafe fn slice(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.check(at, len)?;
        // SAFETY: within the mapping, and as the caller says.
        Some(unsafe { std::slice::from_raw_parts(self.base.add(at).as_ptr(), len) })
    }

    /// Some of it, to write; none if that is not within.
    ///
    /// # Safety
    /// Nobody, the kernel included, may read or write there meanwhile.
    pub(super) unsafe fn slice_mut(&mut self, at: usize, len: usize) -> Option<&mut [u8]> {
        self.check(at, len)?;
        // SAFETY: within the mapping, and as the caller says.
        Some(unsafe { std::slice::from_raw_parts_mut(self.base.add(at).as_ptr(), len) })
    }

    fn check(&self, at: usize, len: usize) -> Option<()> {
        (at.checked_add(len)? <= self.len).then_some(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and nobody can have a reference to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_within_is_given_out() {
        let mut memory = Mapping::anonymous(4096).unwrap();
        // SAFETY: nobody else knows of this memory.
        unsafe {
            memory.slice_mut(4_090, 6).unwrap().fill(7);
            assert_eq!(memory.slice(4_088, 8), Some(&[0, 0, 7, 7, 7, 7, 7, 7][..]));
            assert!(memory.slice(4_090, 7).is_none());
            assert!(memory.slice_mut(usize::MAX, 2).is_none());
        }
    }
}

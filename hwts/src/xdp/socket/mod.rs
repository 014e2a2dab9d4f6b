//! One AF_XDP socket: one queue of one interface, with packet memory of its own.

mod open;

pub use open::Copying;
pub(crate) use open::{SocketConfig, most_memory};

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::memory::Mapping;
use super::program::{MAGIC, Metadata};
use super::ring::{Consumer, Producer};

/// Room for one packet: a page, which every driver takes.
const FRAME: usize = 4096;
/// Where packets to send begin, so that there is room for [`TxMetadata`] before them.
const TX_DATA: usize = 64;
/// In copy mode the kernel sends so many packets in one call.
const TX_BATCH: usize = 32;
/// `struct xsk_tx_metadata` (linux/if_xdp.h): what is asked of the kernel, and after the packet
/// was sent, what it says.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct TxMetadata {
    flags: u64,
    /// When the packet was sent, ns: on the card's clock in zero-copy mode, else `CLOCK_TAI`.
    stamp: u64,
    launch_time: u64,
}

/// A received frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RxFrame<'a> {
    pub(crate) bytes: &'a [u8],
    /// What our program put before it.
    pub(crate) metadata: Option<Metadata>,
}

/// An open socket. Fields are dropped in order: rings keep the socket alive, and the socket the
/// packet memory.
#[derive(Debug)]
pub(crate) struct Socket {
    fill: Producer<u64>,
    rx: Consumer<libc::xdp_desc>,
    tx: Producer<libc::xdp_desc>,
    completion: Consumer<u64>,
    _rings: [Mapping; 4],
    fd: OwnedFd,
    packets: Mapping,
    rx_frames: u32,
    /// Frames to send that are not on their way.
    free: Vec<u64>,
    /// Which packet each frame on its way is.
    tokens: Box<[u32]>,
    unsent: usize,
    zero_copy: bool,
    tx_stamps: bool,
}

impl Socket {
    /// Whether packets come and go without being copied.
    pub(crate) const fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Whether sent packets are stamped.
    pub(crate) const fn has_tx_stamps(&self) -> bool {
        self.tx_stamps
    }

    /// Whether frames have come. Costs a load.
    #[inline]
    pub(crate) fn has_frames(&self) -> bool {
        !self.rx.is_empty()
    }

    /// Whether it is known of packets that they were sent. Costs a load.
    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        !self.completion.is_empty()
    }

    /// Hands up to `budget` frames to `sink`; returns how many.
    pub(crate) fn receive(&mut self, budget: usize, mut sink: impl FnMut(RxFrame<'_>)) -> usize {
        let mut taken = 0;
        while taken < budget {
            let Some(descriptor) = self.rx.take() else {
                break;
            };
            taken += 1;
            let (at, len) = (descriptor.addr as usize, descriptor.len as usize);
            let metadata = self.take_metadata(at);
            // SAFETY: the kernel gave us this frame, and writes there only after it is back in
            // the fill ring.
            if let Some(bytes) = unsafe { self.packets.slice(at, len) } {
                sink(RxFrame { bytes, metadata });
            }
            self.fill.write((at - at % FRAME) as u64);
        }
        if taken > 0 {
            self.rx.release();
            self.fill.submit();
        } else if self.zero_copy && self.fill.needs_wakeup() {
            // The driver waits to be told that there is room. A failure shows at the next call.
            // SAFETY: no buffer; asks the socket to look at its rings.
            unsafe {
                libc::recvfrom(
                    self.fd.as_raw_fd(),
                    std::ptr::null_mut(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                );
            }
        }
        taken
    }

    /// What our program put before the packet at `at`. Taken away, since where a driver has no room
    /// for it the next packet would be found with that of this one.
    fn take_metadata(&mut self, at: usize) -> Option<Metadata> {
        const LEN: usize = size_of::<Metadata>();
        if at % FRAME < LEN {
            return None;
        }
        // SAFETY: as for the packet itself.
        let bytes = unsafe { self.packets.slice_mut(at - LEN, LEN) }?;
        let word = |at: usize| {
            bytes[at..]
                .first_chunk()
                .map(|word| u32::from_ne_bytes(*word))
        };
        let double = |at: usize| {
            bytes[at..]
                .first_chunk()
                .map(|word| u64::from_ne_bytes(*word))
        };
        let metadata = Metadata {
            magic: word(0)?,
            hardware_result: word(4)?.cast_signed(),
            hook: double(8)?,
            hardware: double(16)?,
        };
        bytes[..4].fill(0);
        (metadata.magic == MAGIC).then_some(metadata)
    }

    /// Puts a packet into the ring of those to be sent at the next [`flush`](Self::flush). `write`
    /// writes it and returns its length. False if there is no room, or nothing was written.
    pub(crate) fn queue(
        &mut self,
        token: u32,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let Some(frame) = self.free.pop() else {
            return false;
        };
        if self.try_queue(frame, token, write).is_none() {
            self.free.push(frame);
            return false;
        }
        self.unsent += 1;
        true
    }

    fn try_queue(
        &mut self,
        frame: u64,
        token: u32,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<()> {
        // SAFETY: the frame is free, so the kernel neither reads nor writes it.
        let room = unsafe { self.packets.slice_mut(frame as usize, FRAME) }?;
        let (before, data) = room.split_at_mut(TX_DATA);
        let len = write(data)?;
        if self.tx_stamps {
            let metadata = &mut before[TX_DATA - size_of::<TxMetadata>()..];
            metadata.fill(0);
            let flags = u64::from(libc::XDP_TXMD_FLAGS_TIMESTAMP);
            metadata[..8].copy_from_slice(&flags.to_ne_bytes());
        }
        let descriptor = libc::xdp_desc {
            addr: frame + TX_DATA as u64,
            len: u32::try_from(len).ok()?,
            options: if self.tx_stamps {
                libc::XDP_TX_METADATA
            } else {
                0
            },
        };
        // As many slots as frames, so there is one.
        self.tx.write(descriptor).then_some(())?;
        let number = self.tx_number(frame)?;
        *self.tokens.get_mut(number)? = token;
        Some(())
    }

    /// The number of a frame among those to send.
    fn tx_number(&self, frame: u64) -> Option<usize> {
        (frame as usize / FRAME).checked_sub(self.rx_frames as usize)
    }

    /// Lets leave what was queued.
    ///
    /// # Errors
    /// The interface is down or gone (`ENETDOWN`, `ENXIO`): packets leave when it is up again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.tx.submit();
        // Without copies one call is enough; with them the kernel takes so many at a time.
        let calls = std::mem::take(&mut self.unsent).div_ceil(TX_BATCH) + 1;
        for _ in 0..calls {
            if !self.tx.needs_wakeup() {
                break;
            }
            // SAFETY: no buffer and no address; asks the socket to look at its rings.
            let sent = unsafe {
                libc::sendto(
                    self.fd.as_raw_fd(),
                    std::ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null(),
                    0,
                )
            };
            if sent >= 0 {
                break;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // More to send, or the device is busy: the ring keeps what is left.
                Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => {}
                _ => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells `sink` which packets were sent, with their stamp if there is one.
    pub(crate) fn completions(&mut self, mut sink: impl FnMut(u32, Option<u64>)) {
        let mut any = false;
        while let Some(at) = self.completion.take() {
            any = true;
            let frame = at - at % FRAME as u64;
            let Some(token) = self
                .tx_number(frame)
                .and_then(|number| self.tokens.get(number).copied())
            else {
                continue;
            };
            sink(token, self.stamp_of(frame as usize));
            self.free.push(frame);
        }
        if any {
            self.completion.release();
        }
    }

    fn stamp_of(&self, frame: usize) -> Option<u64> {
        if !self.tx_stamps {
            return None;
        }
        let at = frame + TX_DATA - size_of::<TxMetadata>() + 8;
        // SAFETY: the kernel gave the frame back, so it writes there no more.
        let bytes = unsafe { self.packets.slice(at, 8) }?;
        let stamp = u64::from_ne_bytes(bytes.try_into().ok()?);
        (stamp != 0).then_some(stamp)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

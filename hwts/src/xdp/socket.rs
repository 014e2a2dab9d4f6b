//! One AF_XDP socket: one queue of one interface, with packet memory of its own.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use super::XdpError;
use super::memory::Mapping;
use super::program::{MAGIC, Metadata};
use super::ring::{Consumer, Layout, Producer};
use crate::sys::check;

/// Room for one packet: a page, which every driver takes.
const FRAME: usize = 4096;
/// Where packets to send begin, so that there is room for [`TxMetadata`] before them.
const TX_DATA: usize = 64;
/// A queue whose socket was just closed is free again after some milliseconds: the kernel closes in
/// the background. Nothing waits longer.
const REBIND: Duration = Duration::from_millis(500);
const REBIND_PAUSE: Duration = Duration::from_millis(2);
/// In copy mode the kernel sends so many packets in one call.
const TX_BATCH: usize = 32;
/// The kernel's internal error number for what a driver does not support.
const ENOTSUPP: i32 = 524;

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

/// How packets get from the driver to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copying {
    /// They are written there by the card where the driver can do that, else copied.
    #[default]
    IfNeeded,
    /// Not at all if they would have to be copied.
    Never,
    /// Always copied.
    Always,
}

/// How to open a [`Socket`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketConfig {
    pub(crate) interface: u32,
    pub(crate) queue: u32,
    pub(crate) copying: Copying,
    /// Packets that may wait to be received, and be on their way out; powers of two.
    pub(crate) rx_frames: u32,
    pub(crate) tx_frames: u32,
    /// Have sent packets stamped.
    pub(crate) tx_stamps: bool,
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
    /// Opens and binds a socket. A queue that was just left is waited for; TX stamps are left out
    /// where the kernel (before Linux 6.8) has none.
    pub(crate) fn open(name: &str, config: SocketConfig) -> Result<Self, XdpError> {
        let start = Instant::now();
        let mut config = config;
        let mut flags = match config.copying {
            Copying::Always => libc::XDP_COPY,
            Copying::IfNeeded | Copying::Never => libc::XDP_ZEROCOPY,
        };
        loop {
            let (step, error) = match Self::bind(config, flags | libc::XDP_USE_NEED_WAKEUP) {
                Ok(socket) => return Ok(socket),
                Err(failed) => failed,
            };
            match (step, error.raw_os_error()) {
                (Step::Bind, Some(libc::EBUSY)) if start.elapsed() < REBIND => {
                    thread::sleep(REBIND_PAUSE);
                }
                (Step::Bind, Some(libc::EBUSY)) => {
                    return Err(XdpError::QueueTaken {
                        interface: name.to_owned(),
                        queue: config.queue,
                    });
                }
                (
                    Step::Bind,
                    Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EINVAL | ENOTSUPP),
                ) if flags == libc::XDP_ZEROCOPY => {
                    if config.copying == Copying::Never {
                        return Err(XdpError::NoZeroCopy(name.to_owned()));
                    }
                    flags = libc::XDP_COPY;
                }
                (Step::Memory, Some(libc::EINVAL)) if config.tx_stamps => config.tx_stamps = false,
                (Step::Memory, Some(libc::ENOBUFS)) => {
                    return Err(XdpError::MemoryLimit {
                        wanted: config.memory(),
                        limit: memory_limit(),
                    });
                }
                (step, _) => return Err(XdpError::os(step.words(), error)),
            }
        }
    }

    fn bind(config: SocketConfig, flags: u16) -> Result<Self, (Step, io::Error)> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd =
            check(unsafe { libc::socket(libc::AF_XDP, kind, 0) }).map_err(Step::Socket.at())?;
        // SAFETY: `fd` was just made and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = fd.as_fd();
        let packets = Mapping::anonymous(config.memory()).map_err(Step::Memory.at())?;
        let register = libc::xdp_umem_reg {
            addr: packets.base().addr().get() as u64,
            len: packets.len() as u64,
            chunk_size: FRAME as u32,
            headroom: 0,
            flags: if config.tx_stamps {
                libc::XDP_UMEM_TX_METADATA_LEN
            } else {
                0
            },
            tx_metadata_len: if config.tx_stamps {
                size_of::<TxMetadata>() as u32
            } else {
                0
            },
        };
        set(socket, libc::XDP_UMEM_REG, &register).map_err(Step::Memory.at())?;
        let (rx, tx) = (config.rx_frames, config.tx_frames);
        for (ring, size) in [
            (libc::XDP_UMEM_FILL_RING, rx),
            (libc::XDP_UMEM_COMPLETION_RING, tx),
            (libc::XDP_RX_RING, rx),
            (libc::XDP_TX_RING, tx),
        ] {
            set(socket, ring, &size).map_err(Step::Rings.at())?;
        }
        let offsets: libc::xdp_mmap_offsets =
            get(socket, libc::XDP_MMAP_OFFSETS).map_err(Step::Rings.at())?;
        let map = |offsets: &libc::xdp_ring_offset, slot: usize, size: u32, page| {
            let len = offsets.desc as usize + slot * size as usize;
            Mapping::of(socket, len, page).map_err(Step::Rings.at())
        };
        let (desc, addr) = (size_of::<libc::xdp_desc>(), size_of::<u64>());
        let rings = [
            map(&offsets.fr, addr, rx, libc::XDP_UMEM_PGOFF_FILL_RING as _)?,
            map(
                &offsets.cr,
                addr,
                tx,
                libc::XDP_UMEM_PGOFF_COMPLETION_RING as _,
            )?,
            map(&offsets.rx, desc, rx, libc::XDP_PGOFF_RX_RING)?,
            map(&offsets.tx, desc, tx, libc::XDP_PGOFF_TX_RING)?,
        ];
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: flags,
            sxdp_ifindex: config.interface,
            sxdp_queue_id: config.queue,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: `address` is a live sockaddr_xdp and the length says so.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_xdp>() as libc::socklen_t,
            )
        })
        .map_err(Step::Bind.at())?;
        let options: libc::xdp_options = get(socket, libc::XDP_OPTIONS).map_err(Step::Bind.at())?;
        let [fill_map, completion_map, rx_map, tx_map] = &rings;
        // SAFETY: each mapping has the layout the kernel gave for it and room for the slots, lives
        // as long as the socket, and is used by one end only.
        let (fill, completion, rx, tx) = unsafe {
            (
                Producer::new(fill_map.base(), layout(&offsets.fr), rx),
                Consumer::new(completion_map.base(), layout(&offsets.cr), tx),
                Consumer::new(rx_map.base(), layout(&offsets.rx), rx),
                Producer::new(tx_map.base(), layout(&offsets.tx), tx),
            )
        };
        let frames = |from: u32, count: u32| {
            (from..from + count).map(|frame| u64::from(frame) * FRAME as u64)
        };
        let mut socket = Self {
            fill,
            rx,
            tx,
            completion,
            _rings: rings,
            fd,
            packets,
            rx_frames: config.rx_frames,
            free: frames(config.rx_frames, config.tx_frames).collect(),
            tokens: vec![0; config.tx_frames as usize].into_boxed_slice(),
            unsent: 0,
            zero_copy: options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0,
            tx_stamps: config.tx_stamps,
        };
        for frame in frames(0, config.rx_frames) {
            socket.fill.write(frame);
        }
        socket.fill.submit();
        Ok(socket)
    }

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

impl SocketConfig {
    const fn memory(&self) -> usize {
        (self.rx_frames + self.tx_frames) as usize * FRAME
    }
}

/// What was being done when the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Socket,
    Memory,
    Rings,
    Bind,
}

impl Step {
    fn at(self) -> impl Fn(io::Error) -> (Self, io::Error) {
        move |error| (self, error)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Socket => "make an AF_XDP socket",
            Self::Memory => "register memory for packets",
            Self::Rings => "make the rings of an AF_XDP socket",
            Self::Bind => "bind an AF_XDP socket to a queue",
        }
    }
}

const fn layout(offsets: &libc::xdp_ring_offset) -> Layout {
    Layout {
        producer: offsets.producer as usize,
        consumer: offsets.consumer as usize,
        flags: offsets.flags as usize,
        slots: offsets.desc as usize,
    }
}

fn set<T: Copy>(socket: BorrowedFd<'_>, option: libc::c_int, value: &T) -> io::Result<()> {
    let value: *const T = value;
    // SAFETY: the value is live and the length is its own.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            option,
            value.cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// The options asked for are plain integers.
fn get<T: Copy>(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: there is room for `len` bytes, and both live through the call.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            option,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    // SAFETY: integers, zero before the kernel wrote to them.
    Ok(unsafe { value.assume_init() })
}

/// How much memory this process may lock, bytes.
fn memory_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is live and writable.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    limit.rlim_cur
}

//! Opening, setting up and binding a socket.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use super::{FRAME, Socket, TxMetadata};
use crate::sys::check;
use crate::xdp::memory::Mapping;
use crate::xdp::ring::{Consumer, Layout, Producer};
use crate::xdp::{MAX_QUEUES, XdpError};

/// A queue whose socket was just closed is free again after some milliseconds: the kernel closes in
/// the background.
const REBIND_PAUSE: Duration = Duration::from_millis(2);
/// The kernel's internal error number for what a driver does not support.
const ENOTSUPP: i32 = 524;

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
    /// How long to wait for a queue that was just left.
    pub(crate) patience: Duration,
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
                (Step::Bind, Some(libc::EBUSY)) if start.elapsed() < config.patience => {
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
}

impl SocketConfig {
    const fn memory(&self) -> usize {
        (self.rx_frames + self.tx_frames) as usize * FRAME
    }
}

/// What all queues lock together, bytes, with so many frames each way.
pub(crate) const fn most_memory(frames: u32) -> usize {
    2 * (frames * MAX_QUEUES) as usize * FRAME
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

//! AF_XDP: packets between the driver and this process, past the kernel's network stack
//! (Documentation/networking/af_xdp.rst). [`XdpTransport`](crate::transport::XdpTransport) is what
//! programs use of it.
//!
//! Nothing is needed at build time: the program that picks our datagrams out is
//! [assembled](self) here and loaded by the bare system call. It is attached by a link that dies
//! with its descriptor, so nothing stays behind however this process ends.

mod asm;
mod attach;
mod bpf;
mod btf;
mod error;
mod memory;
mod program;
mod ring;
mod socket;

pub use error::XdpError;
pub use socket::Copying;

pub(crate) use attach::{AttachConfig, Attached, MAX_QUEUES, Program};
pub(crate) use program::Metadata;
pub(crate) use socket::{RxFrame, Socket, SocketConfig, most_memory};

//! Packet timestamps and clocks on Linux, for programs that synchronise or measure time.
//!
//! | to | use |
//! |---|---|
//! | know when a datagram left and arrived | [`transport::UdpTransport`]: `SO_TIMESTAMPING`, IPv4 and IPv6 |
//! | bring such a stamp to a clock nobody steers | [`clock::StampConverter`] |
//! | bring stamps of the kernel and of several cards to it | [`clock::Timebase`] |
//! | steer the system clock | [`clock::SystemClock`] |
//! | read a network card's clock, steer it, bring its stamps to the raw clock | [`clock::Phc`], [`clock::PhcClock`], [`clock::PhcConverter`] |
//! | steer a clock of your own, without privilege | [`clock::VirtualClock`] |
//! | test against clocks with known errors | [`clock::Oscillator`] |
//! | hand samples and clock states to other threads | [`sync::Newest`], [`sync::seqlock`], [`Wake`] |
//! | pin a thread, give it real-time priority | [`sched`] |
//! | learn what this host can do | [`probe`] |
//! | learn what a network interface can stamp, and have it do so | [`nic`] |
//! | know interfaces and routes, and hear of changes | [`netlink`] |
//!
//! Time is `i64` nanoseconds on a named clock; a stamp always says which clock it was read from
//! ([`Domain`]) and where ([`Source`]), since that decides what it is worth. Rates are fractions:
//! `1e-6` gains a microsecond each second.
//!
//! # Measuring a packet's way
//!
//! ```
//! use hwts::Domain;
//! use hwts::clock::StampConverter;
//! use hwts::transport::{TxEvent, UdpConfig, UdpTransport};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = UdpConfig::new("127.0.0.1:0".parse()?);
//! let mut sender = UdpTransport::open(&config)?;
//! let mut receiver = UdpTransport::open(&config)?;
//! let mut raw = StampConverter::new(Domain::Realtime);
//!
//! let token = sender.send(receiver.local_addr(), b"what time is it?")?;
//!
//! let mut left = None;
//! while left.is_none() {
//!     sender.poll_tx(|event| match event {
//!         TxEvent::Stamped { token: of, stamp, .. } if of == token => left = Some(stamp),
//!         other => panic!("the stamp was lost: {other:?}"),
//!     })?;
//! }
//! let mut arrived = None;
//! while arrived.is_none() {
//!     receiver.wait(Some(Duration::from_secs(1)), None)?;
//!     receiver.receive(16, |datagram| {
//!         assert_eq!(datagram.bytes, b"what time is it?");
//!         arrived = Some(datagram.stamp);
//!     })?;
//! }
//! if let (Some(left), Some(arrived)) = (left, arrived) {
//!     let way = raw.convert(arrived)?.raw - raw.convert(left)?.raw;
//!     println!("{} to {} stamps: {way} ns", left.source, arrived.source);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! Everything is `Send`; a transport, a clock and an oscillator belong to one thread each. The
//! hand-over types of [`sync`] and [`Wake`] are shared. Nothing here starts a thread, writes a log
//! or keeps global state.
//!
//! # Inside a clock simulator
//!
//! All clock and socket work is done by plain libc calls (`clock_gettime`, `clock_adjtime`,
//! `socket` without `SOCK_CLOEXEC`, `sendto`, `recvmsg`, `poll`), so that a library that is
//! preloaded over them can put the program on simulated clocks and links. Such simulators keep the
//! stamp of the last packet only: call
//! [`poll_tx`](transport::UdpTransport::poll_tx) after each send.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("hwts needs 64-bit Linux");

#[cfg(feature = "alloc-counter")]
pub mod alloc;
pub mod clock;
pub mod netlink;
pub mod nic;
pub mod probe;
pub mod sched;
mod stamp;
pub mod sync;
mod sys;
pub mod transport;
mod wake;

pub use stamp::{Domain, Source, Stamp};
pub use wake::Wake;

//! Datagrams to bytes and back. No I/O, no clocks, no allocation, no panics.
//!
//! `docs/protocol.md` lists every field with its offset, unit and meaning.

mod message;

pub use message::{ClockState, Message, PacketStamp, StampSource};

//! Datagrams to bytes and back. No I/O, no clocks, no allocation, no panics.
//!
//! Two layers, each with its own parser:
//!
//! - [`Packet`]: the outer datagram, readable by anybody — version, kind, network, session;
//! - [`Message`]: the content of a time packet, sealed inside it ([`encode`], [`decode`]).
//!
//! Every length is checked against a constant before a byte is read; no length is ever taken from
//! the wire. `docs/protocol.md` lists every field with its offset, unit and meaning.

mod codec;
#[cfg(test)]
mod doc;
mod message;
mod network;
mod packet;

pub use codec::{MESSAGE_LEN, MOST_SLACK, MessageError, decode, encode};
pub use message::{ClockState, Excess, Message, PacketStamp, Promise, StampSource, Tier};
pub use network::NetworkId;
pub use packet::{
    CONFIRM_DATAGRAM_LEN, COOKIE_LEN, HANDSHAKE_DATAGRAM_LEN, Kind, MAX_DATAGRAM, NOISE_FINISH_LEN,
    NOISE_INIT_LEN, NOISE_RESPONSE_LEN, Packet, PacketError, TAG_LEN, TIME_DATAGRAM_LEN,
    TRANSPORT_HEADER_LEN, VERSION, write_finish, write_init, write_response, write_retry,
    write_transport_header,
};

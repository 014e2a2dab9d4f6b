//! The outer datagram: what can be read without a key.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::NetworkId;

/// The version of the protocol this code speaks.
pub const VERSION: u8 = 1;
/// The longest datagram anybody may send; longer ones are refused unread.
pub const MAX_DATAGRAM: usize = 512;
/// The length of every handshake datagram. All are alike, so that none is longer than the one it
/// answers and a spoofed source gains nothing.
pub const HANDSHAKE_DATAGRAM_LEN: usize = 160;
/// The clear part of [`Packet::Time`] and [`Packet::Confirm`].
pub const TRANSPORT_HEADER_LEN: usize = 20;
/// The authentication tag at the end of everything sealed (RFC 8439).
pub const TAG_LEN: usize = 16;
/// The length of a time packet as this version sends it, requests and replies alike.
pub const TIME_DATAGRAM_LEN: usize = TRANSPORT_HEADER_LEN + super::MESSAGE_LEN + TAG_LEN;
/// The length of a [`Packet::Confirm`].
pub const CONFIRM_DATAGRAM_LEN: usize = TRANSPORT_HEADER_LEN + TAG_LEN;
/// The length of a cookie.
pub const COOKIE_LEN: usize = 16;
/// First Noise message: ephemeral key 32, session index 4.
pub const NOISE_INIT_LEN: usize = 36;
/// Second Noise message: ephemeral key 32, sealed static key 48, sealed (index 4, identity 32) 52.
pub const NOISE_RESPONSE_LEN: usize = 132;
/// Third Noise message: sealed static key 48, sealed identity 48.
pub const NOISE_FINISH_LEN: usize = 96;

const MAGIC: [u8; 2] = *b"PS";

/// What a datagram is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Opens a handshake.
    Init = 1,
    /// Asks for the same again, with this cookie.
    Retry = 2,
    /// Second handshake message.
    Response = 3,
    /// Third handshake message.
    Finish = 4,
    /// The third message has arrived.
    Confirm = 5,
    /// A sealed [`super::Message`].
    Time = 6,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Init,
        Self::Retry,
        Self::Response,
        Self::Finish,
        Self::Confirm,
        Self::Time,
    ];

    fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why the outer part of a datagram is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PacketError {
    /// Shorter than its kind, or longer than [`MAX_DATAGRAM`].
    #[error("a datagram of {0} bytes is too short or too long for its kind")]
    Length(usize),
    /// It does not begin as our datagrams do: another program speaks on this port.
    #[error("not a PariSync datagram")]
    Magic,
    /// Another version of the protocol.
    #[error("protocol version {0}, only {VERSION} is understood: update the older side")]
    Version(u8),
    /// Not a known kind.
    #[error("unknown kind of datagram {0}")]
    Kind(u8),
    /// Of a network with another name.
    #[error("network {:08x}, not ours: check `network` in the configuration", .0.as_u32())]
    Network(NetworkId),
    /// Padding must be zero.
    #[error("padding that is not zero")]
    Padding,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Header {
    magic: [u8; 2],
    version: u8,
    kind: u8,
    network: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Init {
    header: Header,
    cookie: [u8; COOKIE_LEN],
    noise: [u8; NOISE_INIT_LEN],
    padding: [u8; HANDSHAKE_DATAGRAM_LEN - 60],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Retry {
    header: Header,
    receiver: U32,
    cookie: [u8; COOKIE_LEN],
    padding: [u8; HANDSHAKE_DATAGRAM_LEN - 28],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Response {
    header: Header,
    receiver: U32,
    noise: [u8; NOISE_RESPONSE_LEN],
    padding: [u8; HANDSHAKE_DATAGRAM_LEN - 144],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Finish {
    header: Header,
    receiver: U32,
    noise: [u8; NOISE_FINISH_LEN],
    padding: [u8; HANDSHAKE_DATAGRAM_LEN - 108],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Transport {
    header: Header,
    receiver: U32,
    counter: U64,
}

/// A datagram whose outer part has been read and is well-formed; nothing in it is authentic yet.
///
/// `receiver` is the session index the *receiver* chose for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Opens a handshake.
    Init {
        /// What the last [`Packet::Retry`] asked for; zeros at first.
        cookie: &'a [u8; COOKIE_LEN],
        /// First Noise message.
        noise: &'a [u8; NOISE_INIT_LEN],
    },
    /// Asks for the same [`Packet::Init`] again with this cookie, as proof of address.
    Retry {
        /// Index of the attempt at the initiator.
        receiver: u32,
        /// The cookie to show.
        cookie: &'a [u8; COOKIE_LEN],
    },
    /// Second handshake message.
    Response {
        /// Index of the attempt at the initiator.
        receiver: u32,
        /// Second Noise message.
        noise: &'a [u8; NOISE_RESPONSE_LEN],
    },
    /// Third handshake message.
    Finish {
        /// Index of the session at the responder.
        receiver: u32,
        /// Third Noise message.
        noise: &'a [u8; NOISE_FINISH_LEN],
    },
    /// The responder has the third message; an empty sealed text.
    Confirm {
        /// Index of the session at the initiator.
        receiver: u32,
        /// Number of the packet within its session and direction; the nonce.
        counter: u64,
        /// Nothing, sealed: a bare tag.
        sealed: &'a [u8],
    },
    /// A time packet.
    Time {
        /// Index of the session at the receiver.
        receiver: u32,
        /// Number of the packet within its session and direction; the nonce.
        counter: u64,
        /// A sealed [`super::Message`], at least `MESSAGE_LEN + TAG_LEN` bytes.
        sealed: &'a [u8],
    },
}

impl<'a> Packet<'a> {
    /// Reads the outer part of a datagram of `network`.
    ///
    /// # Errors
    /// [`PacketError`] names the first thing that is wrong.
    pub fn parse(bytes: &'a [u8], network: NetworkId) -> Result<Self, PacketError> {
        let length = || PacketError::Length(bytes.len());
        if bytes.len() > MAX_DATAGRAM {
            return Err(length());
        }
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| length())?;
        if header.magic != MAGIC {
            return Err(PacketError::Magic);
        }
        if header.version != VERSION {
            return Err(PacketError::Version(header.version));
        }
        let kind = Kind::from_u8(header.kind).ok_or(PacketError::Kind(header.kind))?;
        let theirs = NetworkId::from_u32(header.network.get());
        if theirs != network {
            return Err(PacketError::Network(theirs));
        }
        match kind {
            Kind::Init => {
                let p = Init::ref_from_bytes(bytes).map_err(|_| length())?;
                zero(&p.padding)?;
                Ok(Self::Init {
                    cookie: &p.cookie,
                    noise: &p.noise,
                })
            }
            Kind::Retry => {
                let p = Retry::ref_from_bytes(bytes).map_err(|_| length())?;
                zero(&p.padding)?;
                Ok(Self::Retry {
                    receiver: p.receiver.get(),
                    cookie: &p.cookie,
                })
            }
            Kind::Response => {
                let p = Response::ref_from_bytes(bytes).map_err(|_| length())?;
                zero(&p.padding)?;
                Ok(Self::Response {
                    receiver: p.receiver.get(),
                    noise: &p.noise,
                })
            }
            Kind::Finish => {
                let p = Finish::ref_from_bytes(bytes).map_err(|_| length())?;
                zero(&p.padding)?;
                Ok(Self::Finish {
                    receiver: p.receiver.get(),
                    noise: &p.noise,
                })
            }
            Kind::Confirm | Kind::Time => {
                let (p, sealed) = Transport::ref_from_prefix(bytes).map_err(|_| length())?;
                let (receiver, counter) = (p.receiver.get(), p.counter.get());
                match kind {
                    Kind::Confirm if bytes.len() == CONFIRM_DATAGRAM_LEN => Ok(Self::Confirm {
                        receiver,
                        counter,
                        sealed,
                    }),
                    Kind::Time if bytes.len() >= TIME_DATAGRAM_LEN => Ok(Self::Time {
                        receiver,
                        counter,
                        sealed,
                    }),
                    _ => Err(length()),
                }
            }
        }
    }
}

fn zero(padding: &[u8]) -> Result<(), PacketError> {
    if padding.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(PacketError::Padding)
    }
}

const fn header(kind: Kind, network: NetworkId) -> Header {
    Header {
        magic: MAGIC,
        version: VERSION,
        kind: kind as u8,
        network: U32::new(network.as_u32()),
    }
}

/// Lays out a [`Packet::Init`].
pub fn write_init(
    network: NetworkId,
    cookie: &[u8; COOKIE_LEN],
    noise: &[u8; NOISE_INIT_LEN],
) -> [u8; HANDSHAKE_DATAGRAM_LEN] {
    zerocopy::transmute!(Init {
        header: header(Kind::Init, network),
        cookie: *cookie,
        noise: *noise,
        padding: [0; HANDSHAKE_DATAGRAM_LEN - 60],
    })
}

/// Lays out a [`Packet::Retry`].
pub fn write_retry(
    network: NetworkId,
    receiver: u32,
    cookie: &[u8; COOKIE_LEN],
) -> [u8; HANDSHAKE_DATAGRAM_LEN] {
    zerocopy::transmute!(Retry {
        header: header(Kind::Retry, network),
        receiver: U32::new(receiver),
        cookie: *cookie,
        padding: [0; HANDSHAKE_DATAGRAM_LEN - 28],
    })
}

/// Lays out a [`Packet::Response`].
pub fn write_response(
    network: NetworkId,
    receiver: u32,
    noise: &[u8; NOISE_RESPONSE_LEN],
) -> [u8; HANDSHAKE_DATAGRAM_LEN] {
    zerocopy::transmute!(Response {
        header: header(Kind::Response, network),
        receiver: U32::new(receiver),
        noise: *noise,
        padding: [0; HANDSHAKE_DATAGRAM_LEN - 144],
    })
}

/// Lays out a [`Packet::Finish`].
pub fn write_finish(
    network: NetworkId,
    receiver: u32,
    noise: &[u8; NOISE_FINISH_LEN],
) -> [u8; HANDSHAKE_DATAGRAM_LEN] {
    zerocopy::transmute!(Finish {
        header: header(Kind::Finish, network),
        receiver: U32::new(receiver),
        noise: *noise,
        padding: [0; HANDSHAKE_DATAGRAM_LEN - 108],
    })
}

/// Lays out the clear part of a [`Packet::Time`] or [`Packet::Confirm`]; the sealed text follows.
pub fn write_transport_header(
    kind: Kind,
    network: NetworkId,
    receiver: u32,
    counter: u64,
) -> [u8; TRANSPORT_HEADER_LEN] {
    zerocopy::transmute!(Transport {
        header: header(kind, network),
        receiver: U32::new(receiver),
        counter: U64::new(counter),
    })
}

#[cfg(test)]
mod tests;

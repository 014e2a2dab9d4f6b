//! The announcement's bytes. Little-endian, fixed length, signed with the node's identity.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | `PSLA` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | flags: 1 = answer soon, 2 = leaving |
//! | 6 | 2 | time port |
//! | 8 | 8 | network tag: start of BLAKE2s-256 of the network's name |
//! | 16 | 32 | node id (ed25519 public key) |
//! | 48 | 8 | start: milliseconds since 1970 by the sender's own clock when it started |
//! | 56 | 4 | number of the announcement since the start |
//! | 60 | 4 | milliseconds until the next one at the latest, at a quarter's jitter |
//! | 64 | 64 | ed25519 signature over a fixed prefix and the 64 bytes before |
//!
//! The sender's address is not signed, it is the datagram's; whoever replays an announcement from
//! elsewhere gains nothing, because the time session authenticates the node id.

use blake2::{Blake2s256, Digest};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::topology::NodeId;

/// Length of every announcement, in bytes.
pub const LEN: usize = SIGNED + 64;

const SIGNED: usize = 64;
const MAGIC: [u8; 4] = *b"PSLA";
const VERSION: u8 = 1;
const HELLO: u8 = 1;
const LEAVING: u8 = 2;
/// Keeps these signatures from meaning anything elsewhere.
const CONTEXT: [u8; 16] = *b"parisync lan v1:";

/// What a node says of itself on the local network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// Which network it belongs to.
    pub network: NetworkTag,
    /// Who it is.
    pub id: NodeId,
    /// Where its time port is, at the address the datagram came from.
    pub time_port: u16,
    /// Milliseconds since 1970 by its own clock when it started; only the order of a node's own
    /// starts counts.
    pub start: u64,
    /// Number of this announcement since the start.
    pub number: u32,
    /// Milliseconds until the next one.
    pub interval_ms: u32,
    /// It is new and wants to hear others soon.
    pub hello: bool,
    /// It is about to leave.
    pub leaving: bool,
}

/// A network's name in eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkTag([u8; 8]);

impl NetworkTag {
    /// The tag of the network with this name.
    pub fn of(name: &str) -> Self {
        let mut tag = [0; 8];
        tag.copy_from_slice(&Blake2s256::digest(name.as_bytes())[..8]);
        Self(tag)
    }
}

/// The bytes are not an announcement of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncementError {
    /// The datagram has another length.
    #[error("announcement of {0} bytes; {LEN} expected")]
    Length(usize),
    /// It is no announcement.
    #[error("not an announcement")]
    Magic,
    /// Another version.
    #[error("announcement of version {0}; this is version {VERSION}")]
    Version(u8),
    /// Unknown flags.
    #[error("unknown flags {0:#x} in announcement")]
    Flags(u8),
    /// Port zero.
    #[error("announcement without a time port")]
    Port,
    /// The signature is not the node's.
    #[error("announcement with a wrong signature")]
    Signature,
}

/// A well-formed announcement whose signature has not been checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unverified {
    claim: Announcement,
    signed: [u8; SIGNED],
    signature: [u8; 64],
}

/// Reads an announcement; checks all but the signature. Never panics, never allocates.
///
/// # Errors
///
/// What makes the bytes no announcement of this version.
pub fn parse_announcement(bytes: &[u8]) -> Result<Unverified, AnnouncementError> {
    let exact: &[u8; LEN] = bytes
        .try_into()
        .map_err(|_| AnnouncementError::Length(bytes.len()))?;
    if field::<4>(exact, 0) != MAGIC {
        return Err(AnnouncementError::Magic);
    }
    let [version, flags] = field(exact, 4);
    if version != VERSION {
        return Err(AnnouncementError::Version(version));
    }
    if flags & !(HELLO | LEAVING) != 0 {
        return Err(AnnouncementError::Flags(flags));
    }
    let time_port = u16::from_le_bytes(field(exact, 6));
    if time_port == 0 {
        return Err(AnnouncementError::Port);
    }
    let claim = Announcement {
        network: NetworkTag(field(exact, 8)),
        id: NodeId::from_bytes(field(exact, 16)),
        time_port,
        start: u64::from_le_bytes(field(exact, 48)),
        number: u32::from_le_bytes(field(exact, 56)),
        interval_ms: u32::from_le_bytes(field(exact, 60)),
        hello: flags & HELLO != 0,
        leaving: flags & LEAVING != 0,
    };
    Ok(Unverified {
        claim,
        signed: field(exact, 0),
        signature: field(exact, SIGNED),
    })
}

/// `N` bytes at `offset`, which the layout keeps within bounds.
fn field<const N: usize>(bytes: &[u8; LEN], offset: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[offset + i])
}

impl Unverified {
    /// What it says, not to be believed yet.
    pub fn claim(&self) -> &Announcement {
        &self.claim
    }

    /// Checks the signature (tens of microseconds).
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::Signature`] if the node whose id it names did not sign it.
    pub fn verify(&self) -> Result<Announcement, AnnouncementError> {
        let wrong = |_| AnnouncementError::Signature;
        let key = VerifyingKey::from_bytes(self.claim.id.as_bytes()).map_err(wrong)?;
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(&message(&self.signed), &signature)
            .map_err(wrong)?;
        Ok(self.claim)
    }
}

impl Announcement {
    /// Its bytes, signed with `key`, which must be the secret of [`id`](Self::id).
    pub fn encode(&self, key: &SigningKey) -> [u8; LEN] {
        let flags = if self.hello { HELLO } else { 0 } | if self.leaving { LEAVING } else { 0 };
        let mut signed = [0; SIGNED];
        signed[0..4].copy_from_slice(&MAGIC);
        signed[4] = VERSION;
        signed[5] = flags;
        signed[6..8].copy_from_slice(&self.time_port.to_le_bytes());
        signed[8..16].copy_from_slice(&self.network.0);
        signed[16..48].copy_from_slice(self.id.as_bytes());
        signed[48..56].copy_from_slice(&self.start.to_le_bytes());
        signed[56..60].copy_from_slice(&self.number.to_le_bytes());
        signed[60..64].copy_from_slice(&self.interval_ms.to_le_bytes());
        let signature = key.sign(&message(&signed)).to_bytes();
        let mut bytes = [0; LEN];
        bytes[..SIGNED].copy_from_slice(&signed);
        bytes[SIGNED..].copy_from_slice(&signature);
        bytes
    }
}

fn message(signed: &[u8; SIGNED]) -> [u8; CONTEXT.len() + SIGNED] {
    let mut message = [0; CONTEXT.len() + SIGNED];
    message[..CONTEXT.len()].copy_from_slice(&CONTEXT);
    message[CONTEXT.len()..].copy_from_slice(signed);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn announcement() -> Announcement {
        Announcement {
            network: NetworkTag::of("lab"),
            id: NodeId::from_bytes(key().verifying_key().to_bytes()),
            time_port: 4711,
            start: 1_700_000_000_000,
            number: 7,
            interval_ms: 30_000,
            hello: true,
            leaving: false,
        }
    }

    #[test]
    fn it_round_trips_and_changes_are_refused() {
        let bytes = announcement().encode(&key());
        assert_eq!(
            parse_announcement(&bytes).unwrap().verify(),
            Ok(announcement())
        );
        for bit in (0..8 * LEN).step_by(7) {
            let mut forged = bytes;
            forged[bit / 8] ^= 1 << (bit % 8);
            let verdict = parse_announcement(&forged).and_then(|a| a.verify());
            assert!(verdict.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_announcement_is_named() {
        let bytes = announcement().encode(&key());
        let with = |at: usize, value: u8| {
            let mut bytes = bytes;
            bytes[at] = value;
            parse_announcement(&bytes)
        };
        assert_eq!(
            parse_announcement(&bytes[1..]),
            Err(AnnouncementError::Length(LEN - 1))
        );
        assert_eq!(with(0, 0), Err(AnnouncementError::Magic));
        assert_eq!(with(4, 9), Err(AnnouncementError::Version(9)));
        assert_eq!(with(5, 4), Err(AnnouncementError::Flags(4)));
        let mut portless = announcement();
        portless.time_port = 0;
        let verdict = parse_announcement(&portless.encode(&key()));
        assert_eq!(verdict, Err(AnnouncementError::Port));
    }

    #[test]
    fn networks_have_different_tags() {
        assert_ne!(NetworkTag::of("a"), NetworkTag::of("b"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_announcement(&bytes).and_then(|a| a.verify());
            bytes.resize(LEN, 0);
            bytes[..6].copy_from_slice(b"PSLA\x01\x00");
            let _ = parse_announcement(&bytes).and_then(|a| a.verify());
        }
    }
}

//! The datagrams of link structures. Little-endian, signed, 1232 bytes at most.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | `PSOV` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | structure: 0 Kademlia, 1 Chord, 2 Pastry, 3 CAN |
//! | 6 | 1 | what it is: 0 a cookie, 1 to 8 queries, 17 to 21 answers, in the order of their types |
//! | 7 | 1 | zero |
//! | 8 | 8 | network tag |
//! | 16 | 8 | number: a query's own, an answer's or cookie's that of its query |
//! | 24 | 16 | cookie: in a query the one the receiver gave, or zeros; else one for the next query |
//! | 40 | 32 | the sender's node id (from here on not in a cookie datagram) |
//! | 72 | 4 | the solution of its puzzle |
//! | 76 | 2 | its time port |
//! | 78 | 1 | length of the list that follows, in entries |
//! | 79 | 1 | length of the second list |
//! | 80 | | fields and lists, by what it is |
//! | −64 | 64 | ed25519 signature over a fixed prefix, the asker's id (answers) or zeros, and all before |
//!
//! A key is 8 bytes. A contact is 64: id, solution, address (IPv6, or IPv4 mapped), port, time
//! port, seat. A cookie datagram (40 bytes) is shorter than any query (144 and more).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::endpoint::{Endpoint, Tag};
use crate::topology::NodeId;
use crate::topology::overlay::{
    Answer, Body, Contact, Key, MAX_REFERRALS, MAX_ZONES, Message, Query, Referral, Structure,
};
use crate::wire::COOKIE_LEN;

/// The longest datagram: what an IPv6 path carries whole (1280 bytes less headers).
pub(super) const LONGEST: usize = 1232;

const MAGIC: [u8; 4] = *b"PSOV";
const VERSION: u8 = 1;
const HEAD: usize = 80;
const SIGNATURE: usize = 64;
const CONTACT: usize = 64;
/// Keeps these signatures from meaning anything elsewhere.
const CONTEXT: [u8; 16] = *b"parisync ov v1: ";

/// A cookie: proof that its holder receives at its address.
pub type Cookie = [u8; COOKIE_LEN];

/// Which network and structure datagrams belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Realm {
    /// The network.
    pub network: Tag,
    /// Its structure.
    pub structure: Structure,
}

/// A datagram whose signature has not been looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Unverified<'a> {
    /// Ask again, with this cookie.
    Cookie {
        /// The query's number.
        number: u64,
        /// The cookie.
        cookie: Cookie,
    },
    /// A query or an answer.
    Message(Claimed<'a>),
}

/// A message that claims to be of somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed<'a> {
    /// Whom it claims to be of.
    pub from: NodeId,
    /// The solution of its puzzle.
    pub solution: u32,
    /// Its time port.
    pub time_port: u16,
    /// Of a query: the receiver's cookie. Of an answer: one for the next query.
    pub cookie: Cookie,
    /// What it says.
    pub message: Message<Endpoint>,
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE],
}

/// The bytes are not a datagram of this version, network and structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverlayParseError {
    /// Of something else, or of a later version.
    #[error("not a datagram of a link structure, version 1")]
    Foreign,
    /// Of another network.
    #[error("of another network")]
    Network,
    /// Of another structure: the nodes of a network have to agree on one.
    #[error("of another link structure; all nodes of a network need the same `topology`")]
    Structure,
    /// Too short, too long, or out of range somewhere.
    #[error("malformed")]
    Malformed,
    /// A contact's puzzle is not solved.
    #[error("names a node whose puzzle is not solved")]
    Puzzle,
    /// The signature is not the sender's.
    #[error("wrong signature")]
    Signature,
}

use OverlayParseError as E;

/// Who sends.
pub(super) struct Sender<'a> {
    pub(super) key: &'a SigningKey,
    pub(super) solution: u32,
    pub(super) time_port: u16,
}

const fn structure_code(structure: Structure) -> u8 {
    match structure {
        Structure::Kademlia => 0,
        Structure::Chord => 1,
        Structure::Pastry => 2,
        Structure::Can => 3,
    }
}

fn head(realm: &Realm, what: u8, number: u64, cookie: &Cookie) -> Vec<u8> {
    let mut out = Vec::with_capacity(LONGEST);
    out.extend(MAGIC);
    out.extend([VERSION, structure_code(realm.structure), what, 0]);
    out.extend(realm.network);
    out.extend(number.to_le_bytes());
    out.extend(cookie);
    out
}

/// The datagram that asks for a cookie.
pub(super) fn encode_cookie(realm: &Realm, number: u64, cookie: &Cookie) -> Vec<u8> {
    head(realm, 0, number, cookie)
}

/// A query or an answer; `asker` is whose query is answered. Lists are cut to what fits.
pub(super) fn encode(
    realm: &Realm,
    sender: &Sender<'_>,
    cookie: &Cookie,
    message: &Message<Endpoint>,
    asker: Option<&NodeId>,
) -> Vec<u8> {
    let mut body = Writer::default();
    let what = match &message.body {
        Body::Query(query) => body.query(query),
        Body::Answer(answer) => body.answer(answer),
    };
    let mut out = head(realm, what, message.number, cookie);
    out.extend(sender.key.verifying_key().to_bytes());
    out.extend(sender.solution.to_le_bytes());
    out.extend(sender.time_port.to_le_bytes());
    out.extend([body.first, body.second]);
    out.extend(&body.bytes);
    let signature = sender.key.sign(&to_sign(&out, asker));
    out.extend(signature.to_bytes());
    out
}

fn to_sign(bytes: &[u8], asker: Option<&NodeId>) -> Vec<u8> {
    let mut text = CONTEXT.to_vec();
    text.extend(asker.map_or([0; 32], |id| *id.as_bytes()));
    text.extend(bytes);
    text
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    first: u8,
    second: u8,
}

impl Writer {
    fn query(&mut self, query: &Query) -> u8 {
        match query {
            Query::Ping => 1,
            Query::Find(key) => {
                self.key(*key);
                2
            }
            Query::Ring => 3,
            Query::Row(row) => {
                self.bytes.push(*row);
                4
            }
            Query::Leaves => 5,
            Query::Join => 6,
            Query::Zones(zones) => {
                self.zones(zones);
                7
            }
            Query::Give(zone) => {
                self.key(*zone);
                8
            }
        }
    }

    fn answer(&mut self, answer: &Answer<Endpoint>) -> u8 {
        match answer {
            Answer::Pong => 17,
            Answer::Found { seat, nearer } => {
                self.key(*seat);
                self.first = self.contacts(nearer.iter().copied());
                18
            }
            Answer::Ring {
                predecessor,
                successors,
            } => {
                // The predecessor, if there is one, comes first; the second length tells.
                self.second = u8::from(predecessor.is_some());
                let all = predecessor.iter().chain(successors);
                self.first = self.contacts(all.map(|c| Referral::from(*c)));
                19
            }
            Answer::Contacts(contacts) => {
                self.first = self.contacts(contacts.iter().map(|c| Referral::from(*c)));
                20
            }
            Answer::Zones {
                granted,
                own,
                neighbours,
            } => {
                // Zero is no zone's code.
                self.key(granted.unwrap_or(Key(0)));
                self.zones(own);
                self.second = self.contacts(neighbours.iter().copied());
                21
            }
        }
    }

    fn key(&mut self, key: Key) {
        self.bytes.extend(key.0.to_le_bytes());
    }

    fn zones(&mut self, zones: &[Key]) {
        let zones = &zones[..zones.len().min(MAX_ZONES)];
        zones.iter().for_each(|zone| self.key(*zone));
        self.first = zones.len() as u8;
    }

    fn contacts(&mut self, contacts: impl Iterator<Item = Referral<Endpoint>>) -> u8 {
        let room = LONGEST - HEAD - SIGNATURE - self.bytes.len();
        let mut count = 0;
        for Referral { contact, seat } in contacts.take(MAX_REFERRALS.min(room / CONTACT)) {
            let Endpoint {
                id,
                solution,
                addr,
                time_port,
            } = contact.at;
            let ip = match addr.ip() {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            self.bytes.extend(id.as_bytes());
            self.bytes.extend(solution.to_le_bytes());
            self.bytes.extend(ip.octets());
            self.bytes.extend(addr.port().to_le_bytes());
            self.bytes.extend(time_port.to_le_bytes());
            self.key(seat);
            count += 1;
        }
        count
    }
}

/// Reads a datagram. Contacts' puzzles are checked, the sender's signature is not.
///
/// # Errors
/// [`OverlayParseError`], all but [`OverlayParseError::Signature`].
pub fn parse_overlay<'a>(bytes: &'a [u8], realm: &Realm) -> Result<Unverified<'a>, E> {
    if bytes.len() > LONGEST {
        return Err(E::Malformed);
    }
    let mut reader = Reader(bytes);
    if reader.array()? != MAGIC || reader.byte()? != VERSION {
        return Err(E::Foreign);
    }
    let structure = reader.byte()?;
    let what = reader.byte()?;
    let zero = reader.byte()?;
    if reader.array()? != realm.network {
        return Err(E::Network);
    }
    if structure != structure_code(realm.structure) {
        return Err(E::Structure);
    }
    let number = u64::from_le_bytes(reader.array()?);
    let cookie = reader.array()?;
    if what == 0 {
        return match (reader.0, zero) {
            ([], 0) => Ok(Unverified::Cookie { number, cookie }),
            _ => Err(E::Malformed),
        };
    }
    let from = NodeId::from_bytes(reader.array()?);
    let solution = u32::from_le_bytes(reader.array()?);
    let time_port = u16::from_le_bytes(reader.array()?);
    let (first, second) = (usize::from(reader.byte()?), usize::from(reader.byte()?));
    let body = reader.body(what, first, second, &realm.network)?;
    let signature = reader.0.try_into().map_err(|_| E::Malformed)?;
    if time_port == 0 || zero != 0 {
        return Err(E::Malformed);
    }
    Ok(Unverified::Message(Claimed {
        from,
        solution,
        time_port,
        cookie,
        message: Message { number, body },
        signed: &bytes[..bytes.len() - SIGNATURE],
        signature,
    }))
}

impl Claimed<'_> {
    /// Whether it is a query.
    pub const fn is_query(&self) -> bool {
        matches!(self.message.body, Body::Query(_))
    }

    /// The sender, at the address it sent from, if the message is its own. `asker`: who asked what
    /// this answers; [`None`] for a query.
    ///
    /// # Errors
    /// [`OverlayParseError::Puzzle`] and [`OverlayParseError::Signature`].
    pub fn verify(
        &self,
        network: &Tag,
        addr: SocketAddr,
        asker: Option<&NodeId>,
    ) -> Result<Contact<Endpoint>, E> {
        let endpoint = Endpoint {
            id: self.from,
            solution: self.solution,
            addr,
            time_port: self.time_port,
        };
        let contact = endpoint.contact(network).ok_or(E::Puzzle)?;
        let key = VerifyingKey::from_bytes(self.from.as_bytes()).map_err(|_| E::Signature)?;
        let signature = Signature::from_bytes(self.signature);
        key.verify_strict(&to_sign(self.signed, asker), &signature)
            .map_err(|_| E::Signature)?;
        Ok(contact)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], E> {
        let (head, rest) = self.0.split_first_chunk().ok_or(E::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, E> {
        self.array().map(|[byte]| byte)
    }

    fn key(&mut self) -> Result<Key, E> {
        Ok(Key(u64::from_le_bytes(self.array()?)))
    }

    fn keys(&mut self, count: usize) -> Result<Vec<Key>, E> {
        if count > MAX_ZONES {
            return Err(E::Malformed);
        }
        (0..count).map(|_| self.key()).collect()
    }

    fn contacts(&mut self, count: usize, network: &Tag) -> Result<Vec<Referral<Endpoint>>, E> {
        if count > MAX_REFERRALS {
            return Err(E::Malformed);
        }
        (0..count).map(|_| self.contact(network)).collect()
    }

    fn contact(&mut self, network: &Tag) -> Result<Referral<Endpoint>, E> {
        let id = NodeId::from_bytes(self.array()?);
        let solution = u32::from_le_bytes(self.array()?);
        let ip = Ipv6Addr::from(self.array::<16>()?);
        let port = u16::from_le_bytes(self.array()?);
        let time_port = u16::from_le_bytes(self.array()?);
        let seat = self.key()?;
        let addr = SocketAddr::new(IpAddr::V6(ip).to_canonical(), port);
        let nowhere = ip.is_unspecified() || addr.ip().is_multicast() || port == 0;
        if nowhere || time_port == 0 {
            return Err(E::Malformed);
        }
        let endpoint = Endpoint {
            id,
            solution,
            addr,
            time_port,
        };
        let contact = endpoint.contact(network).ok_or(E::Puzzle)?;
        Ok(Referral { contact, seat })
    }

    fn body(
        &mut self,
        what: u8,
        first: usize,
        second: usize,
        network: &Tag,
    ) -> Result<Body<Endpoint>, E> {
        let plain = |list: Vec<Referral<Endpoint>>| list.into_iter().map(|r| r.contact);
        let lists = (what == 7 || what >= 18, what == 19 || what == 21);
        if (first > 0 && !lists.0) || (second > 0 && !lists.1) {
            return Err(E::Malformed);
        }
        Ok(match what {
            1 => Body::Query(Query::Ping),
            2 => Body::Query(Query::Find(self.key()?)),
            3 => Body::Query(Query::Ring),
            4 => match self.byte()? {
                row @ 0..16 => Body::Query(Query::Row(row)),
                _ => return Err(E::Malformed),
            },
            5 => Body::Query(Query::Leaves),
            6 => Body::Query(Query::Join),
            7 => Body::Query(Query::Zones(self.keys(first)?)),
            8 => Body::Query(Query::Give(self.key()?)),
            17 => Body::Answer(Answer::Pong),
            18 => {
                let seat = self.key()?;
                let nearer = self.contacts(first, network)?;
                Body::Answer(Answer::Found { seat, nearer })
            }
            19 => {
                let mut all = plain(self.contacts(first, network)?);
                let predecessor = match second {
                    0 => None,
                    1 => Some(all.next().ok_or(E::Malformed)?),
                    _ => return Err(E::Malformed),
                };
                Body::Answer(Answer::Ring {
                    predecessor,
                    successors: all.collect(),
                })
            }
            20 => Body::Answer(Answer::Contacts(
                plain(self.contacts(first, network)?).collect(),
            )),
            21 => {
                let granted = Some(self.key()?).filter(|key| key.0 != 0);
                let own = self.keys(first)?;
                let neighbours = self.contacts(second, network)?;
                Body::Answer(Answer::Zones {
                    granted,
                    own,
                    neighbours,
                })
            }
            _ => return Err(E::Foreign),
        })
    }
}

#[cfg(test)]
mod tests;

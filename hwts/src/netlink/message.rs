//! Netlink messages of the routing family as bytes (`netlink(7)`, `rtnetlink(7)`), in the host's
//! byte order. Whatever is cut off or too short ends the walk.

/// `struct nlmsghdr`: length u32 (header included), type u16, flags u16, sequence u32, port u32.
const HEADER: usize = 16;
/// `struct rtattr`: length u16 (header included), type u16.
const ATTRIBUTE: usize = 4;
/// `NLA_TYPE_MASK`: the two upper bits say that it is nested, or in network order.
const KIND_MASK: u16 = 0x3fff;

/// A message without its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// An attribute without its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) data: &'a [u8],
}

/// The messages of one datagram.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = read_u32(bytes, 0)? as usize;
        let message = Message {
            kind: read_u16(bytes, 4)?,
            sequence: read_u32(bytes, 8)?,
            body: bytes.get(HEADER..len)?,
        };
        bytes = bytes.get(align(len)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes that follow each other in `bytes`.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let len = usize::from(read_u16(bytes, 0)?);
        let attribute = Attribute {
            kind: read_u16(bytes, 2)? & KIND_MASK,
            data: bytes.get(ATTRIBUTE..len)?,
        };
        bytes = bytes.get(align(len)..).unwrap_or_default();
        Some(attribute)
    })
}

/// The attributes after a fixed part of `fixed` bytes.
pub(super) fn attributes_after(body: &[u8], fixed: usize) -> impl Iterator<Item = Attribute<'_>> {
    attributes(body.get(fixed..).unwrap_or_default())
}

impl Attribute<'_> {
    pub(super) fn u8(&self) -> Option<u8> {
        self.data.first().copied()
    }

    pub(super) fn u32(&self) -> Option<u32> {
        read_u32(self.data, 0)
    }

    /// A text that the kernel ends with a zero byte.
    pub(super) fn text(&self) -> String {
        let end = self.data.iter().position(|&byte| byte == 0);
        String::from_utf8_lossy(&self.data[..end.unwrap_or(self.data.len())]).into_owned()
    }
}

/// A request: header, fixed part, and attributes that are complete already.
pub(super) fn request(
    kind: u16,
    flags: u16,
    sequence: u32,
    fixed: &[u8],
    attribute: Option<(u16, &[u8])>,
) -> Request {
    let mut request = Request {
        bytes: [0; Request::ROOM],
        len: HEADER,
    };
    request.put(fixed);
    if let Some((kind, data)) = attribute {
        request.put(&((ATTRIBUTE + data.len()) as u16).to_ne_bytes());
        request.put(&kind.to_ne_bytes());
        request.put(data);
        request.len = align(request.len);
    }
    let len = (request.len as u32).to_ne_bytes();
    request.bytes[..4].copy_from_slice(&len);
    request.bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    request.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    request.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request
}

/// A request on its way; in place, since routes are asked for between packets.
pub(super) struct Request {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Request {
    /// Header, `rtmsg`, and one attribute with an IPv6 address.
    const ROOM: usize = 64;

    fn put(&mut self, data: &[u8]) {
        let end = self.len + data.len();
        self.bytes[self.len..end].copy_from_slice(data);
        self.len = end;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

pub(super) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_as_what_was_put_in() {
        let request = request(
            26,
            1,
            7,
            &[2, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            Some((1, &[10, 0, 0, 1])),
        );
        let all: Vec<Message<'_>> = messages(request.bytes()).collect();
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].kind, all[0].sequence, all[0].body.len()),
            (26, 7, 20)
        );
        let attributes: Vec<Attribute<'_>> = attributes_after(all[0].body, 12).collect();
        assert_eq!(
            attributes,
            [Attribute {
                kind: 1,
                data: &[10, 0, 0, 1]
            }]
        );
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        for len in [0_u32, 15, 17, u32::MAX] {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(messages(&bytes).count(), 0, "{len}");
        }
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1, 0]).count(), 1);
        assert_eq!(attributes(&[5, 0, 1]).count(), 0);
    }
}

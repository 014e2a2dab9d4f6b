//! From a datagram to a frame.

use std::net::{IpAddr, SocketAddr};

use super::checksum::Sum;
use super::{ETHER_TYPE_V4, ETHER_TYPE_V6, ETHERNET, PROTOCOL_UDP, TAG, UDP, V4, V6, VLAN_ID};

/// VLAN tags at most.
const MAX_TAGS: usize = 2;
/// Room for all headers of a frame, bytes.
pub const MAX_HEADERS: usize = ETHERNET + MAX_TAGS * TAG + V6 + UDP;
/// Hops a packet may take; as Linux has it.
const HOPS: u8 = 64;
/// IPv4's `do not fragment`: what was cut could not be stamped.
const WHOLE: [u8; 2] = [0x40, 0];

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// `0x8100` (802.1Q) or `0x88a8` (802.1ad).
    pub protocol: u16,
    /// Number of the VLAN, 12 bits.
    pub id: u16,
}

/// From where to where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who sends it.
    pub from: SocketAddr,
    /// For whom it is.
    pub to: SocketAddr,
}

/// The headers of frames that differ in their content only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// All of it, lengths and checksums left 0.
    headers: [u8; MAX_HEADERS],
    /// Where the IP header begins.
    ip: usize,
    v6: bool,
    /// Sum of what does not change: of the IPv4 header, and of ports and UDP's pseudo header.
    header_sum: Sum,
    udp_sum: Sum,
}

impl Frame {
    /// Frames between two hardware addresses. None if the two ends are of different families, or
    /// with more than two tags.
    pub fn new(source: [u8; 6], destination: [u8; 6], tags: &[Tag], ends: Ends) -> Option<Self> {
        if tags.len() > MAX_TAGS {
            return None;
        }
        let mut writer = Writer {
            bytes: [0; MAX_HEADERS],
            len: 0,
        };
        writer.put(&destination);
        writer.put(&source);
        for tag in tags {
            writer.put(&tag.protocol.to_be_bytes());
            writer.put(&(tag.id & VLAN_ID).to_be_bytes());
        }
        let ip = writer.len + 2;
        let (from, to) = (ends.from.ip().to_canonical(), ends.to.ip().to_canonical());
        let (v6, header_sum, addresses) = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                writer.put(&ETHER_TYPE_V4.to_be_bytes());
                // Version and header length; service, length and number are 0.
                writer.put(&[0x45, 0, 0, 0, 0, 0]);
                writer.put(&WHOLE);
                writer.put(&[HOPS, PROTOCOL_UDP, 0, 0]);
                writer.put(&from.octets());
                writer.put(&to.octets());
                let sum = Sum::default().add(&writer.bytes[ip..ip + V4]);
                (false, sum, ip + V4 - 8..ip + V4)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                writer.put(&ETHER_TYPE_V6.to_be_bytes());
                // Version; traffic class, flow label and length are 0.
                writer.put(&[0x60, 0, 0, 0, 0, 0]);
                writer.put(&[PROTOCOL_UDP, HOPS]);
                writer.put(&from.octets());
                writer.put(&to.octets());
                (true, Sum::default(), ip + V6 - 32..ip + V6)
            }
            _ => return None,
        };
        let ports = writer.len;
        writer.put(&ends.from.port().to_be_bytes());
        writer.put(&ends.to.port().to_be_bytes());
        let udp_sum = Sum::default()
            .add(&writer.bytes[addresses])
            .word(PROTOCOL_UDP.into())
            .add(&writer.bytes[ports..ports + 4]);
        Some(Self {
            headers: writer.bytes,
            ip,
            v6,
            header_sum,
            udp_sum,
        })
    }

    /// Bytes before the IP packet.
    pub const fn ethernet_len(&self) -> usize {
        self.ip
    }

    /// Bytes before the content.
    pub const fn header_len(&self) -> usize {
        self.ip + if self.v6 { V6 } else { V4 } + UDP
    }

    /// Writes a frame with `content` to the start of `room`, and returns its length. `number`
    /// tells IPv4 packets apart. None if there is not enough room, or content for more than a
    /// datagram.
    pub fn write(&self, room: &mut [u8], content: &[u8], number: u16) -> Option<usize> {
        let headers = self.header_len();
        let len = headers + content.len();
        let room = room.get_mut(..len)?;
        let datagram = u16::try_from(UDP + content.len()).ok()?;
        let packet = u16::try_from(len - self.ip).ok()?;
        let (head, body) = room.split_at_mut(headers);
        head.copy_from_slice(&self.headers[..headers]);
        body.copy_from_slice(content);
        let ip = self.ip;
        if self.v6 {
            head[ip + 4..ip + 6].copy_from_slice(&datagram.to_be_bytes());
        } else {
            head[ip + 2..ip + 4].copy_from_slice(&packet.to_be_bytes());
            head[ip + 4..ip + 6].copy_from_slice(&number.to_be_bytes());
            let sum = self.header_sum.word(packet).word(number).finish();
            head[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
        }
        // The length counts twice: in the header, and in the pseudo header.
        let sum = self
            .udp_sum
            .word(datagram)
            .word(datagram)
            .add(body)
            .finish();
        // 0 would mean that there is none.
        let sum = if sum == 0 { 0xffff } else { sum };
        head[headers - 4..headers - 2].copy_from_slice(&datagram.to_be_bytes());
        head[headers - 2..].copy_from_slice(&sum.to_be_bytes());
        Some(len)
    }
}

struct Writer {
    bytes: [u8; MAX_HEADERS],
    len: usize,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(from: &str, to: &str) -> Ends {
        Ends {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }
    }

    fn frame(tags: &[Tag], ends: Ends, content: &[u8]) -> Vec<u8> {
        let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], tags, ends).unwrap();
        let mut room = [0xff; 200];
        let len = frame.write(&mut room, content, 0x1234).unwrap();
        assert_eq!(len, frame.header_len() + content.len());
        room[..len].to_vec()
    }

    /// Checksums as a receiver checks them, word by word over header and pseudo header.
    fn sums_to_nothing(frame: &[u8], ip: usize, v6: bool) -> bool {
        let (addresses, udp) = if v6 {
            (ip + 8..ip + 40, ip + 40)
        } else {
            if Sum::default().add(&frame[ip..ip + 20]).finish() != 0 {
                return false;
            }
            (ip + 12..ip + 20, ip + 20)
        };
        let sum = Sum::default()
            .add(&frame[addresses])
            .word(17)
            .word((frame.len() - udp) as u16)
            .add(&frame[udp..]);
        sum.finish() == 0
    }

    #[test]
    fn an_ipv4_frame_byte_by_byte() {
        let got = frame(&[], ends("192.0.2.1:4711", "192.0.2.2:4712"), b"hi");
        let want = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
            0x45, 0, 0, 30, 0x12, 0x34, 0x40, 0, 64, 17, 0xa4, 0x97, // IPv4
            192, 0, 2, 1, 192, 0, 2, 2, // addresses
            0x12, 0x67, 0x12, 0x68, 0, 10, 0xee, 0x9d, // UDP
            b'h', b'i',
        ];
        assert_eq!(got, want);
        assert!(sums_to_nothing(&got, 14, false));
    }

    #[test]
    fn tags_ports_and_odd_lengths_keep_the_checksums_right() {
        let tags = [
            Tag {
                protocol: 0x88a8,
                id: 7,
            },
            Tag {
                protocol: 0x8100,
                id: 0xffff,
            },
        ];
        for len in [0, 1, 2, 3, 4, 57, 100] {
            let content: Vec<u8> = (0..len).map(|k| k as u8 ^ 0xa5).collect();
            for count in 0..=2 {
                let at = 14 + 4 * count;
                let four = frame(
                    &tags[..count],
                    ends("10.0.0.1:1", "10.0.0.2:65535"),
                    &content,
                );
                assert!(sums_to_nothing(&four, at, false));
                let six = frame(
                    &tags[..count],
                    ends("[fe80::1]:1", "[2001:db8::2]:9"),
                    &content,
                );
                assert!(sums_to_nothing(&six, at, true));
            }
        }
        let tagged = frame(&tags, ends("10.0.0.1:1", "10.0.0.2:2"), b"");
        assert_eq!(
            tagged[12..22],
            [0x88, 0xa8, 0, 7, 0x81, 0, 0x0f, 0xff, 8, 0]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let four = Frame::new([0; 6], [0; 6], &[], ends("1.2.3.4:1", "1.2.3.5:1")).unwrap();
        assert_eq!(four.write(&mut [0; 43], b"ab", 0), None);
        assert_eq!(four.write(&mut [0; 44], b"ab", 0), Some(44));
        assert_eq!(four.write(&mut vec![0; 80_000], &[0; 66_000], 0), None);
        assert!(Frame::new([0; 6], [0; 6], &[], ends("1.2.3.4:1", "[::2]:1")).is_none());
    }
}

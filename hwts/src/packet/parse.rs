//! From a frame to a datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    ETHER_TYPE_V4, ETHER_TYPE_V6, ETHERNET, PROTOCOL_UDP, TAG, TAG_CUSTOMER, TAG_SERVICE, UDP, V4,
    V6, VLAN_ID,
};
use crate::packet::frame::Ends;

/// A UDP datagram in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it to whom.
    pub ends: Ends,
    /// The number of the innermost VLAN; none without a tag.
    pub vlan: Option<u16>,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// Reads a frame that holds a whole UDP datagram, as
/// [our program](crate::xdp) lets pass: no fragments, no options, no extension headers, at most two
/// VLAN tags. None for all else.
///
/// The UDP checksum is not looked at: between virtual interfaces the kernel leaves it half done, on
/// others the card has checked it, and what is in the datagram is authenticated.
pub fn parse(frame: &[u8]) -> Option<Datagram<'_>> {
    let mut rest = frame.get(ETHERNET - 2..)?;
    let mut vlan = None;
    for _ in 0..2 {
        if !matches!(half(rest, 0)?, TAG_CUSTOMER | TAG_SERVICE) {
            break;
        }
        vlan = Some(half(rest, 2)? & VLAN_ID);
        rest = rest.get(TAG..)?;
    }
    let packet = rest.get(2..)?;
    let (from, to, udp) = match half(rest, 0)? {
        ETHER_TYPE_V4 => v4(packet)?,
        ETHER_TYPE_V6 => v6(packet)?,
        _ => return None,
    };
    let len = usize::from(half(udp, 4)?);
    Some(Datagram {
        ends: Ends {
            from: SocketAddr::new(from, half(udp, 0)?),
            to: SocketAddr::new(to, half(udp, 2)?),
        },
        vlan,
        bytes: udp.get(UDP..len)?,
    })
}

/// Both addresses, and what follows the header.
fn v4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header: &[u8; V4] = packet.first_chunk()?;
    let fragment = half(header, 6)? & 0x3fff != 0;
    if header[0] != 0x45 || fragment || header[9] != PROTOCOL_UDP {
        return None;
    }
    // Short frames are filled up to sixty bytes, so the frame's end is not the packet's.
    let end = usize::from(half(header, 2)?);
    let address = |at: usize| {
        Some(IpAddr::from(Ipv4Addr::from(
            *header[at..].first_chunk::<4>()?,
        )))
    };
    Some((address(12)?, address(16)?, packet.get(V4..end)?))
}

fn v6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header: &[u8; V6] = packet.first_chunk()?;
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_UDP {
        return None;
    }
    let end = V6 + usize::from(half(header, 4)?);
    let address = |at: usize| {
        Some(IpAddr::from(Ipv6Addr::from(
            *header[at..].first_chunk::<16>()?,
        )))
    };
    Some((address(8)?, address(24)?, packet.get(V6..end)?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Frame, Tag};
    use proptest::prelude::*;

    fn write(tags: &[Tag], ends: Ends, content: &[u8]) -> Vec<u8> {
        let frame = Frame::new([1; 6], [2; 6], tags, ends).unwrap();
        let mut room = vec![0; 2_048];
        let len = frame.write(&mut room, content, 7).unwrap();
        room.truncate(len);
        room
    }

    fn any_ends() -> impl Strategy<Value = Ends> {
        let ports = any::<(u16, u16)>();
        prop_oneof![
            (any::<(Ipv4Addr, Ipv4Addr)>(), ports).prop_map(|((a, b), (p, q))| Ends {
                from: (a, p).into(),
                to: (b, q).into()
            }),
            (any::<([u16; 8], [u16; 8])>(), any::<(u16, u16)>()).prop_map(|((a, b), (p, q))| {
                // Global addresses: mapped ones are IPv4.
                let global = |mut words: [u16; 8]| {
                    words[0] = 0x2001;
                    Ipv6Addr::from(words)
                };
                Ends {
                    from: (global(a), p).into(),
                    to: (global(b), q).into(),
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            ends in any_ends(),
            tags in proptest::collection::vec((any::<bool>(), 0..4096_u16), 0..=2),
            content in proptest::collection::vec(any::<u8>(), 0..1_400),
            padding in 0..60_usize,
        ) {
            let tags: Vec<Tag> = tags
                .into_iter()
                .map(|(service, id)| Tag { protocol: if service { 0x88a8 } else { 0x8100 }, id })
                .collect();
            let mut frame = write(&tags, ends, &content);
            frame.resize(frame.len() + padding, 0xee);
            let got = parse(&frame).unwrap();
            prop_assert_eq!(got.ends, ends);
            prop_assert_eq!(got.bytes, &content[..]);
            prop_assert_eq!(got.vlan, tags.last().map(|tag| tag.id));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damage_never_panics(ends in any_ends(), at in 0..80_usize, value: u8, cut in 0..80_usize) {
            let mut frame = write(&[], ends, b"what time is it?");
            let len = frame.len();
            frame[at % len] = value;
            let _ = parse(&frame[..cut.min(len)]);
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let ends = Ends {
            from: "192.0.2.1:1".parse().unwrap(),
            to: "192.0.2.2:2".parse().unwrap(),
        };
        let good = write(&[], ends, b"content");
        for (at, value) in [(17, 0), (17, 19), (17, 200), (39, 7), (39, 200), (38, 1)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(parse(&bad), None, "byte {at} = {value}");
        }
        assert_eq!(parse(&good).unwrap().bytes, b"content");
    }
}

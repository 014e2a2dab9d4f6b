//! The control messages beside a datagram: stamps, and what the error queue says.

use std::mem::size_of;

use crate::sys::SO_EE_ORIGIN_TIMESTAMPING;

/// Layout of `struct cmsghdr` as the kernel has it: length (header included), level i32, type i32.
const LEVEL: usize = size_of::<usize>();
const KIND: usize = LEVEL + 4;
const HEADER: usize = KIND + 4;
/// Which of the three timespecs of `SCM_TIMESTAMPING` is whose.
const SOFTWARE: usize = 0;
const HARDWARE: usize = 2;
/// `SCM_TIMESTAMPING_PKTINFO`: the card's interface u32, the frame's length u32, 8 bytes reserved.
const SCM_TIMESTAMPING_PKTINFO: i32 = 58;
/// Layout of `struct sock_extended_err` (linux/errqueue.h): errno u32, origin u8, type u8,
/// code u8, pad u8, info u32, data u32.
const EE_LEN: usize = 16;
const EE_ORIGIN: usize = 4;
const EE_DATA: usize = 12;

/// What was found among the control messages of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Control {
    /// The kernel's software stamp on `CLOCK_REALTIME`, ns.
    pub(super) kernel: Option<i64>,
    /// The card's stamp on its own clock, ns.
    pub(super) hardware: Option<i64>,
    /// The interface of the card that stamped it, where the kernel knows.
    pub(super) card: Option<u32>,
    /// The interface that took the packet in.
    pub(super) interface: Option<u32>,
    /// Which packet a TX stamp belongs to (`SOF_TIMESTAMPING_OPT_ID`).
    pub(super) id: Option<u32>,
    /// The error queue reports something else than a stamp: an ICMP or local error.
    pub(super) network_error: bool,
}

/// Reads control messages; whatever is unknown or too short is skipped.
pub(super) fn parse(mut control: &[u8]) -> Control {
    let mut out = Control::default();
    while let (Some(len), Some(level), Some(kind)) = (
        read_len(control),
        read_i32(control, LEVEL),
        read_i32(control, KIND),
    ) {
        let Some(data) = control.get(HEADER..len) else {
            break;
        };
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                out.kernel = stamp_at(data, SOFTWARE);
                out.hardware = stamp_at(data, HARDWARE);
            }
            (libc::SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO) => out.card = interface_at(data, 0),
            (libc::SOL_IP, libc::IP_PKTINFO) => out.interface = interface_at(data, 0),
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => out.interface = interface_at(data, 16),
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                extended_error(data, &mut out);
            }
            _ => {}
        }
        let Some(rest) = control.get(align(len)..) else {
            break;
        };
        control = rest;
    }
    out
}

/// An interface's number; 0 means none.
fn interface_at(data: &[u8], at: usize) -> Option<u32> {
    let index = read_i32(data, at)?.cast_unsigned();
    (index != 0).then_some(index)
}

/// One of the three timespecs of `SCM_TIMESTAMPING`; zero means none.
fn stamp_at(data: &[u8], place: usize) -> Option<i64> {
    let word = size_of::<libc::c_long>();
    let secs = read_long(data, 2 * place * word)?;
    let nanos = read_long(data, (2 * place + 1) * word)?;
    if (secs, nanos) == (0, 0) {
        return None;
    }
    secs.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn extended_error(data: &[u8], out: &mut Control) {
    let Some(error) = data.get(..EE_LEN) else {
        return;
    };
    if error[EE_ORIGIN] == SO_EE_ORIGIN_TIMESTAMPING {
        out.id = read_i32(error, EE_DATA).map(i32::cast_unsigned);
    } else {
        out.network_error = true;
    }
}

fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

fn read_i32(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_len(bytes: &[u8]) -> Option<usize> {
    let len = usize::from_ne_bytes(bytes.get(..LEVEL)?.try_into().ok()?);
    (len >= HEADER && len <= bytes.len()).then_some(len)
}

fn read_long(bytes: &[u8], at: usize) -> Option<i64> {
    let word = bytes.get(at..at + size_of::<libc::c_long>())?;
    Some(libc::c_long::from_ne_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let len = HEADER + data.len();
        let mut out = len.to_ne_bytes().to_vec();
        out.extend(level.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(data);
        out.resize(align(out.len()), 0);
        out
    }

    fn stamp(secs: i64, nanos: i64) -> Vec<u8> {
        let words = [secs, nanos, 0, 0, 0, 0];
        let data: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &data)
    }

    fn error(origin: u8, id: u32) -> Vec<u8> {
        let mut data = vec![0; EE_LEN];
        data[EE_ORIGIN] = origin;
        data[EE_DATA..].copy_from_slice(&id.to_ne_bytes());
        message(libc::SOL_IPV6, libc::IPV6_RECVERR, &data)
    }

    #[test]
    fn a_stamp_and_its_packet_are_found_in_any_order() {
        let want = Control {
            kernel: Some(5_000_000_007),
            id: Some(0xdead_beef),
            ..Control::default()
        };
        let foreign = message(libc::SOL_SOCKET, 12_345, &[1, 2, 3]);
        let a = [foreign.clone(), stamp(5, 7), error(4, 0xdead_beef)].concat();
        let b = [error(4, 0xdead_beef), foreign, stamp(5, 7)].concat();
        assert_eq!(parse(&a), want);
        assert_eq!(parse(&b), want);
    }

    #[test]
    fn a_cards_stamp_comes_with_its_interface() {
        let words = [5_i64, 7, 0, 0, 6, 8];
        let data: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let both = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &data);
        let card = [3_u32, 90, 0, 0].map(u32::to_ne_bytes).concat();
        let card = message(libc::SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO, &card);
        let mut v6 = vec![0; 16];
        v6.extend(9_u32.to_ne_bytes());
        let v6 = message(libc::SOL_IPV6, libc::IPV6_PKTINFO, &v6);
        let got = parse(&[both, card, v6].concat());
        let want = Control {
            kernel: Some(5_000_000_007),
            hardware: Some(6_000_000_008),
            card: Some(3),
            interface: Some(9),
            ..Control::default()
        };
        assert_eq!(got, want);
        let v4 = [4_u32, 0, 0].map(u32::to_ne_bytes).concat();
        let v4 = parse(&message(libc::SOL_IP, libc::IP_PKTINFO, &v4));
        assert_eq!(v4.interface, Some(4));
    }

    #[test]
    fn icmp_errors_are_not_stamps_and_zero_is_none() {
        let got = parse(&[error(2, 9), stamp(0, 0)].concat());
        assert_eq!(
            got,
            Control {
                network_error: true,
                ..Control::default()
            }
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }

        #[test]
        fn damaged_messages_never_panic(cut in 0_usize..100, at in 0_usize..72, value: u8) {
            let mut bytes = [stamp(1, 2), error(4, 1)].concat();
            let at = at % bytes.len();
            bytes[at] = value;
            parse(&bytes[..cut.min(bytes.len())]);
        }
    }
}

//! The control messages beside a datagram: stamps, and what the error queue says.

use std::mem::size_of;

use crate::sys::SO_EE_ORIGIN_TIMESTAMPING;

/// Layout of `struct cmsghdr` as the kernel has it: length (header included), level i32, type i32.
const LEVEL: usize = size_of::<usize>();
const KIND: usize = LEVEL + 4;
const HEADER: usize = KIND + 4;
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
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => out.kernel = software_stamp(data),
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

/// The first of the three timespecs of `SCM_TIMESTAMPING`; zero means none.
fn software_stamp(data: &[u8]) -> Option<i64> {
    let secs = read_long(data, 0)?;
    let nanos = read_long(data, size_of::<libc::c_long>())?;
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
            network_error: false,
        };
        let foreign = message(libc::SOL_SOCKET, 12_345, &[1, 2, 3]);
        let a = [foreign.clone(), stamp(5, 7), error(4, 0xdead_beef)].concat();
        let b = [error(4, 0xdead_beef), foreign, stamp(5, 7)].concat();
        assert_eq!(parse(&a), want);
        assert_eq!(parse(&b), want);
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

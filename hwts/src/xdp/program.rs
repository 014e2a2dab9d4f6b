//! The program at the interface: our datagrams to our sockets, everything else to the kernel.
//!
//! Ours is a UDP datagram, IPv4 or IPv6, in one or two VLAN tags or none, to our port and to an
//! address that the [address map](super::bpf::AddressMap) holds. What a host forwards for others is
//! therefore not touched, and neither are fragments (whose ports are in the first only), IPv4
//! options and IPv6 extension headers: the kernel takes those, and the ordinary socket beside us
//! gets them. So it does where a queue has no socket.

use std::mem::{offset_of, size_of};
use std::os::fd::BorrowedFd;

use super::asm::{
    Assembler, AssemblyError, Instruction, Label, R0, R1, R2, R3, R4, R5, R6, R7, R8, R10, Size,
};

/// Helpers (linux/bpf.h).
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;
const ADJUST_META: i32 = 54;
const KTIME_GET_TAI: i32 = 208;
/// Verdict that leaves a packet to the kernel.
pub(super) const PASS: i32 = 2;

/// `struct xdp_md`.
const MD_DATA: i16 = 0;
const MD_DATA_END: i16 = 4;
const MD_DATA_META: i16 = 8;
const MD_QUEUE: i16 = 16;

/// Frames, from the start of the (last) Ethernet header.
const ETHERNET: i32 = 14;
const TAG: i32 = 4;
const ETHER_TYPE: i16 = 12;
const V4_FIRST: i16 = 14;
const V4_FRAGMENT: i16 = 20;
const V4_PROTOCOL: i16 = 23;
const V4_DESTINATION: i16 = 30;
const V4_PORT: i16 = 36;
const V4_HEADERS: i32 = 42;
const V6_NEXT: i16 = 20;
const V6_DESTINATION: i16 = 38;
const V6_PORT: i16 = 56;
const V6_HEADERS: i32 = 62;
/// Version 4, five words of header.
const PLAIN_V4: i32 = 0x45;
const UDP: i32 = libc::IPPROTO_UDP;
/// Fragment offset and `more fragments`.
const FRAGMENT: u16 = 0x3fff;

/// The stack: the key of the address map, and room for the card's stamp.
const KEY: i16 = -16;
const HARDWARE: i16 = -24;

/// What the program puts before a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Metadata {
    /// [`MAGIC`], or what was there before.
    pub(crate) magic: u32,
    /// What the driver said when it was asked for its stamp: 0 if it gave one.
    pub(crate) hardware_result: i32,
    /// `CLOCK_TAI` when the program ran, ns.
    pub(crate) hook: u64,
    /// The card's stamp, ns on its clock.
    pub(crate) hardware: u64,
}

/// Says that the metadata was written by our program.
pub(super) const MAGIC: u32 = 0x5053_5958;

/// What the program is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Redirect<'a> {
    /// Our UDP port.
    pub(super) port: u16,
    /// Sockets by queue.
    pub(super) sockets: BorrowedFd<'a>,
    /// Our addresses.
    pub(super) addresses: BorrowedFd<'a>,
    /// The BTF id of `bpf_xdp_metadata_rx_timestamp`, if the card is to be asked for its stamp.
    pub(super) hardware: Option<u32>,
    /// The verdict on our datagrams in a queue that has no socket.
    pub(super) otherwise: i32,
}

/// What a value in network order looks like to a load.
const fn network(value: u16) -> i32 {
    value.to_be() as i32
}

impl Redirect<'_> {
    /// Assembles it. Some fifty instructions, of which foreign packets meet a dozen.
    pub(super) fn assemble(&self) -> Result<Vec<Instruction>, AssemblyError> {
        let mut asm = Assembler::default();
        let a = &mut asm;
        let pass = a.label();
        let ours = a.label();
        // R6 is the context, R2 the packet (moved on past VLAN tags), R3 its end.
        a.copy(R6, R1)
            .load(Size::Word, R2, R6, MD_DATA)
            .load(Size::Word, R3, R6, MD_DATA_END);
        ethernet(a, pass);
        self.v4(a, ours, pass);
        self.v6(a, pass);
        a.bind(ours);
        // As early as it is known that the packet concerns us.
        a.call(KTIME_GET_TAI).copy(R7, R0);
        a.load_map(R1, self.addresses)
            .copy(R2, R10)
            .add(R2, KEY.into())
            .call(MAP_LOOKUP)
            .jump_if_equal(R0, 0, pass);
        self.stamp(a);
        a.load_map(R1, self.sockets)
            .load(Size::Word, R2, R6, MD_QUEUE)
            .set(R3, self.otherwise)
            .call(REDIRECT_MAP)
            .exit();
        a.bind(pass).set(R0, PASS).exit();
        asm.finish()
    }

    /// Falls through if it is not IPv4.
    fn v4(&self, a: &mut Assembler, ours: Label, pass: Label) {
        let other = a.label();
        a.jump_unless_equal(R5, network(libc::ETH_P_IP as u16), other);
        within(a, V4_HEADERS, pass);
        a.load(Size::Byte, R5, R2, V4_FIRST)
            .jump_unless_equal(R5, PLAIN_V4, pass)
            .load(Size::Half, R5, R2, V4_FRAGMENT)
            .and(R5, network(FRAGMENT))
            .jump_unless_equal(R5, 0, pass)
            .load(Size::Byte, R5, R2, V4_PROTOCOL)
            .jump_unless_equal(R5, UDP, pass)
            .load(Size::Half, R5, R2, V4_PORT)
            .jump_unless_equal(R5, network(self.port), pass);
        // The address in IPv6's form: ::ffff:a.b.c.d.
        let mapped = i32::from_ne_bytes([0, 0, 0xff, 0xff]);
        a.store_value(Size::Double, R10, KEY, 0)
            .store_value(Size::Word, R10, KEY + 8, mapped)
            .load(Size::Word, R5, R2, V4_DESTINATION)
            .store(Size::Word, R10, KEY + 12, R5)
            .jump(ours);
        a.bind(other);
    }

    /// Falls through if it is ours.
    fn v6(&self, a: &mut Assembler, pass: Label) {
        a.jump_unless_equal(R5, network(libc::ETH_P_IPV6 as u16), pass);
        within(a, V6_HEADERS, pass);
        a.load(Size::Byte, R5, R2, V6_NEXT)
            .jump_unless_equal(R5, UDP, pass)
            .load(Size::Half, R5, R2, V6_PORT)
            .jump_unless_equal(R5, network(self.port), pass);
        for word in [0, 4, 8, 12] {
            a.load(Size::Word, R5, R2, V6_DESTINATION + word).store(
                Size::Word,
                R10,
                KEY + word,
                R5,
            );
        }
    }

    /// Puts [`Metadata`] before the frame, if the driver has room for it. R7 is the hook's stamp.
    fn stamp(&self, a: &mut Assembler) {
        let done = a.label();
        a.store_value(Size::Double, R10, HARDWARE, 0);
        match self.hardware {
            Some(function) => a
                .copy(R1, R6)
                .copy(R2, R10)
                .add(R2, HARDWARE.into())
                .call_kernel(function)
                .copy(R8, R0),
            None => a.set(R8, -libc::EOPNOTSUPP),
        };
        let size = size_of::<Metadata>() as i32;
        a.copy(R1, R6)
            .set(R2, -size)
            .call(ADJUST_META)
            .jump_unless_equal(R0, 0, done)
            .load(Size::Word, R2, R6, MD_DATA_META)
            .load(Size::Word, R3, R6, MD_DATA)
            .copy(R4, R2)
            .add(R4, size)
            .jump_if_above(R4, R3, done);
        let at = |field: usize| field as i16;
        a.store_value(
            Size::Word,
            R2,
            at(offset_of!(Metadata, magic)),
            MAGIC.cast_signed(),
        )
        .store(
            Size::Word,
            R2,
            at(offset_of!(Metadata, hardware_result)),
            R8,
        )
        .store(Size::Double, R2, at(offset_of!(Metadata, hook)), R7)
        .load(Size::Double, R5, R10, HARDWARE)
        .store(Size::Double, R2, at(offset_of!(Metadata, hardware)), R5);
        a.bind(done);
    }
}

/// Jumps unless the packet has `len` bytes from R2; uses R4.
fn within(a: &mut Assembler, len: i32, otherwise: Label) {
    a.copy(R4, R2).add(R4, len).jump_if_above(R4, R3, otherwise);
}

/// Leaves the ether type in R5, and R2 so that what follows the type lies where it does without
/// tags.
fn ethernet(a: &mut Assembler, pass: Label) {
    within(a, ETHERNET, pass);
    a.load(Size::Half, R5, R2, ETHER_TYPE);
    let untagged = a.label();
    for _ in 0..2 {
        let tagged = a.label();
        a.jump_if_equal(R5, network(libc::ETH_P_8021Q as u16), tagged)
            .jump_unless_equal(R5, network(libc::ETH_P_8021AD as u16), untagged);
        a.bind(tagged).add(R2, TAG);
        within(a, ETHERNET, pass);
        a.load(Size::Half, R5, R2, ETHER_TYPE);
    }
    a.bind(untagged);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Ends, Frame, Tag};
    use crate::xdp::bpf::{self, AddressMap, address_map, socket_map};
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::{AsFd, OwnedFd};

    const PORT: u16 = 4711;
    /// `XDP_DROP`: tells our datagrams from others where no queue has a socket.
    const OURS: i32 = 1;

    fn ours(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), PORT)
    }

    fn key(address: IpAddr) -> [u8; 16] {
        match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }

    /// The program with two addresses; none, and why, where the kernel does not load it.
    fn program() -> Option<(OwnedFd, AddressMap)> {
        let made = socket_map(1).and_then(|sockets| Ok((sockets, address_map(8)?)));
        let (sockets, addresses) = match made {
            Ok(maps) => maps,
            Err(error) => {
                eprintln!("SKIPPED: no BPF maps: {error}");
                return None;
            }
        };
        for address in ["192.0.2.2", "2001:db8::2"] {
            addresses.insert(key(address.parse().unwrap()), 1).unwrap();
        }
        let code = Redirect {
            port: PORT,
            sockets: sockets.fd.as_fd(),
            addresses: addresses.fd.as_fd(),
            hardware: None,
            otherwise: OURS,
        }
        .assemble();
        let program = bpf::load(&code.unwrap(), None).unwrap();
        Some((program, addresses))
    }

    fn frame(from: &str, to: SocketAddr, tags: &[Tag]) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        let ends = Ends {
            from: SocketAddr::new(from.parse().unwrap(), 9),
            to,
        };
        let frame = Frame::new([2; 6], [4; 6], tags, ends).unwrap();
        let len = frame.write(&mut bytes, b"what time is it?", 1).unwrap();
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn our_datagrams_are_taken_and_no_others() {
        let Some((program, addresses)) = program() else {
            return;
        };
        let verdict = |packet: &[u8]| {
            bpf::test_run(program.as_fd(), packet)
                .unwrap()
                .cast_signed()
        };
        let (v4, v6) = (ours("192.0.2.2"), ours("2001:db8::2"));
        let tag = |protocol, id| Tag { protocol, id };
        let tagged = [tag(0x8100, 7)];
        let twice = [tag(0x88a8, 7), tag(0x8100, 9)];
        for tags in [&[][..], &tagged, &twice] {
            assert_eq!(verdict(&frame("192.0.2.1", v4, tags)), OURS, "{tags:?}");
            assert_eq!(verdict(&frame("2001:db8::1", v6, tags)), OURS, "{tags:?}");
        }
        let v4_frame = frame("192.0.2.1", v4, &[]);
        let v6_frame = frame("2001:db8::1", v6, &[]);

        // Another port, another address.
        let mut other = v4;
        other.set_port(PORT + 1);
        assert_eq!(verdict(&frame("192.0.2.1", other, &[])), PASS);
        let forwarded = frame("192.0.2.1", ours("192.0.2.3"), &[]);
        assert_eq!(verdict(&forwarded), PASS);
        assert_eq!(
            verdict(&frame("2001:db8::1", ours("2001:db8::3"), &[])),
            PASS
        );
        addresses.remove(key(v4.ip())).unwrap();
        assert_eq!(verdict(&v4_frame), PASS);
        addresses.insert(key(v4.ip()), 1).unwrap();
        assert_eq!(verdict(&v4_frame), OURS);

        let changed = |frame: &[u8], at: usize, value: u8| {
            let mut bytes = frame.to_vec();
            bytes[at] = value;
            verdict(&bytes)
        };
        // More fragments, a later fragment, options, TCP; fragment header, TCP; ARP.
        assert_eq!(changed(&v4_frame, 20, 0x20), PASS);
        assert_eq!(changed(&v4_frame, 21, 1), PASS);
        assert_eq!(changed(&v4_frame, 20, 0x40), OURS, "do not fragment");
        assert_eq!(changed(&v4_frame, 14, 0x46), PASS);
        assert_eq!(changed(&v4_frame, 23, 6), PASS);
        assert_eq!(changed(&v6_frame, 20, 44), PASS);
        assert_eq!(changed(&v6_frame, 20, 6), PASS);
        assert_eq!(changed(&v4_frame, 13, 6), PASS);
        // Cut off anywhere. The kernel runs nothing on less than an Ethernet header.
        for frame in [&v4_frame, &v6_frame] {
            let headers = frame.len() - b"what time is it?".len();
            for len in 14..headers {
                assert_eq!(verdict(&frame[..len]), PASS, "{len}");
            }
            assert_eq!(verdict(&frame[..headers]), OURS);
        }
        // Three tags are one more than anybody needs.
        let thrice = [twice[0], twice[1], tagged[0]];
        assert!(Frame::new([2; 6], [4; 6], &thrice, Ends { from: v4, to: v4 }).is_none());
    }

    #[test]
    fn metadata_has_the_alignment_the_kernel_wants() {
        assert_eq!(size_of::<Metadata>() % 4, 0);
        assert!(size_of::<Metadata>() <= 32);
    }
}

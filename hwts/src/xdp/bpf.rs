//! The `bpf(2)` system call: maps, programs, links.

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::asm::Instruction;

/// `enum bpf_cmd`.
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const PROGRAM_LOAD: libc::c_int = 5;
#[cfg(test)]
const PROGRAM_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;
/// `enum bpf_map_type`, `enum bpf_prog_type`, `enum bpf_attach_type`.
const MAP_HASH: u32 = 1;
const MAP_XSK: u32 = 17;
const PROGRAM_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// The program may use what one device's driver offers, and runs there only.
const DEVICE_BOUND: u32 = 1 << 6;
/// In the driver, or not at all.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// The verifier's complaints, kept for the error message.
const LOG: usize = 16 * 1024;
/// Functions of the kernel that read a packet's metadata are for such programs only.
const LICENSE: &CStr = c"GPL";

/// The parts of `union bpf_attr` (linux/bpf.h) that are used; what follows is zero.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapElement {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

#[cfg(test)]
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    returned: u32,
    in_size: u32,
    out_size: u32,
    input: u64,
    output: u64,
    repeat: u32,
    duration: u32,
}

/// # Safety
/// Every address in `attributes` must be of live memory of the length that stands beside it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    let attributes: *mut T = attributes;
    // SAFETY: pointer and size are those of a live value; the caller vouches for addresses within.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same for commands that give a descriptor; all of those are closed on exec by the kernel.
///
/// # Safety
/// As [`bpf`].
unsafe fn bpf_open<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// A map in the kernel, keys of `K` to values of `V`.
#[derive(Debug)]
pub(super) struct Map<K, V> {
    pub(super) fd: OwnedFd,
    holds: std::marker::PhantomData<(K, V)>,
}

impl<K: Copy, V: Copy> Map<K, V> {
    fn create(map_type: u32, max_entries: u32) -> io::Result<Self> {
        let mut attributes = MapCreate {
            map_type,
            key_size: size_of::<K>() as u32,
            value_size: size_of::<V>() as u32,
            max_entries,
            ..MapCreate::default()
        };
        Ok(Self {
            // SAFETY: no addresses.
            fd: unsafe { bpf_open(MAP_CREATE, &mut attributes) }?,
            holds: std::marker::PhantomData,
        })
    }

    /// Sets what stands under `key`.
    pub(super) fn insert(&self, key: K, value: V) -> io::Result<()> {
        let mut attributes = MapElement {
            map: self.fd.as_raw_fd().cast_unsigned(),
            key: (&raw const key).addr() as u64,
            value: (&raw const value).addr() as u64,
            ..MapElement::default()
        };
        // SAFETY: key and value are live and of the sizes the map was made with.
        unsafe { bpf(MAP_UPDATE, &mut attributes) }.map(drop)
    }

    /// Removes what stands under `key`.
    pub(super) fn remove(&self, key: K) -> io::Result<()> {
        let mut attributes = MapElement {
            map: self.fd.as_raw_fd().cast_unsigned(),
            key: (&raw const key).addr() as u64,
            ..MapElement::default()
        };
        // SAFETY: the key is live and of the size the map was made with.
        unsafe { bpf(MAP_DELETE, &mut attributes) }.map(drop)
    }
}

/// Sockets by queue (`BPF_MAP_TYPE_XSKMAP`).
pub(super) type SocketMap = Map<u32, u32>;
/// A set of addresses, IPv4 in IPv6's form.
pub(super) type AddressMap = Map<[u8; 16], u32>;

pub(super) fn socket_map(queues: u32) -> io::Result<SocketMap> {
    Map::create(MAP_XSK, queues)
}

pub(super) fn address_map(entries: u32) -> io::Result<AddressMap> {
    Map::create(MAP_HASH, entries)
}

/// Why a program was not loaded.
#[derive(Debug)]
pub(super) struct LoadError {
    pub(super) error: io::Error,
    /// The last thing the verifier said.
    pub(super) complaint: String,
}

/// Loads an XDP program; one that is bound to a device may use what its driver offers.
pub(super) fn load(code: &[Instruction], bound_to: Option<u32>) -> Result<OwnedFd, LoadError> {
    // Without a log first: writing one costs the kernel memory and time.
    match load_with(code, bound_to, &mut []) {
        Ok(program) => Ok(program),
        Err(error) => {
            let mut log = vec![0; LOG];
            // It is the same program, so it fails again; if it does not, so much the better.
            load_with(code, bound_to, &mut log).map_err(|_| LoadError {
                error,
                complaint: last_line(&log),
            })
        }
    }
}

fn load_with(code: &[Instruction], bound_to: Option<u32>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..8].copy_from_slice(b"parisync");
    let mut attributes = ProgramLoad {
        program_type: PROGRAM_XDP,
        instructions: code.len() as u32,
        code: code.as_ptr().addr() as u64,
        license: LICENSE.as_ptr().addr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log: if log.is_empty() {
            0
        } else {
            log.as_mut_ptr().addr() as u64
        },
        flags: if bound_to.is_some() { DEVICE_BOUND } else { 0 },
        name,
        interface: bound_to.unwrap_or(0),
        attach_type: ATTACH_XDP,
        ..ProgramLoad::default()
    };
    // SAFETY: code, license and log are live through the call and of the lengths given.
    unsafe { bpf_open(PROGRAM_LOAD, &mut attributes) }
}

/// The verifier ends with a summary of its work; what it minds stands before that.
fn last_line(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines = text.trim_end_matches('\0').lines();
    let mut said = lines.filter(|line| !line.is_empty() && !line.starts_with("processed "));
    said.next_back().unwrap_or_default().to_owned()
}

/// Attaches a program to an interface in its driver, beside no other. It is detached when the
/// descriptor is closed, however that happens.
pub(super) fn attach(program: BorrowedFd<'_>, interface: u32) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        program: number(program),
        interface,
        attach_type: ATTACH_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    // SAFETY: no addresses.
    unsafe { bpf_open(LINK_CREATE, &mut attributes) }
}

/// Runs a program once on a packet without any interface; returns its verdict.
#[cfg(test)]
pub(super) fn test_run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let mut attributes = TestRun {
        program: number(program),
        in_size: packet.len() as u32,
        input: packet.as_ptr().addr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the packet is live and of the length given; there is no output.
    unsafe { bpf(PROGRAM_TEST_RUN, &mut attributes) }?;
    Ok(attributes.returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_lie_where_the_kernel_reads_them() {
        use std::mem::offset_of;
        // pahole -C bpf_attr
        assert_eq!(offset_of!(ProgramLoad, log), 32);
        assert_eq!(offset_of!(ProgramLoad, flags), 44);
        assert_eq!(offset_of!(ProgramLoad, interface), 64);
        assert_eq!(offset_of!(ProgramLoad, attach_type), 68);
        assert_eq!(offset_of!(MapElement, key), 8);
        assert_eq!(offset_of!(TestRun, output), 24);
        assert_eq!(size_of::<Instruction>(), 8);
    }

    #[test]
    fn the_verifier_is_quoted_without_its_statistics() {
        let log = b"0: R1=ctx()\nR2 !read_ok\nprocessed 3 insns (limit 1000000)\n\0\0";
        assert_eq!(last_line(log), "R2 !read_ok");
        assert_eq!(last_line(&[0; 8]), "");
    }
}

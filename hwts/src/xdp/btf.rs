//! Where the kernel's own type information (Documentation/bpf/btf.rst) names a function.

use std::fs;
use std::io;

/// The running kernel's.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// A type that is a function.
const FUNCTION: u32 = 12;
/// Each type begins with name, information, and a size or type.
const TYPE: usize = 12;

/// The number of a function of the running kernel; none if it has none of that name, or does not
/// say.
///
/// # Errors
/// The information cannot be read.
pub(super) fn kernel_function(name: &str) -> io::Result<Option<u32>> {
    Ok(find_function(&fs::read(VMLINUX)?, name))
}

fn find_function(btf: &[u8], name: &str) -> Option<u32> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(btf.get(at..at + 4)?.try_into().ok()?))
    };
    let magic = u16::from_ne_bytes(btf.get(..2)?.try_into().ok()?);
    if magic != MAGIC {
        return None;
    }
    let header = word(4)? as usize;
    let types = header + word(8)? as usize;
    let end = types + word(12)? as usize;
    let strings = btf.get(header + word(16)? as usize..)?;
    let (mut at, mut id) = (types, 1);
    while at < end {
        let (text, info) = (word(at)? as usize, word(at + 4)?);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        if kind == FUNCTION {
            let rest = strings.get(text..)?.strip_prefix(name.as_bytes());
            if rest.is_some_and(|rest| rest.first() == Some(&0)) {
                return Some(id);
            }
        }
        at += TYPE + tail(kind, count)?;
        id += 1;
    }
    None
}

/// What follows a type of this kind with this many members, bytes.
fn tail(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, data section, enumeration of 64 bits.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumeration, function prototype.
        6 | 13 => 8 * count,
        // Pointer, forward, type definition, qualifiers, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An integer, a structure of one member, and the function `bar` after `barn`.
    fn small() -> Vec<u8> {
        let strings = b"\0int\0s\0barn\0bar\0";
        let kind = |kind: u32, count: u32| kind << 24 | count;
        let words: [u32; 17] = [
            1,
            kind(1, 0),
            4,
            32, // int
            5,
            kind(4, 1),
            4,
            1,
            1,
            0, // struct s { int int; }
            7,
            kind(FUNCTION, 0),
            1, // barn
            12,
            kind(FUNCTION, 0),
            1, // bar
            0,
        ];
        let types: Vec<u8> = words[..16].iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        for word in [24, 0, types.len(), types.len(), strings.len()] {
            btf.extend((word as u32).to_ne_bytes());
        }
        btf.extend(types);
        btf.extend(strings);
        btf
    }

    #[test]
    fn functions_are_found_by_their_whole_name() {
        let btf = small();
        assert_eq!(find_function(&btf, "barn"), Some(3));
        assert_eq!(find_function(&btf, "bar"), Some(4));
        assert_eq!(find_function(&btf, "ba"), None);
        assert_eq!(find_function(&btf, "int"), None);
    }

    #[test]
    fn the_running_kernel_is_readable_if_it_says_anything() {
        match kernel_function("ip_rcv") {
            Ok(found) => assert!(found.is_some()),
            Err(error) => eprintln!("SKIPPED: {VMLINUX}: {error}"),
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0..120_usize, value: u8, cut in 0..140_usize) {
            let mut btf = small();
            let len = btf.len();
            btf[at % len] = value;
            let _ = find_function(&btf[..cut.min(len)], "bar");
        }
    }
}

//! Whether a program is one that libraries are loaded into (elf(5)).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Length of the header of a 64-bit file.
const HEADER: usize = 64;
/// The type of the program header that names the dynamic linker.
const PT_INTERP: u32 = 3;

/// Whether `path` is a 64-bit ELF program with a dynamic linker, which loads libraries before it.
pub(super) fn loads_libraries(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut header = Vec::new();
    file.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
    let Some((offset, size, count)) = program_headers(&header) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut table = Vec::new();
    file.take(size * count).read_to_end(&mut table)?;
    let is_interp = |entry: &[u8]| entry.starts_with(&PT_INTERP.to_ne_bytes());
    Ok(table.chunks(size as usize).any(is_interp))
}

/// Where the program headers are, the size of each and how many; `None` if this is no 64-bit ELF.
fn program_headers(header: &[u8]) -> Option<(u64, u64, u64)> {
    const CLASS_64: u8 = 2;
    if header.len() < HEADER || !header.starts_with(b"\x7fELF") || header[4] != CLASS_64 {
        return None;
    }
    let half = |at: usize| u64::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let offset = u64::from_ne_bytes(header[32..40].try_into().ok()?);
    let size = half(54);
    (size > 0).then_some((offset, size, half(56)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_linked_and_its_source_is_not() {
        let own = std::env::current_exe().unwrap();
        assert!(loads_libraries(&own).unwrap());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(!loads_libraries(&source).unwrap());
        assert!(loads_libraries(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn headers_are_found_where_the_format_has_them() {
        let mut header = [0_u8; HEADER];
        header[..5].copy_from_slice(b"\x7fELF\x02");
        header[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        header[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        header[56..58].copy_from_slice(&13_u16.to_ne_bytes());
        assert_eq!(program_headers(&header), Some((64, 56, 13)));
        header[4] = 1;
        assert_eq!(program_headers(&header), None);
        assert_eq!(program_headers(b"\x7fELF"), None);
    }
}

//! Records: any file, no panic; what is understood is written back and understood the same, and a
//! node can live through it.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use parisync::node::Node;
use parisync::record::{Entry, Reader, apply, write};

fn entries(bytes: &[u8]) -> Option<(Reader<&[u8]>, Vec<Entry>)> {
    let mut reader = Reader::new(bytes, Path::new("fuzz.rec")).ok()?;
    let mut entries = Vec::new();
    while let Ok(Some(entry)) = reader.next_entry() {
        entries.push(entry);
    }
    Some((reader, entries))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((reader, found)) = entries(bytes) else {
        return;
    };
    let header = reader.header();
    // The sums of what was made up are wrong; written anew they are right.
    let mut again = Vec::new();
    write(&mut again, header, found.clone()).expect("a vector takes everything");
    let (_, read) = entries(&again).expect("what was written is a record");
    assert_eq!(read, found);
    let small = header.config.inbound <= 256 && header.config.candidates <= 4_096;
    if small {
        let (config, now) = (header.config.clone(), header.now);
        let mut node = <Node>::new(config, now, header.line, header.seed);
        for entry in &found {
            apply(&mut node, entry);
        }
    }
});

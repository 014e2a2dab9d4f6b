//! What the lab of User-mode Linux needs besides it: its tools, and small C programs of our own.

use std::fs;
use std::path::{Path, PathBuf};

use super::UmlError;
use crate::compare::compile::{LIBRARY, compile};
use crate::compare::daemons::find;

/// The oscillator that is loaded before User-mode Linux.
const OSCILLATOR: &str = include_str!("../../../../scripts/lab/uml/oscillator.c");
/// What runs in each guest.
const GUEST: &str = include_str!("../../../../scripts/lab/uml/guest.c");
/// The modules that a guest needs for stamps on what it sends.
const MODULES: [&str; 2] = ["bridge", "veth"];

/// All programs and modules of the lab.
#[derive(Debug)]
pub(super) struct Tools {
    /// The kernel as a program.
    pub(super) kernel: PathBuf,
    /// The switch that guests are plugged into.
    pub(super) switch: PathBuf,
    /// Our oscillator, a library.
    pub(super) oscillator: PathBuf,
    /// What runs in each guest.
    pub(super) guest: PathBuf,
    /// Modules to load, in this order.
    pub(super) modules: Vec<PathBuf>,
}

impl Tools {
    /// Finds and compiles everything; what is compiled goes to `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self, UmlError> {
        let tool = |names: &[&str], package| {
            let found = names.iter().find_map(|name| find(name));
            found.ok_or_else(|| UmlError::Tool {
                name: names[0].to_owned(),
                package,
            })
        };
        let kernel = tool(&["linux.uml", "linux"], "user-mode-linux")?;
        Ok(Self {
            switch: tool(&["uml_switch"], "uml-utilities")?,
            oscillator: compile(dir, "oscillator", OSCILLATOR, &LIBRARY)?,
            // Guests see the libraries of this host, but not all of its system calls.
            guest: compile(dir, "guest", GUEST, &["-static"])?,
            modules: modules(&kernel)?,
            kernel,
        })
    }
}

/// The modules of a kernel, each after those it needs.
fn modules(kernel: &Path) -> Result<Vec<PathBuf>, UmlError> {
    // Beside the program if it was extracted, in the usual place if it was installed.
    let beside = kernel
        .ancestors()
        .nth(2)
        .map(|dir| dir.join("lib/uml/modules"));
    let dirs = [beside, Some(PathBuf::from("/usr/lib/uml/modules"))];
    let versions = dirs
        .into_iter()
        .flatten()
        .filter_map(|dir| fs::read_dir(dir).ok());
    let mut versions = versions.flatten().flatten().map(|version| version.path());
    let root = versions.find(|version| version.join("modules.dep").is_file());
    let root = root.ok_or_else(|| UmlError::Tool {
        name: "uml/modules/VERSION/modules.dep".to_owned(),
        package: "user-mode-linux",
    })?;
    let text = fs::read_to_string(root.join("modules.dep"))?;
    let ordered = ordered(&text, &MODULES).ok_or_else(|| UmlError::Tool {
        name: format!("{}: modules {}", root.display(), MODULES.join(", ")),
        package: "user-mode-linux",
    })?;
    Ok(ordered
        .into_iter()
        .map(|module| root.join(module))
        .collect())
}

/// The files of these modules and what they need in the order in which they can be loaded, out of
/// a `modules.dep` (modules.dep(5)): a file, a colon, then what it needs, to be loaded from the right.
fn ordered<'a>(text: &'a str, names: &[&str]) -> Option<Vec<&'a str>> {
    let mut files = Vec::new();
    for name in names {
        let ends = [format!("/{name}.ko"), format!("/{name}.ko.xz")];
        let (file, needs) = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(file, _)| ends.iter().any(|end| file.ends_with(end)))?;
        for file in needs.split_whitespace().rev().chain([file]) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn modules_come_after_what_they_need() {
        let text = "kernel/drivers/net/veth.ko:\n\
            kernel/net/bridge/br_netfilter.ko: kernel/net/bridge/bridge.ko\n\
            kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko kernel/net/llc/llc.ko\n";
        let expected = [
            "kernel/net/llc/llc.ko",
            "kernel/net/802/stp.ko",
            "kernel/net/bridge/bridge.ko",
            "kernel/drivers/net/veth.ko",
        ];
        assert_eq!(ordered(text, &["bridge", "veth"]).unwrap(), expected);
        assert_eq!(ordered(text, &["bond"]), None);
    }

    #[test]
    fn the_processors_counter_and_the_clock_are_read_with_what_is_compiled() {
        let dir = crate::scratch::Scratch::new("guest").unwrap();
        if find("cc").is_none() {
            eprintln!("SKIPPED: no cc");
            return;
        }
        let options = ["-Werror", "-static"];
        let program = compile(dir.path(), "guest", GUEST, &options).unwrap();
        let reading = || {
            let output = Command::new(&program).arg("clock").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let numbers = text.split_whitespace().map(|n| n.parse().unwrap());
            numbers.collect::<Vec<u64>>()
        };
        let (first, second) = (reading(), reading());
        assert_eq!(first.len(), 2);
        assert!(
            first[0] < second[0] && first[1] < second[1],
            "{first:?} {second:?}"
        );
    }
}

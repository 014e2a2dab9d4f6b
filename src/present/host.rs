//! What is worth knowing of the machine that something was measured on.

use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

/// Facts about this machine; what cannot be read is `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Kernel name and release.
    pub kernel: String,
    /// Model of the processor.
    pub processor: String,
    /// Processors this process may use.
    pub processors: usize,
    /// The kernel's clock source.
    pub clock_source: String,
}

impl Host {
    /// Of the machine this runs on.
    pub fn read() -> Self {
        let cpuinfo = line_of("/proc/cpuinfo", |text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.to_owned())
        });
        let kernel = |name: &str| line_of(&format!("/proc/sys/kernel/{name}"), whole);
        Self {
            kernel: format!("{} {}", kernel("ostype"), kernel("osrelease")),
            processor: cpuinfo,
            processors: thread::available_parallelism().map_or(1, usize::from),
            clock_source: line_of(
                "/sys/devices/system/clocksource/clocksource0/current_clocksource",
                whole,
            ),
        }
    }
}

fn whole(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn line_of(path: &str, pick: impl Fn(&str) -> Option<String>) -> String {
    fs::read_to_string(path)
        .ok()
        .and_then(|text| pick(&text))
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The command line of this process as one could type it again.
pub fn command_line() -> String {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let program = args.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let quoted = args.map(|arg| quote(&arg));
    std::iter::once(program)
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The word as a shell takes it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(quote("--max-offset=500ms"), "--max-offset=500ms");
        assert_eq!(quote("my report"), "'my report'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn this_machine_has_a_kernel() {
        let host = Host::read();
        assert!(host.kernel.starts_with("Linux "), "{host:?}");
        assert!(host.processors >= 1);
    }
}

//! Where daemons run that believe they steer this machine's clock: without the right to do so.
//!
//! A daemon in the simulator steers a simulated clock because a library is loaded before the
//! system's. Were it not, the daemon would steer the real one. So, before any is started, it is made
//! impossible: another user, no capabilities, none to be gained from files (`no_new_privs`), and a
//! network of its own with nothing in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

use super::daemons::find;
use crate::cost::procfs::field;

/// The user and group that own nothing (`nobody`).
const NOBODY: u32 = 65534;

/// A way to run programs without privilege. They are killed when the thread that started them ends.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    /// What stands before a program's name to give it a network of its own.
    network: Vec<OsString>,
    /// What stands there to give it and its children numbers of their own, so that all end at once.
    family: Vec<OsString>,
    /// What stands there to take privileges away.
    prefix: Vec<OsString>,
    /// The user it becomes, if we are root.
    user: Option<u32>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A tool is missing.
    #[error("there is no `{0}`, which takes privileges away; it is in the package util-linux")]
    Tool(&'static str),
    /// It did not take the privileges away.
    #[error(
        "a program would still be able to steer this machine's clock: {0}; nothing was started"
    )]
    Privileged(String),
    /// The system refused.
    #[error("a program without privilege cannot be run: {0}")]
    Io(#[from] io::Error),
}

impl Sandbox {
    /// Finds the tools and sees that what they start has no privilege left.
    ///
    /// # Errors
    /// A tool is missing, or something could still steer the clock.
    pub(crate) fn new() -> Result<Self, SandboxError> {
        let tool = |name| find(name).ok_or(SandboxError::Tool(name));
        let status = fs::read_to_string("/proc/self/status")?;
        let is_root = uids(&status).contains(&"0");
        let setpriv = tool("setpriv")?;
        let user = format!("--reuid={NOBODY}");
        let group = format!("--regid={NOBODY}");
        let mut family = words(&setpriv, &["--pdeathsig=KILL", "--"]);
        let (network, prefix) = if is_root {
            let mut all = vec![&*user, &*group, "--clear-groups", "--inh-caps=-all"];
            all.extend([
                "--bounding-set=-all",
                "--no-new-privs",
                "--pdeathsig=KILL",
                "--",
            ]);
            let unshare = tool("unshare")?;
            let network = words(&unshare, &["--net", "--"]);
            family.extend(words(&unshare, &["--pid", "--fork", "--mount-proc", "--"]));
            (network, words(&setpriv, &all))
        } else {
            let all = [
                "--inh-caps=-all",
                "--no-new-privs",
                "--pdeathsig=KILL",
                "--",
            ];
            (Vec::new(), words(&setpriv, &all))
        };
        let sandbox = Self {
            network,
            family,
            prefix,
            user: is_root.then_some(NOBODY),
        };
        let output = sandbox
            .command(Path::new("/bin/cat"), &[])
            .arg("/proc/self/status")
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        match harmless(&said) {
            Ok(()) => Ok(sandbox),
            Err(what) if said.is_empty() => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(SandboxError::Privileged(format!("{what} ({})", why.trim())))
            }
            Err(what) => Err(SandboxError::Privileged(what)),
        }
    }

    /// A command without privilege and network, with no environment but this one.
    pub(crate) fn command(&self, program: &Path, environment: &[(&str, &OsStr)]) -> Command {
        let words = self.network.iter().chain(&self.prefix);
        start(words, program, environment)
    }

    /// A command without privilege in the network of the calling thread.
    pub(crate) fn here(&self, program: &Path) -> Command {
        start(self.prefix.iter(), program, &[])
    }

    /// A command without privilege in the network of the calling thread, with no environment but this
    /// one; if it is killed, all that it started goes with it (where we are root).
    pub(crate) fn contained(&self, program: &Path, environment: &[(&str, &OsStr)]) -> Command {
        start(self.family.iter().chain(&self.prefix), program, environment)
    }

    /// Makes a directory of a program in the sandbox.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        // Some refuse a directory that others can read.
        fs::DirBuilder::new().mode(0o700).create(path)?;
        std::os::unix::fs::chown(path, self.user, self.user)
    }
}

/// A tool with its options.
fn words(tool: &Path, options: &[&str]) -> Vec<OsString> {
    let options = options.iter().map(OsString::from);
    std::iter::once(tool.into()).chain(options).collect()
}

/// A command that becomes `program` by way of the tools in `words`.
fn start<'a>(
    words: impl Iterator<Item = &'a OsString>,
    program: &Path,
    environment: &[(&str, &OsStr)],
) -> Command {
    // A library to be loaded first must not be loaded into the tools that come before.
    let mut command = Command::new("/usr/bin/env");
    command
        .args(words)
        .args(["env", "-i", "PATH=/usr/bin:/bin"]);
    for (name, value) in environment {
        let mut setting = OsString::from(name);
        setting.push("=");
        setting.push(value);
        command.arg(setting);
    }
    command.arg(program);
    command
}

/// The four user ids in `/proc/PID/status`.
fn uids(status: &str) -> Vec<&str> {
    field(status, "Uid")
        .map(|ids| ids.split_whitespace().collect())
        .unwrap_or_default()
}

/// Whether a process with this `/proc/PID/status` cannot steer clocks; if it can, why.
fn harmless(status: &str) -> Result<(), String> {
    let ids = uids(status);
    if ids.len() != 4 || ids.contains(&"0") {
        return Err(format!("it runs as user {}", ids.join(", ")));
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let value = field(status, set).unwrap_or("unknown");
        if !value.bytes().all(|digit| digit == b'0') {
            return Err(format!("its {set} is {value}"));
        }
    }
    match field(status, "NoNewPrivs") {
        Some("1") => Ok(()),
        _ => Err("it may gain privileges from files".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARMLESS: &str = "Name:\tcat\nUid:\t65534\t65534\t65534\t65534\n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

    #[test]
    fn only_who_has_nothing_is_harmless() {
        assert_eq!(harmless(HARMLESS), Ok(()));
        for (from, to) in [
            ("65534\n", "0\n"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000002000000"),
            ("CapAmb:\t0000000000000000\n", ""),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            (HARMLESS, ""),
        ] {
            let status = HARMLESS.replacen(from, to, 1);
            assert_ne!(status, HARMLESS);
            assert!(harmless(&status).is_err(), "{status}");
        }
    }

    #[test]
    fn the_sandbox_of_this_machine_takes_everything_away() {
        let sandbox = Sandbox::new().unwrap();
        let settings = [("A", OsStr::new("b c"))];
        let output = sandbox
            .command(Path::new("/usr/bin/env"), &settings)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, "PATH=/usr/bin:/bin\nA=b c\n");
    }
}

//! Where daemons run that believe they steer this machine's clock: without the right to do so.
//!
//! A daemon in the simulator steers a simulated clock because a library is loaded before the
//! system's. Were it not, the daemon would steer the real one. So, before any is started, it is made
//! impossible: another user, no capabilities, none to be gained from files (`no_new_privs`), and a
//! network of its own with nothing in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemons::find;
use crate::cost::procfs::field;

/// The user and group that own nothing (`nobody`).
const NOBODY: u32 = 65534;

/// A way to run programs without privilege.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    /// What stands before a program's name.
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
        let mut prefix: Vec<OsString> = Vec::new();
        let mut add = |tool: PathBuf, options: &[&str]| {
            prefix.push(tool.into());
            prefix.extend(options.iter().map(OsString::from));
        };
        let is_root = uids(&status).contains(&"0");
        let setpriv = tool("setpriv")?;
        if is_root {
            add(tool("unshare")?, &["--net", "--"]);
            let user = format!("--reuid={NOBODY}");
            let group = format!("--regid={NOBODY}");
            add(
                setpriv,
                &[&user, &group, "--clear-groups", "--inh-caps=-all"],
            );
            prefix.extend(["--bounding-set=-all", "--no-new-privs", "--"].map(Into::into));
        } else {
            add(setpriv, &["--inh-caps=-all", "--no-new-privs", "--"]);
        }
        let sandbox = Self {
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

    /// A command in the sandbox, with no environment but this one.
    pub(crate) fn command(&self, program: &Path, environment: &[(&str, &OsStr)]) -> Command {
        // A library to be loaded first must not be loaded into the tools that come before.
        let mut words = self.prefix.iter();
        let mut command = Command::new(words.next().map_or(OsStr::new("env"), |word| word));
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

    /// Makes a directory that a program in the sandbox can write to.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        std::os::unix::fs::chown(path, self.user, self.user)
    }
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

//! The clock daemons: where their programs are, how they are configured, what they log.

mod chrony;
mod ntpd_rs;
mod ntpsec;
mod parisync;
mod ptp4l;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

/// A system that keeps clocks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// This project.
    Parisync,
    /// chrony.
    Chrony,
    /// ptp4l of linuxptp.
    Ptp4l,
    /// ntpd-rs.
    NtpdRs,
    /// ntpd of NTPsec.
    Ntpsec,
}

/// One host as a daemon is configured for it.
#[derive(Debug, Clone)]
pub struct Host<'a> {
    /// Which one, from 0; 0 is the reference of systems that need one.
    pub index: usize,
    /// The addresses of all hosts.
    pub addresses: &'a [Ipv4Addr],
    /// The interface to the others.
    pub interface: &'a str,
    /// A directory of its own, for configuration and state.
    pub dir: &'a Path,
    /// How often it exchanges packets.
    pub pace: Pace,
    /// What it may do.
    pub task: Task,
}

/// How often packets are exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// As the daemon does by itself; once a second if it would take its time.
    Default,
    /// Every so many seconds with each neighbour; daemons that know only powers of two take the
    /// next longer one.
    Every(f64),
}

/// What a daemon is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// To steer the host's clock.
    Steer,
    /// To say how far off the clock is, and leave it alone.
    Observe,
}

/// How a host's daemon is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its configuration file, to be written first.
    pub file: PathBuf,
    /// What stands in it.
    pub text: String,
    /// The arguments of the program.
    pub arguments: Vec<OsString>,
}

/// The exponent of two for a pace, as daemons of the NTP and PTP kind take it: the next longer one.
///
/// By default once a second, what PTP does by itself.
fn power_of_two(pace: Pace) -> i32 {
    match pace {
        Pace::Default => 0,
        // A pace reckoned from a budget may miss a power of two by rounding.
        Pace::Every(seconds) => (seconds.log2() - 1e-6).ceil() as i32,
    }
}

impl System {
    /// The name it goes by on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parisync => "parisync",
            Self::Chrony => "chrony",
            Self::Ptp4l => "ptp4l",
            Self::NtpdRs => "ntpd-rs",
            Self::Ntpsec => "ntpsec",
        }
    }

    /// The name of its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Parisync => "parisync",
            Self::Chrony => "chronyd",
            Self::Ptp4l => "ptp4l",
            Self::NtpdRs => "ntp-daemon",
            Self::Ntpsec => "ntpd",
        }
    }

    /// Where a user gets it.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Parisync => "this project: `cargo build --release`",
            Self::Chrony => "the Debian package chrony",
            Self::Ptp4l => "the Debian package linuxptp",
            Self::NtpdRs => "the crate ntpd",
            Self::Ntpsec => "the Debian package ntpsec",
        }
    }

    /// Whether its packets go to all hosts at once.
    pub const fn multicasts(self) -> bool {
        matches!(self, Self::Ptp4l)
    }

    /// How the daemon of one host is started.
    pub fn launch(self, host: &Host<'_>) -> Launch {
        match self {
            Self::Parisync => parisync::launch(host),
            Self::Chrony => chrony::launch(host),
            Self::Ptp4l => ptp4l::launch(host),
            Self::NtpdRs => ntpd_rs::launch(host),
            Self::Ntpsec => ntpsec::launch(host),
        }
    }

    /// Why it cannot run in the clock simulator, if so.
    pub const fn not_simulated(self) -> Option<&'static str> {
        match self {
            Self::Parisync | Self::Chrony | Self::Ptp4l | Self::Ntpsec => None,
            Self::NtpdRs => Some(
                "it waits with epoll and has several threads, which clknetsim does not simulate",
            ),
        }
    }

    /// The argument that makes the program print its version, and what must be in the answer.
    const fn version(self) -> (&'static str, &'static str) {
        match self {
            Self::Parisync => ("--version", "parisync"),
            Self::Chrony => ("-v", "chrony"),
            // Only a number.
            Self::Ptp4l => ("-v", "."),
            Self::NtpdRs => ("--version", "ntp-daemon"),
            // There are other programs of this name.
            Self::Ntpsec => ("--version", "ntpsec"),
        }
    }
}

/// A system whose program is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Which system.
    pub system: System,
    /// Its program.
    pub program: PathBuf,
    /// What the program says of its version.
    pub version: String,
}

/// Why a system is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No program of that name.
    #[error(
        "{}: no `{}` in PATH or /usr/sbin; it is in {}, or name one with --peer-bin {}=PATH",
        .0.name(), .0.program(), .0.package(), .0.name()
    )]
    NoProgram(System),
    /// There is one, but it does not say what it should.
    #[error(
        "{}: `{} {}` says {said:?}; it should be that of {}",
        system.name(), program.display(), system.version().0, system.package()
    )]
    Other {
        /// The system it should be of.
        system: System,
        /// The program.
        program: PathBuf,
        /// The first line it said, or why it cannot be run.
        said: String,
    },
}

/// Where programs are looked for besides PATH: daemons are not in everybody's.
const SBIN: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// The file of a program, as a shell would find it.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SBIN.iter().map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

impl Installed {
    /// Finds a system's program, or takes the one that is named, and asks its version.
    ///
    /// # Errors
    /// There is none, or it is another.
    pub fn find(system: System, named: Option<&Path>) -> Result<Self, Missing> {
        let beside = || {
            // Our own is built together with this program.
            let own = std::env::current_exe().ok()?.with_file_name("parisync");
            (system == System::Parisync && own.is_file()).then_some(own)
        };
        let program = named
            .map(Path::to_owned)
            .or_else(beside)
            .or_else(|| find(system.program()))
            .ok_or(Missing::NoProgram(system))?;
        // Daemons run with another directory.
        let program = std::path::absolute(&program).unwrap_or(program);
        let (argument, word) = system.version();
        let said = match Command::new(&program).arg(argument).output() {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text).into_owned();
                text.lines().next().unwrap_or_default().trim().to_owned()
            }
            Err(error) => error.to_string(),
        };
        if said.contains(word) && program.is_file() {
            Ok(Self {
                system,
                version: brief(&said, system),
                program,
            })
        } else {
            Err(Missing::Other {
                system,
                program,
                said,
            })
        }
    }
}

/// The first word of a version that begins with a digit, `4.3` of `chronyd (chrony) version 4.3`.
fn brief(said: &str, system: System) -> String {
    let number = said
        .split([' ', '-'])
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{} {}", system.name(), number.unwrap_or("of no version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// One of three hosts.
    pub(super) fn host(index: usize, pace: Pace, task: Task) -> Host<'static> {
        const ADDRESSES: [Ipv4Addr; 3] = [
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 2),
            Ipv4Addr::new(10, 0, 0, 3),
        ];
        Host {
            index,
            addresses: &ADDRESSES,
            interface: "eth0",
            dir: Path::new("/d"),
            pace,
            task,
        }
    }

    #[test]
    fn paces_are_the_next_longer_power_of_two() {
        let cases = [
            (1.0, 0),
            (1.000_000_1, 0),
            (1.1, 1),
            (2.0, 1),
            (0.5, -1),
            (0.3, -1),
        ];
        for (seconds, power) in cases {
            assert_eq!(power_of_two(Pace::Every(seconds)), power, "{seconds}");
        }
        assert_eq!(power_of_two(Pace::Default), 0);
    }

    #[test]
    fn versions_are_read_from_what_programs_say() {
        let chrony = "chronyd (chrony) version 4.3 (+CMDMON +NTP +REFCLOCK)";
        assert_eq!(brief(chrony, System::Chrony), "chrony 4.3");
        assert_eq!(brief("3.1.1", System::Ptp4l), "ptp4l 3.1.1");
        assert_eq!(brief("ntpd ntpsec-1.2.2", System::Ntpsec), "ntpsec 1.2.2");
        assert_eq!(brief("ntp-daemon 1.6.2", System::NtpdRs), "ntpd-rs 1.6.2");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Missing::NoProgram(System::Ptp4l).to_string();
        assert_eq!(
            error,
            "ptp4l: no `ptp4l` in PATH or /usr/sbin; it is in the Debian package linuxptp, \
             or name one with --peer-bin ptp4l=PATH"
        );
        let nowhere = Path::new("/nowhere/chronyd");
        let error = Installed::find(System::Chrony, Some(nowhere)).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[test]
    fn another_program_of_the_same_name_is_not_taken() {
        let dir = std::env::temp_dir().join(format!("parisync-other-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("ntpd");
        std::fs::write(&file, "#!/bin/sh\necho ntpd 4.2.8p15\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = Installed::find(System::Ntpsec, Some(&file));
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(
            matches!(&found, Err(Missing::Other { said, .. }) if said == "ntpd 4.2.8p15"),
            "{found:?}"
        );
    }
}

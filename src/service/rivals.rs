//! Other programs that steer the same clock.
//!
//! Two programs that steer one clock undo each other's work, and the clock is worse than with either.
//! What [`Discipline`](crate::discipline::Discipline) sees of others it sees after the fact; this
//! looks before anything is touched.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// A program that steers clocks, running on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// What it is.
    pub name: &'static str,
    /// Its processes.
    pub pids: Vec<String>,
    /// It steers the system clock for certain, not another one or only by some settings.
    pub certain: bool,
    /// How to end it, or when it may stay.
    pub advice: &'static str,
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs (pid {})", self.name, self.pids.join(", "))
    }
}

/// A program by the name the kernel shows, at most 15 letters.
struct Known {
    comm: &'static str,
    name: &'static str,
    certain: bool,
    advice: &'static str,
}

const KNOWN: [Known; 10] = [
    Known {
        comm: "chronyd",
        name: "chronyd",
        certain: true,
        advice: "`systemctl disable --now chrony` (chronyd on some systems), or run it with -x",
    },
    Known {
        comm: "ntpd",
        name: "ntpd (ntp, ntpsec or openntpd)",
        certain: true,
        advice: "`systemctl disable --now ntpsec` (or ntp, openntpd)",
    },
    Known {
        comm: "openntpd",
        name: "openntpd",
        certain: true,
        advice: "`systemctl disable --now openntpd`",
    },
    Known {
        comm: "systemd-timesyn",
        name: "systemd-timesyncd",
        certain: true,
        advice: "`systemctl disable --now systemd-timesyncd`",
    },
    Known {
        comm: "ntp-daemon",
        name: "ntpd-rs",
        certain: true,
        advice: "`systemctl disable --now ntpd-rs`",
    },
    Known {
        comm: "phc2sys",
        name: "phc2sys (steers the system clock, unless told otherwise)",
        certain: true,
        advice: "`systemctl disable --now phc2sys`",
    },
    Known {
        comm: "timemaster",
        name: "timemaster (runs chronyd or ntpd with phc2sys)",
        certain: true,
        advice: "`systemctl disable --now timemaster`",
    },
    Known {
        comm: "ptp4l",
        name: "ptp4l (steers the clock of a network card; with software stamps the system clock)",
        certain: false,
        advice: "stop it if it runs with software timestamping (-S)",
    },
    Known {
        comm: "ts2phc",
        name: "ts2phc (steers the clocks of network cards)",
        certain: false,
        advice: "no conflict with the system clock; keep it if you need it",
    },
    Known {
        comm: "VBoxService",
        name: "VBoxService (steps the clock of a guest)",
        certain: false,
        advice: "start it with --disable-timesync",
    },
];

/// The rivals that run now, by a scan of `proc`.
///
/// # Errors
/// `proc` cannot be read.
pub fn rivals(proc: &Path) -> io::Result<Vec<Rival>> {
    let running = processes(proc)?;
    let rivals = KNOWN.iter().map(|known| Rival {
        name: known.name,
        pids: running
            .iter()
            .filter(|(_, comm)| comm == known.comm)
            .map(|(pid, _)| pid.clone())
            .collect(),
        certain: known.certain,
        advice: known.advice,
    });
    Ok(rivals.filter(|rival| !rival.pids.is_empty()).collect())
}

/// Process numbers and names of everything that runs and may touch the system clock.
fn processes(proc: &Path) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)? {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .filter(|name| name.bytes().all(|c| c.is_ascii_digit()))
        else {
            continue;
        };
        // Processes come and go while we look.
        if let Ok(comm) = fs::read(entry.path().join("comm")) {
            let comm = String::from_utf8_lossy(&comm).trim_end().to_owned();
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if comm != "chronyd" || !only_watches(&arguments) {
                found.push((pid.to_owned(), comm));
            }
        }
    }
    Ok(found)
}

/// Whether chronyd was told by `-x` to leave the clock alone (chronyd(8)).
fn only_watches(arguments: &[u8]) -> bool {
    // Letters that take no value; what follows any other is no option of its own.
    const PLAIN: &[u8] = b"46dnpqQrRsvx";
    arguments.split(|&byte| byte == 0).any(|word| {
        word.strip_prefix(b"-").is_some_and(|letters| {
            let plain = letters.iter().take_while(|letter| PLAIN.contains(letter));
            plain.into_iter().any(|&letter| letter == b'x')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn rivals_are_found_by_their_kernel_names() {
        let proc = TempDir::new("proc");
        let process = |pid: &str, comm: &str, arguments: &str| {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("comm"), format!("{comm}\n")).unwrap();
            fs::write(proc.path().join(pid).join("cmdline"), arguments).unwrap();
        };
        process("12", "systemd-timesyn", "/lib/systemd/systemd-timesyncd\0");
        process("13", "chronyd", "chronyd\0-F\x001\0");
        process("14", "chronyd", "chronyd\0-f\0/etc/x.conf\0");
        process("15", "not-chronyd", "");
        process("17", "chronyd", "chronyd\0-dx\0");
        process("18", "ptp4l", "ptp4l\0-i\0eth0\0");
        fs::create_dir(proc.path().join("16")).unwrap();
        process("self", "ntpd", "ntpd\0");
        let mut found = rivals(proc.path()).unwrap();
        assert_eq!(found.len(), 3);
        found[0].pids.sort();
        assert_eq!(found[0].to_string(), "chronyd runs (pid 13, 14)");
        assert_eq!(found[1].to_string(), "systemd-timesyncd runs (pid 12)");
        assert_eq!(
            (found[2].certain, &found[2].pids[..]),
            (false, &["18".to_owned()][..])
        );
        assert!(rivals(&proc.path().join("gone")).is_err());
    }

    #[test]
    fn a_chronyd_that_only_watches_is_told_by_its_options() {
        for (arguments, watches) in [
            ("chronyd\0-x\0", true),
            ("chronyd\0-4dx\0-f\0file\0", true),
            ("chronyd\0-fx\0", false),
            ("chronyd\0-u\0x\0", false),
            ("", false),
        ] {
            assert_eq!(only_watches(arguments.as_bytes()), watches, "{arguments:?}");
        }
    }

    #[test]
    fn kernel_names_have_at_most_15_letters() {
        assert!(KNOWN.iter().all(|known| known.comm.len() <= 15));
    }
}

//! Other programs that steer the same clock.

use std::fs;
use std::path::Path;

use super::{Finding, Level};

/// A program by the name the kernel shows (at most 15 letters), what it steers, and how to stop it.
struct Rival {
    comm: &'static str,
    name: &'static str,
    level: Level,
    advice: &'static str,
}

const RIVALS: [Rival; 10] = [
    Rival {
        comm: "chronyd",
        name: "chronyd",
        level: Level::Problem,
        advice: "`systemctl disable --now chrony` (chronyd on some systems), unless it runs with -x",
    },
    Rival {
        comm: "ntpd",
        name: "ntpd (ntp, ntpsec or openntpd)",
        level: Level::Problem,
        advice: "`systemctl disable --now ntpsec` (or ntp, openntpd)",
    },
    Rival {
        comm: "openntpd",
        name: "openntpd",
        level: Level::Problem,
        advice: "`systemctl disable --now openntpd`",
    },
    Rival {
        comm: "systemd-timesyn",
        name: "systemd-timesyncd",
        level: Level::Problem,
        advice: "`systemctl disable --now systemd-timesyncd`",
    },
    Rival {
        comm: "ntp-daemon",
        name: "ntpd-rs",
        level: Level::Problem,
        advice: "`systemctl disable --now ntpd-rs`",
    },
    Rival {
        comm: "phc2sys",
        name: "phc2sys (steers the system clock, unless told otherwise)",
        level: Level::Problem,
        advice: "`systemctl disable --now phc2sys`",
    },
    Rival {
        comm: "timemaster",
        name: "timemaster (runs chronyd or ntpd with phc2sys)",
        level: Level::Problem,
        advice: "`systemctl disable --now timemaster`",
    },
    Rival {
        comm: "ptp4l",
        name: "ptp4l (steers the clock of a network card; with software stamps the system clock)",
        level: Level::Warning,
        advice: "stop it if it runs with software timestamping (-S)",
    },
    Rival {
        comm: "ts2phc",
        name: "ts2phc (steers the clocks of network cards)",
        level: Level::Warning,
        advice: "no conflict with the system clock; keep it if you need it",
    },
    Rival {
        comm: "VBoxService",
        name: "VBoxService (steps the clock of a guest)",
        level: Level::Warning,
        advice: "start it with --disable-timesync",
    },
];

/// The rivals that run now, by a scan of `proc`; a good word if there are none.
pub(super) fn rivals(proc: &Path) -> Vec<Finding> {
    let running = match commands(proc) {
        Ok(running) => running,
        Err(error) => {
            return vec![Finding::warning(
                "daemons",
                format!("cannot see what runs here: {}: {error}", proc.display()),
                "mount /proc to have other time daemons found",
            )];
        }
    };
    let mut findings: Vec<Finding> = Vec::new();
    for rival in RIVALS {
        let pids: Vec<&str> = running
            .iter()
            .filter(|(_, comm)| comm == rival.comm)
            .map(|(pid, _)| pid.as_str())
            .collect();
        if !pids.is_empty() {
            findings.push(Finding {
                topic: "daemons",
                level: rival.level,
                what: format!("{} runs (pid {})", rival.name, pids.join(", ")),
                advice: Some(format!(
                    "two programs must not steer one clock: {}",
                    rival.advice
                )),
            });
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "daemons",
            "no other program seen that steers the clock",
        ));
    }
    findings
}

/// Process numbers and names of everything that runs.
fn commands(proc: &Path) -> std::io::Result<Vec<(String, String)>> {
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
            found.push((pid.to_owned(), comm));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn rivals_are_found_by_their_kernel_names() {
        let proc = TempDir::new("proc");
        let process = |pid: &str, comm: &str| {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("comm"), format!("{comm}\n")).unwrap();
        };
        process("12", "systemd-timesyn");
        process("13", "chronyd");
        process("14", "chronyd");
        process("15", "not-chronyd");
        fs::create_dir(proc.path().join("16")).unwrap();
        process("self", "ntpd");
        let findings = rivals(proc.path());
        assert_eq!(findings.len(), 2);
        assert!(
            findings
                .iter()
                .all(|finding| finding.level == Level::Problem)
        );
        let text = super::super::human(&findings);
        assert!(text.contains("systemd-timesyncd runs (pid 12)"), "{text}");
        assert!(text.contains("chronyd runs (pid 13, 14)") || text.contains("(pid 14, 13)"));
    }

    #[test]
    fn nobody_else_is_good_and_no_proc_is_said() {
        let proc = TempDir::new("empty-proc");
        assert_eq!(rivals(proc.path())[0].level, Level::Good);
        let gone = rivals(&proc.path().join("gone"));
        assert_eq!(gone[0].level, Level::Warning);
    }

    #[test]
    fn kernel_names_have_at_most_15_letters() {
        assert!(RIVALS.iter().all(|rival| rival.comm.len() <= 15));
    }
}

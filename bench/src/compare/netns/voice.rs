//! What a daemon says of its clock, in each one's own way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use parisync::export::client::Client;
use parisync::export::status::ClockReading;

use crate::compare::daemons::{Host, Installed, System, find};

/// How one host's daemon is asked how far off its clock is.
#[derive(Debug)]
pub(super) enum Voice {
    /// The first of a star defines the time.
    Reference,
    /// `parisync`, through its control socket.
    Parisync {
        /// The socket.
        socket: PathBuf,
        /// The connection, once there is one.
        client: Option<Client>,
    },
    /// `chronyd`, through `chronyc`.
    Chrony {
        /// The program `chronyc`.
        chronyc: PathBuf,
        /// The socket.
        socket: PathBuf,
    },
    /// `ptp4l`, which logs to this file.
    Ptp4l(PathBuf),
}

/// The program that asks `chronyd`: beside it, or in PATH.
pub(super) fn chronyc(chronyd: &Installed) -> Result<PathBuf, String> {
    let beside = |dir: &Path| Some(dir.join("chronyc")).filter(|file| file.is_file());
    let home = chronyd.program.parent();
    home.and_then(beside)
        // Packages have the daemon in sbin, the client in bin.
        .or_else(|| beside(&home?.parent()?.join("bin")))
        .or_else(|| find("chronyc"))
        .ok_or_else(|| "no `chronyc` beside it or in PATH, which asks it for its offset".to_owned())
}

impl Voice {
    /// The voice of one host's daemon, which logs to `log`.
    pub(super) fn new(program: &Installed, host: &Host<'_>, log: &Path) -> Self {
        let chronyc = || chronyc(program).unwrap_or_else(|_| "chronyc".into());
        match program.system {
            System::Parisync => Self::Parisync {
                socket: host.dir.join("control"),
                client: None,
            },
            _ if host.index == 0 => Self::Reference,
            System::Chrony => Self::Chrony {
                chronyc: chronyc(),
                socket: host.dir.join("chronyd.sock"),
            },
            System::Ptp4l | System::Ntpsec | System::NtpdRs => Self::Ptp4l(log.to_owned()),
        }
    }

    /// What the clock of host 1 shows, for those who can say what theirs showed at the same instant.
    pub(super) fn reading(&mut self) -> Option<ClockReading> {
        self.client()?.clock_now().ok()
    }

    /// How far off its clock is from that of host 1, s; `None` if it does not say.
    pub(super) fn offset(&mut self, first: Option<&ClockReading>) -> Option<f64> {
        match self {
            Self::Reference => Some(0.0),
            Self::Parisync { .. } => {
                let first = first?;
                let reading = self.client()?.clock_at(first.mono_raw_ns).ok()?;
                Some((reading.virtual_ns - first.virtual_ns) as f64 * 1e-9)
            }
            Self::Chrony { chronyc, socket } => {
                let answer = Command::new(chronyc)
                    .arg("-h")
                    .arg(socket)
                    .args(["-c", "tracking"])
                    .output()
                    .ok()?;
                chrony_offset(&String::from_utf8_lossy(&answer.stdout))
            }
            Self::Ptp4l(log) => {
                let text = fs::read_to_string(log).ok()?;
                text.lines().rev().find_map(ptp4l_offset)
            }
        }
    }

    /// The connection to a `parisync`.
    fn client(&mut self) -> Option<&mut Client> {
        let Self::Parisync { socket, client } = self else {
            return None;
        };
        if client.is_none() {
            *client = Client::connect(std::slice::from_ref(socket)).ok();
        }
        client.as_mut()
    }
}

/// The offset in what `chronyc -c tracking` says: the fifth of comma-separated fields (chronyc(1),
/// "System time"), s.
fn chrony_offset(said: &str) -> Option<f64> {
    let fields: Vec<&str> = said.trim().split(',').collect();
    // Before there is a source, the reference is nothing.
    let known = fields.first().is_some_and(|id| *id != "00000000");
    known.then(|| fields.get(4)?.parse().ok())?
}

/// The offset in a line of `ptp4l`, which logs it in ns: `master offset  -42 s0 freq …`.
fn ptp4l_offset(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("master offset")?;
    let nanos: f64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(nanos * 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_where_each_daemon_writes_them() {
        let chrony = "0A4E0001,10.78.0.1,2,1700000000.123456789,-0.000000042,0.000000012,\
            0.000000100,-1.5,0.001,0.01,0.000020000,0.000001,1.0,Normal\n";
        assert_eq!(chrony_offset(chrony), Some(-42e-9));
        let none = "00000000,,0,0.000000000,0.000000000,0,0,0,0,0,1,1,0.0,Not synchronised\n";
        assert_eq!(chrony_offset(none), None);
        assert_eq!(chrony_offset("506 Cannot talk to daemon\n"), None);
        let ptp = "ptp4l[12.345]: master offset        -42 s0 freq      +0 path delay       900";
        assert_eq!(ptp4l_offset(ptp), Some(-42.0 * 1e-9));
        assert_eq!(ptp4l_offset("ptp4l[1.2]: port 1: LISTENING to SLAVE"), None);
    }
}

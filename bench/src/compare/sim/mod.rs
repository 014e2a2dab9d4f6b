//! The laboratory of simulated clocks and links: a user's own copy of clknetsim.
//!
//! Daemons run unmodified, with clknetsim's library loaded before the system's; its server moves
//! time on whenever all of them wait, and writes down how far off each clock is. Nothing of it is
//! part of this project.

mod ntpsec;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::daemons::{Host, Installed, System, Task};
use super::elf;
use super::lab::{Job, Lab, LabError, Observed, cost};
use super::links::Links;
use super::measure::{Offsets, count_packets};
use super::process::Process;
use super::sandbox::{Sandbox, SandboxError};
use crate::scratch::Scratch;

/// The simulated clocks begin at this time, s since 1970: in 2030. Programs take years before they
/// were built for years of the next era of NTP.
const START: i64 = 1_900_000_000;
/// How long simulated time may stand still.
const STILL: Duration = Duration::from_secs(60);
/// How long server and daemons may take to end, or the server to begin.
const GRACE: Duration = Duration::from_secs(5);

/// A copy of clknetsim that works.
#[derive(Debug)]
pub struct Sim {
    server: PathBuf,
    library: PathBuf,
    /// Loaded before that into NTPsec; compiled when it is needed.
    ntpsec: OnceLock<Result<PathBuf, String>>,
    sandbox: Sandbox,
    scratch: Scratch,
    runs: AtomicU32,
}

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// Nobody said where it is.
    #[error(
        "the lab `sim` needs --clknetsim DIR, a directory with `clknetsim` and `clknetsim.so`: \
         the clock and network simulator by chrony's author, the public project \
         mlichvar/clknetsim on GitHub, which you build with `make`; it is not part of PariSync"
    )]
    Unnamed,
    /// A file is missing.
    #[error(
        "{}: {source}; --clknetsim names a directory with `clknetsim` and `clknetsim.so`, \
         built from the public project mlichvar/clknetsim on GitHub",
        path.display()
    )]
    NoFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Privileges cannot be taken away.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A program does not see simulated time.
    #[error(
        "clknetsim does not work here: `date` under its library said {said:?}, not a time of \
         2030; no daemon was started{hint}"
    )]
    NoEffect {
        /// What `date` or the server said.
        said: String,
        /// What may be the reason.
        hint: &'static str,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Sim {
    /// Takes the clknetsim in `dir`, and sees that it works and that nothing run in it could touch
    /// this machine's clock.
    ///
    /// # Errors
    /// There is none, or it does not work; nothing was started then.
    pub fn new(dir: Option<&Path>) -> Result<Self, SimError> {
        let dir = dir.ok_or(SimError::Unnamed)?;
        let file = |name| {
            let path = dir.join(name);
            fs::canonicalize(&path).map_err(|source| SimError::NoFile { path, source })
        };
        let sim = Self {
            server: file("clknetsim")?,
            library: file("clknetsim.so")?,
            ntpsec: OnceLock::new(),
            sandbox: Sandbox::new()?,
            scratch: Scratch::new("compare")?,
            runs: AtomicU32::new(0),
        };
        sim.probe()?;
        Ok(sim)
    }

    /// Lets `date` read the simulated clock.
    fn probe(&self) -> Result<(), SimError> {
        let dir = self.dir()?;
        fs::write(dir.join("conf"), "node1_offset = 0\n")?;
        let mut server = self.serve(&dir, 1, 2, 1)?;
        let date = self
            .client(Path::new("date"), self.library.as_os_str(), &dir, 0)
            .arg("+%s")
            .output()?;
        let said = String::from_utf8_lossy(&date.stdout).trim().to_owned();
        server.end(Duration::ZERO)?;
        let simulated = said.parse::<i64>().is_ok_and(|s| (s - START).abs() < 10);
        if date.status.success() && simulated {
            return Ok(());
        }
        let last = String::from_utf8_lossy(&date.stderr).trim().to_owned();
        let said = [said, last, server.last_words()]
            .into_iter()
            .find(|said| !said.is_empty());
        Err(SimError::NoEffect {
            said: said.unwrap_or_default(),
            hint: "; user `nobody` must be able to read the directory if you are root",
        })
    }

    /// A directory for one more run.
    fn dir(&self) -> std::io::Result<PathBuf> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let dir = self.scratch.path().join(number.to_string());
        self.sandbox.make_dir(&dir)?;
        Ok(dir)
    }

    /// Starts the server and waits until it can be reached.
    fn serve(&self, dir: &Path, hosts: usize, seconds: u32, seed: u64) -> std::io::Result<Process> {
        // The C library's generator takes no more.
        let seed = (seed & 0x7fff_ffff).to_string();
        let seed = [("CLKNETSIM_RANDOM_SEED", OsStr::new(&seed))];
        let mut command = self.sandbox.command(&self.server, &seed);
        command
            .current_dir(dir)
            .args(["-l", &seconds.to_string(), "-o", "offsets", "-p", "packets"])
            .args(["-s", "sock", "conf", &hosts.to_string()]);
        let mut server = Process::start(command, &dir.join("server.log"))?;
        let deadline = Instant::now() + GRACE;
        while !dir.join("sock").exists() && Instant::now() < deadline && !server.look() {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(server)
    }

    /// The libraries to load before those of the system, or why one is missing.
    fn libraries(&self, system: System) -> Result<OsString, String> {
        let mut all = OsString::new();
        if system == System::Ntpsec {
            let make = || ntpsec::library(self.scratch.path()).map_err(|e| e.to_string());
            let made = self.ntpsec.get_or_init(make);
            all.push(made.as_ref().map_err(String::clone)?);
            all.push(" ");
        }
        all.push(&self.library);
        Ok(all)
    }

    /// A command for a program on simulated host `index`.
    fn client(&self, program: &Path, libraries: &OsStr, dir: &Path, index: usize) -> Command {
        let node = (index + 1).to_string();
        let (socket, start) = (dir.join("sock"), START.to_string());
        let settings = [
            ("LD_PRELOAD", libraries),
            ("CLKNETSIM_NODE", OsStr::new(&node)),
            ("CLKNETSIM_START_DATE", OsStr::new(&start)),
            ("CLKNETSIM_SOCKET", socket.as_os_str()),
        ];
        let mut command = self.sandbox.command(program, &settings);
        command.current_dir(dir);
        command
    }

    /// Starts the daemons of all hosts.
    fn start(&self, program: &Installed, job: &Job, dir: &Path) -> std::io::Result<Vec<Process>> {
        let addresses: Vec<Ipv4Addr> = (1..=job.hosts as u32)
            .map(|node| Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 123, 0)) + node))
            .collect();
        let libraries = self
            .libraries(program.system)
            .map_err(std::io::Error::other)?;
        (0..job.hosts)
            .map(|index| {
                let own = dir.join(format!("host{}", index + 1));
                self.sandbox.make_dir(&own)?;
                let launch = program.system.launch(&Host {
                    index,
                    addresses: &addresses,
                    interface: "eth0",
                    dir: &own,
                    pace: job.pace,
                    task: Task::Steer,
                });
                fs::write(&launch.file, &launch.text)?;
                let mut command = self.client(&program.program, &libraries, dir, index);
                command.args(&launch.arguments);
                Process::start(command, &dir.join(format!("log{}", index + 1)))
            })
            .collect()
    }
}

impl Lab for Sim {
    fn compares(&self, links: &Links) -> String {
        let links = links.words();
        format!("links of {links}; true errors of the clocks that the daemons steer, in clknetsim")
    }

    fn admits(&self, program: &Installed) -> Result<(), String> {
        if let Some(reason) = program.system.not_simulated() {
            return Err(reason.to_owned());
        }
        self.libraries(program.system)?;
        match elf::loads_libraries(&program.program) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "{} is no dynamically linked program, so clknetsim's library cannot be loaded \
                 before it; name the program itself with --peer-bin",
                program.program.display()
            )),
            Err(error) => Err(format!("{}: {error}", program.program.display())),
        }
    }

    fn at_once(&self) -> usize {
        std::thread::available_parallelism().map_or(1, Into::into)
    }

    fn in_real_time(&self) -> bool {
        false
    }

    fn run(&self, program: &Installed, job: &Job, stop: &AtomicBool) -> Result<Observed, LabError> {
        let dir = self.dir()?;
        fs::write(
            dir.join("conf"),
            job.links.draw(job.hosts, job.seed).clknetsim(),
        )?;
        let mut server = self.serve(&dir, job.hosts, job.seconds, job.seed)?;
        let mut daemons = self.start(program, job, &dir)?;
        supervise(&mut server, &mut daemons, program.system, &dir, stop)?;
        let status = server.end(GRACE)?;
        for daemon in &mut daemons {
            daemon.end(GRACE)?;
        }
        if !status.success() {
            return Err(LabError::Tool {
                program: self.server.clone(),
                said: server.last_words(),
            });
        }
        let offsets = fs::read_to_string(dir.join("offsets"))?;
        let offsets = Offsets::parse(&offsets, job.hosts, 1.0)?;
        let packets = fs::read_to_string(dir.join("packets"))?;
        let since = offsets.judged_from_s();
        let packets = count_packets(&packets, since, program.system.multicasts())?;
        fs::remove_dir_all(&dir)?;
        Ok(Observed {
            cost: cost(daemons.iter(), Duration::ZERO, offsets.length_s()),
            offsets,
            packets: Some(packets),
        })
    }
}

/// Waits until the server has ended; an error if a daemon ends well before, or nothing moves.
fn supervise(
    server: &mut Process,
    daemons: &mut [Process],
    system: System,
    dir: &Path,
    stop: &AtomicBool,
) -> Result<(), LabError> {
    let logged = || -> u64 {
        ["offsets", "packets"]
            .iter()
            .filter_map(|file| fs::metadata(dir.join(file)).ok())
            .map(|file| file.len())
            .sum()
    };
    let (mut size, mut moved) = (0, Instant::now());
    let mut first_end = None;
    while !server.look() {
        LabError::if_stopped(stop)?;
        for (index, daemon) in daemons.iter_mut().enumerate() {
            if daemon.look() && first_end.is_none() {
                first_end = Some((index, Instant::now()));
            }
        }
        match first_end {
            // In the end the daemons go first.
            Some((index, when)) if when.elapsed() > GRACE => {
                return Err(LabError::ended(system, index, &mut daemons[index])?);
            }
            _ => {}
        }
        let now = logged();
        if now != size {
            (size, moved) = (now, Instant::now());
        } else if moved.elapsed() > STILL {
            return Err(LabError::Still {
                system,
                seconds: STILL.as_secs(),
                said: daemons[0].last_words(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

//! The laboratory of real kernels with clocks of their own: User-mode Linux.
//!
//! Each host is a kernel that runs as a program. A library of ours, loaded before it, gives it an
//! oscillator; the daemon steers that kernel's clock and nothing else. All kernels run on processors
//! with the same counter, which tells what their clocks showed at one instant.
//!
//! Stamps are taken by the guests' kernels at a veth in front of the bridge: the devices of User-mode
//! Linux give none for what they send. Packets go through a switch that is a program, too, so delays
//! are those of this machine and its load, tens of microseconds: good for ranking real daemons with
//! real kernels, not for claims below that.

mod tools;
mod truth;

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::compile::CompileError;
use super::daemons::{Host, Installed, Launch, Task};
use super::elf;
use super::lab::{Job, Lab, LabError, Observed};
use super::links::{Links, Oscillator};
use super::process::{Process, last_line};
use super::sandbox::{Sandbox, SandboxError};
use crate::netns::{Namespace, NetnsError};
use crate::scratch::Scratch;
use tools::Tools;
use truth::{Log, Reading, truth};

/// Memory of a guest.
const MEMORY: &str = "mem=96M";
/// The guest's interface to the others, where packets are stamped and counted.
const DEVICE: &str = "veth0";
/// Where a guest's daemon has its files: in the guest's memory.
const HOME: &str = "/run/host";
/// How much longer than the run guests may take to boot and halt.
const BOOT: Duration = Duration::from_secs(60);

/// User-mode Linux with all it needs.
#[derive(Debug)]
pub struct Uml {
    sandbox: Sandbox,
    tools: Tools,
    scratch: Scratch,
    runs: AtomicU32,
}

/// Why there is no User-mode Linux.
#[derive(Debug, thiserror::Error)]
pub enum UmlError {
    /// A program is missing.
    #[error(
        "the lab `uml` needs `{name}`, which is in the Debian package {package}; extracted ones go into PATH"
    )]
    Tool {
        /// Its name.
        name: String,
        /// The package that has it.
        package: &'static str,
    },
    /// Our own C programs cannot be compiled.
    #[error("scripts/lab/uml: {0}")]
    Compile(#[from] CompileError),
    /// A kernel into which no library can be loaded would run on this host's clock.
    #[error("{} is not dynamically linked, so it cannot be given an oscillator", .0.display())]
    Static(PathBuf),
    /// The kernel gives no namespace.
    #[error("the lab `uml` cannot be built: {0}")]
    Namespace(#[from] NetnsError),
    /// Privileges cannot be taken away.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Uml {
    /// Finds what is needed and compiles what is our own.
    ///
    /// # Errors
    /// Something is missing.
    pub fn new() -> Result<Self, UmlError> {
        let scratch = Scratch::new("uml")?;
        let tools = Tools::new(scratch.path())?;
        if !elf::loads_libraries(&tools.kernel)? {
            return Err(UmlError::Static(tools.kernel));
        }
        Namespace::new()?;
        Ok(Self {
            sandbox: Sandbox::new()?,
            tools,
            scratch,
            runs: AtomicU32::new(0),
        })
    }

    /// Reads the counter and this host's clock.
    fn reading(&self) -> Result<Reading, LabError> {
        let output = Command::new(&self.tools.guest).arg("clock").output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        Reading::parse(&said).ok_or_else(|| LabError::Tool {
            program: self.tools.guest.clone(),
            said: said.into_owned(),
        })
    }

    /// Starts the guest of one host; its console goes to a file beside its directory.
    fn boot(
        &self,
        program: &Installed,
        host: &Host<'_>,
        own: &Path,
        job: &Job,
        clock: &Clock,
    ) -> Result<Process, LabError> {
        self.sandbox.make_dir(own)?;
        let launch = program.system.launch(host);
        let config = own.join("config");
        fs::write(&config, &launch.text)?;
        let init = own.join("init");
        let script = self.script(program, host, &launch, &config, own, job.seconds);
        fs::write(&init, script)?;
        fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let settings = [
            ("LD_PRELOAD", self.tools.oscillator.as_os_str().to_owned()),
            ("OSC_BASE_NS", clock.base.nanos.to_string().into()),
            ("OSC_ERROR", format!("{:e}", clock.oscillator.error).into()),
            ("OSC_WANDER", format!("{:e}", job.links.wander.0).into()),
            (
                "OSC_OFFSET_NS",
                format!("{:.0}", 1e9 * clock.oscillator.offset_s).into(),
            ),
            (
                "OSC_SEED",
                (1000 * job.seed + host.index as u64).to_string().into(),
            ),
            // Its memory is a file there.
            ("TMPDIR", "/dev/shm".into()),
        ];
        let settings = settings
            .each_ref()
            .map(|(name, value)| (*name, value.as_os_str()));
        let mut command = self.sandbox.contained(&self.tools.kernel, &settings);
        command
            .args([MEMORY, "quiet", "con=null", "con0=null,fd:1"])
            .args(["root=/dev/root", "rootfstype=hostfs", "hostfs=/", "rw"])
            .arg(joined("init=", &init))
            .arg(joined("uml_dir=", own))
            .arg(format!("umid=host{}", host.index + 1))
            .arg(joined("eth0=daemon,,unix,", &clock.switch));
        Ok(Process::start(command, &own.with_extension("log"))?)
    }

    /// What the guest does after its kernel: network, configuration, then the daemon.
    fn script(
        &self,
        program: &Installed,
        host: &Host<'_>,
        launch: &Launch,
        config: &Path,
        own: &Path,
        seconds: u32,
    ) -> String {
        let guest = quoted(self.tools.guest.as_os_str());
        let modules: Vec<String> = self
            .tools
            .modules
            .iter()
            .map(|m| quoted(m.as_os_str()))
            .collect();
        let arguments: Vec<String> = launch.arguments.iter().map(|word| quoted(word)).collect();
        format!(
            "#!/bin/sh\n\
             PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
             mount -t proc proc /proc\n\
             mount -t sysfs sysfs /sys\n\
             mount -t tmpfs tmpfs /run\n\
             {guest} load {modules}\n\
             for all in all default; do echo 1 > /proc/sys/net/ipv6/conf/$all/disable_ipv6; done\n\
             ip link add bridge type bridge\n\
             ip link add {DEVICE} type veth peer name port\n\
             for port in port eth0; do ip link set $port master bridge; done\n\
             for one in lo eth0 port bridge {DEVICE}; do ip link set $one up; done\n\
             ip address add {address}/16 dev {DEVICE}\n\
             ip route add 224.0.0.0/4 dev {DEVICE}\n\
             mkdir {HOME}\n\
             cp {config} {file}\n\
             exec {guest} run {seconds} {DEVICE} {log} {program} {arguments}\n",
            modules = modules.join(" "),
            address = host.addresses[host.index],
            config = quoted(config.as_os_str()),
            file = quoted(launch.file.as_os_str()),
            log = quoted(own.join("daemon.log").as_os_str()),
            program = quoted(program.program.as_os_str()),
            arguments = arguments.join(" "),
        )
    }
}

/// What a guest's time and packets depend on.
struct Clock {
    base: Reading,
    oscillator: Oscillator,
    switch: PathBuf,
}

/// A word for the shell.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

/// A setting with a path in it.
fn joined(name: &str, path: &Path) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from(name);
    word.push(path);
    word
}

impl Lab for Uml {
    fn compares(&self, _links: &Links) -> String {
        // The links are those of this host, whatever was asked for.
        "links between guests of this host; true errors of the clocks that the daemons steer,\n\
         each a User-mode Linux with an oscillator of its own"
            .to_owned()
    }

    fn admits(&self, _program: &Installed) -> Result<(), String> {
        Ok(())
    }

    fn at_once(&self) -> usize {
        // They would disturb each other.
        1
    }

    fn in_real_time(&self) -> bool {
        true
    }

    fn run(&self, program: &Installed, job: &Job, stop: &AtomicBool) -> Result<Observed, LabError> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let dir = self.scratch.path().join(number.to_string());
        self.sandbox.make_dir(&dir)?;
        // Guests reach the switch by sockets without names, which belong to a network namespace;
        // this thread stays inside.
        let namespace = Namespace::new().map_err(LabError::wiring)?;
        namespace.enter().map_err(LabError::wiring)?;
        let switch = dir.join("switch");
        let mut command = self.sandbox.here(&self.tools.switch);
        command.arg("-unix").arg(&switch);
        let mut switching = Process::start(command, &dir.join("switch.log"))?;
        let deadline = Instant::now() + BOOT;
        while !switch.exists() {
            if switching.look() || Instant::now() > deadline {
                return Err(LabError::Tool {
                    program: self.tools.switch.clone(),
                    said: switching.last_words(),
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let base = self.reading()?;
        let addresses: Vec<Ipv4Addr> = (1..=job.hosts as u8)
            .map(|host| Ipv4Addr::new(10, 79, 0, host))
            .collect();
        let network = job.links.draw(job.hosts, job.seed);
        let mut guests = Vec::with_capacity(job.hosts);
        for (index, oscillator) in network.oscillators().iter().enumerate() {
            let host = Host {
                index,
                addresses: &addresses,
                interface: DEVICE,
                dir: Path::new(HOME),
                pace: job.pace,
                task: Task::Steer,
            };
            let clock = Clock {
                base,
                oscillator: *oscillator,
                switch: switch.clone(),
            };
            let own = dir.join(format!("host{}", index + 1));
            guests.push(self.boot(program, &host, &own, job, &clock)?);
        }
        let logs = attend(program, job, &mut guests, &dir, stop)?;
        let (offsets, packets, cost) = truth(&logs, base, self.reading()?)?;
        fs::remove_dir_all(&dir)?;
        Ok(Observed {
            offsets,
            packets: Some(packets),
            cost,
        })
    }
}

/// Waits until all guests have halted; an error if a daemon ended, or a guest does not halt.
fn attend(
    program: &Installed,
    job: &Job,
    guests: &mut [Process],
    dir: &Path,
    stop: &AtomicBool,
) -> Result<Vec<Log>, LabError> {
    let deadline = Instant::now() + Duration::from_secs(job.seconds.into()) + BOOT;
    let mut logs: Vec<Option<Log>> = vec![None; guests.len()];
    loop {
        LabError::if_stopped(stop)?;
        for (index, guest) in guests.iter_mut().enumerate() {
            if logs[index].is_some() || !guest.look() {
                continue;
            }
            let own = dir.join(format!("host{}", index + 1));
            let log = Log::parse(&fs::read_to_string(own.with_extension("log"))?);
            if let Some(status) = log.ended {
                return Err(LabError::Ended {
                    system: program.system,
                    host: index + 1,
                    status: ExitStatus::from_raw(status),
                    said: last_line(&own.join("daemon.log")),
                });
            }
            logs[index] = Some(log);
        }
        if logs.iter().all(Option::is_some) {
            return Ok(logs.into_iter().flatten().collect());
        }
        if Instant::now() > deadline {
            let late = logs.iter().position(Option::is_none).unwrap_or_default();
            return Err(LabError::Tool {
                program: format!("the guest of host {}", late + 1).into(),
                said: format!("still running; its console: {}", guests[late].last_words()),
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

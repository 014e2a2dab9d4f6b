//! One `parisync run` process on one host of a lab.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use parisync::config::Topology;

use super::control::Control;
use super::lab::{Host, Lab};
use super::{Context, Failure, Outcome};

/// The name of the network that every node belongs to.
pub(crate) const NETWORK: &str = "end-to-end";
/// The port of the time socket of every node.
pub(crate) const TIME_PORT: u16 = 4711;
/// The port of the DHT engine of every node.
pub(crate) const DHT_PORT: u16 = 4712;

/// How a node learns of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// From these time addresses and nowhere else.
    Static(Vec<SocketAddr>),
    /// By the DHT from these addresses; the first node of a network has none.
    Dht(Vec<SocketAddr>),
    /// By announcements on the local network.
    Lan,
}

/// How a node lies: its virtual clock, as it tells it to others, is off.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Lie {
    pub(crate) offset_us: i64,
    pub(crate) drift_ppm: f64,
}

/// What is asked of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) host: Host,
    pub(crate) discovery: Discovery,
    /// Its virtual oscillator: initial offset and frequency error.
    pub(crate) offset_us: i64,
    pub(crate) drift_ppm: f64,
    pub(crate) seed: u64,
    pub(crate) lie: Option<Lie>,
    /// Further sections of its configuration.
    pub(crate) sections: String,
    pub(crate) single_thread: bool,
    /// Packets go past the kernel's network stack.
    pub(crate) xdp: bool,
    /// It becomes nobody after set-up, by itself.
    pub(crate) becomes_nobody: bool,
    /// The link structure of its DHT, if not the default.
    pub(crate) topology: Option<Topology>,
    /// Run as nobody, without any capability, on the machine's own oscillator, and asked to
    /// discipline the system clock, which it then must not be able to do.
    pub(crate) unprivileged: bool,
}

impl Spec {
    /// An honest node with a bad clock of its own: within ±500 ms and ±50 ppm.
    pub(crate) fn new(host: &Host, number: usize, discovery: Discovery) -> Self {
        // Spread over the range, neighbours in number far apart.
        let spread = |step: usize| ((number * step + 3) % 11) as f64 / 5.0 - 1.0;
        Self {
            host: host.clone(),
            discovery,
            offset_us: (500_000.0 * spread(7)) as i64,
            drift_ppm: 50.0 * spread(4),
            seed: number as u64 + 1,
            lie: None,
            sections: String::new(),
            single_thread: false,
            xdp: false,
            becomes_nobody: false,
            topology: None,
            unprivileged: false,
        }
    }

    pub(crate) fn time_address(&self) -> SocketAddr {
        (self.host.address, TIME_PORT).into()
    }

    /// The configuration file, its state and its control socket in a directory of its own.
    pub(crate) fn toml(&self, directory: &Path) -> String {
        let (no_one, address) = (Vec::new(), self.host.address);
        let (peers, bootstrap) = match &self.discovery {
            Discovery::Static(peers) => (peers, &no_one),
            Discovery::Dht(bootstrap) => (&no_one, bootstrap),
            Discovery::Lan => (&no_one, &no_one),
        };
        let topology = self
            .topology
            .map(|name| format!("topology = {:?}\n", name.word()));
        let mut toml = topology.unwrap_or_default();
        if self.becomes_nobody {
            toml += "user = \"nobody\"\n";
        }
        toml += &format!(
            "network = {NETWORK:?}\n\
             listen = \"{time_address}\"\n\
             peers = {peers:?}\n\
             bootstrap = {bootstrap:?}\n\
             lan = {lan}\n\
             state_dir = {state:?}\n\
             control_socket = {control:?}\n\
             single_thread = {single_thread}\n\
             [dht]\n\
             enabled = {dht}\n\
             listen = \"{address}:{DHT_PORT}\"\n",
            time_address = self.time_address(),
            peers = text(peers),
            bootstrap = text(bootstrap),
            lan = self.discovery == Discovery::Lan,
            state = directory.join("state"),
            control = directory.join("control.sock"),
            single_thread = self.single_thread,
            dht = matches!(self.discovery, Discovery::Dht(_)),
        );
        if !self.unprivileged {
            toml += &format!(
                "[virtual]\noffset = \"{}us\"\ndrift_ppm = {:?}\nwander_ppb = 1.0\nseed = {}\n",
                self.offset_us, self.drift_ppm, self.seed
            );
        }
        if self.xdp {
            toml += "[transport]\npath = \"xdp\"\nxdp_interface = \"eth0\"\n";
        }
        if let Some(Lie {
            offset_us,
            drift_ppm,
        }) = self.lie
        {
            toml += &format!(
                "[testing]\nlie_offset = \"{offset_us}us\"\nlie_drift_ppm = {drift_ppm:?}\n"
            );
        }
        toml + &self.sections
    }
}

/// Addresses as strings, which show in TOML's notation.
fn text(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(SocketAddr::to_string).collect()
}

/// A running (or stopped) node. Killed when dropped.
pub(crate) struct Node {
    pub(crate) spec: Spec,
    directory: PathBuf,
    child: Option<Child>,
    control: Option<Control>,
}

impl Node {
    /// Writes the configuration and starts the process.
    pub(crate) fn start(lab: &Lab, spec: Spec) -> Outcome<Self> {
        let directory = lab.scratch().join(&spec.host.namespace);
        std::fs::create_dir_all(directory.join("state"))?;
        std::fs::write(directory.join("node.toml"), spec.toml(&directory))?;
        if spec.unprivileged {
            for path in [&directory, &directory.join("state")] {
                nix::unistd::chown(path, Some(NOBODY.into()), Some(NOBODY.into()))?;
            }
        }
        let mut node = Self {
            spec,
            directory,
            child: None,
            control: None,
        };
        node.restart()?;
        Ok(node)
    }

    /// Starts the process again, with what it kept on disk.
    pub(crate) fn restart(&mut self) -> Outcome {
        self.kill()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.spec.host.namespace]);
        let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_parisync"));
        if self.spec.unprivileged {
            binary = self.public_copy(&binary)?;
            command.args([
                "setpriv",
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ]);
            command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
            command.arg("--no-new-privs");
        }
        let discipline = if self.spec.unprivileged {
            "system"
        } else {
            "virtual"
        };
        command
            .arg(binary)
            .args(["run", "--discipline", discipline, "-c"])
            .arg(self.directory.join("node.toml"))
            // Whatever happens to the test, the node ends by itself.
            .args(["--for", "120"])
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn().context("starting parisync")?);
        Ok(())
    }

    /// A copy of the binary where an unprivileged user can run it.
    fn public_copy(&self, binary: &Path) -> Outcome<PathBuf> {
        let copy = self.directory.join("parisync");
        if !copy.exists() {
            std::fs::copy(binary, &copy)?;
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(copy)
    }

    /// SIGKILL: no chance to say goodbye or to save anything.
    pub(crate) fn kill(&mut self) -> Outcome {
        self.control = None;
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM; the exit status if it stops in time.
    pub(crate) fn terminate(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let child = self
            .child
            .as_mut()
            .ok_or_else(|| Failure::new("the node is not running"))?;
        // `ip netns exec` and `setpriv` replace themselves: the child is parisync itself.
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait()? {
                (self.child, self.control) = (None, None);
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(format!(
                    "still running {limit:?} after SIGTERM"
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks over the control socket, on a connection that is kept for the next question.
    pub(crate) fn ask<T>(&mut self, question: impl Fn(&mut Control) -> Outcome<T>) -> Outcome<T> {
        if let Some(control) = &mut self.control
            && let Ok(answer) = question(control)
        {
            return Ok(answer);
        }
        // None yet, or of a process that has gone, or closed for its long silence: a new one.
        let control = Control::connect(&self.directory.join("control.sock"))?;
        question(self.control.insert(control))
    }

    /// Fails with its last words if the process was started and is gone without having been told.
    pub(crate) fn still_runs(&mut self) -> Outcome {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        let Some(status) = child.try_wait()? else {
            return Ok(());
        };
        let log = self.log()?;
        let last = log.lines().rev().take(8).collect::<Vec<_>>();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let name = &self.spec.host.namespace;
        Err(Failure::new(format!(
            "{name} ended by itself with {status}:\n{}",
            last.join("\n")
        )))
    }

    /// The process, for its figures under /proc.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A file that the node keeps in its state directory.
    pub(crate) fn state_files(&self) -> Outcome<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.directory.join("state"))?;
        Ok(entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.log_path())?).into_owned())
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            super::say(&format!("could not end a node: {error:?}"));
        }
    }
}

/// The user that owns nothing.
const NOBODY: u32 = 65534;

#[test]
fn every_configuration_is_one_that_the_daemon_reads() {
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    let host = Host::at(address);
    let known = vec![(address, TIME_PORT).into()];
    let plain = |discovery| Spec::new(&host, 2, discovery);
    let specs = [
        plain(Discovery::Lan),
        plain(Discovery::Dht(known.clone())),
        Spec {
            topology: Some(Topology::Chord),
            ..plain(Discovery::Dht(known.clone()))
        },
        Spec {
            single_thread: true,
            ..plain(Discovery::Static(known.clone()))
        },
        Spec {
            xdp: true,
            ..plain(Discovery::Static(known.clone()))
        },
        Spec {
            unprivileged: true,
            ..plain(Discovery::Static(Vec::new()))
        },
        Spec {
            lie: Some(Lie {
                offset_us: -10_000,
                drift_ppm: 200.0,
            }),
            ..plain(Discovery::Static(known))
        },
    ];
    for spec in specs {
        let toml = spec.toml(Path::new("/tmp/e2e"));
        let read = parisync::config::Config::parse(&toml, Path::new("node.toml"));
        let config = read.unwrap_or_else(|error| panic!("{error}\n{toml}"));
        assert_eq!(
            (config.listen, config.network.as_str()),
            (spec.time_address(), NETWORK)
        );
    }
}

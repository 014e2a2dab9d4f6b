//! The laboratory of real packets: daemons in namespaces of one host, clock control off.
//!
//! All of them read one and the same clock, so the truth is known: no host is off. What a daemon says
//! it is off is the error of its stamps, paths and filters. Nothing is steered: every daemon runs as
//! another user without capabilities, besides being told to leave the clock alone.

mod voice;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::daemons::{Host, Installed, System, Task};
use super::lab::{Job, Lab, LabError, Observed, cost};
use super::links::Links;
use super::measure::Offsets;
use super::process::Process;
use super::sandbox::{Sandbox, SandboxError};
use crate::netns::{Namespace, NetnsError};
use crate::scratch::Scratch;
use voice::Voice;

/// Time between two readings of what the daemons say.
const INTERVAL: Duration = Duration::from_secs(1);

/// Namespaces can be made here.
#[derive(Debug)]
pub struct Netns {
    sandbox: Sandbox,
}

/// Why there are no namespaces.
#[derive(Debug, thiserror::Error)]
pub enum NetnsLabError {
    /// The kernel gives none.
    #[error("the lab `netns` cannot be built: {0}")]
    Namespace(#[from] NetnsError),
    /// Privileges cannot be taken away.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// One host of a run.
struct Site {
    namespace: Namespace,
    interface: String,
    process: Process,
    voice: Voice,
}

impl Netns {
    /// Sees whether namespaces can be made, and daemons run without privilege.
    ///
    /// # Errors
    /// One of the two is impossible.
    pub fn new() -> Result<Self, NetnsLabError> {
        Namespace::new()?;
        Ok(Self {
            sandbox: Sandbox::new()?,
        })
    }

    /// Makes the namespaces of all hosts, each plugged into one bridge.
    fn wire(&self, addresses: &[Ipv4Addr]) -> Result<(Namespace, Vec<Namespace>), NetnsError> {
        let switch = Namespace::new()?;
        switch.ip("link add dev bridge type bridge")?;
        switch.ip("link set dev bridge up")?;
        let mut hosts = Vec::with_capacity(addresses.len());
        for (index, address) in addresses.iter().enumerate() {
            let host = Namespace::new()?;
            let name = interface(index);
            // A port of a bridge needs no address; one that nobody asks for does no harm.
            let port = Ipv4Addr::new(10, 78, 255, address.octets()[3]);
            host.join(&switch, &name, [IpAddr::V4(*address), port.into()], 16)?;
            switch.ip(&format!("link set dev {name} master bridge"))?;
            host.ip(&format!("route add 224.0.0.0/4 dev {name}"))?;
            // Daemons without privilege use the ports of NTP and PTP.
            host.inside(|| fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"))?
                .map_err(NetnsError::Refused)?;
            hosts.push(host);
        }
        Ok((switch, hosts))
    }

    /// Starts the daemon of one host.
    fn start(
        &self,
        namespace: Namespace,
        program: &Installed,
        host: &Host<'_>,
    ) -> Result<Site, LabError> {
        self.sandbox.make_dir(host.dir)?;
        let launch = program.system.launch(host);
        fs::write(&launch.file, &launch.text)?;
        let mut command = self.sandbox.here(&program.program);
        command.current_dir(host.dir).args(&launch.arguments);
        let log = host.dir.with_extension("log");
        // This thread stays in the last one: what it started would end with a thread of its own.
        namespace.enter().map_err(LabError::wiring)?;
        let process = Process::start(command, &log)?;
        Ok(Site {
            namespace,
            interface: host.interface.to_owned(),
            process,
            voice: Voice::new(program, host, &log),
        })
    }
}

/// The interface of host `index`; its end at the switch is called the same.
fn interface(index: usize) -> String {
    format!("host{}", index + 1)
}

impl Lab for Netns {
    fn compares(&self, _links: &Links) -> String {
        // The links are those of this host, whatever was asked for.
        "links of this host; no clock is steered.\n\
         What counts as error is how far off each daemon says its clock is, where none is:\n\
         PariSync's virtual clock, chronyd's `System time`, each `master offset` of ptp4l"
            .to_owned()
    }

    fn admits(&self, program: &Installed) -> Result<(), String> {
        match program.system {
            System::NtpdRs => Err("it cannot be told to leave the clock alone".to_owned()),
            System::Chrony => voice::chronyc(program).map(drop),
            System::Ntpsec => Err("its ntpd insists on running as root".to_owned()),
            System::Parisync | System::Ptp4l => Ok(()),
        }
    }

    fn at_once(&self) -> usize {
        // They would disturb each other.
        1
    }

    fn in_real_time(&self) -> bool {
        true
    }

    fn run(&self, program: &Installed, job: &Job, stop: &AtomicBool) -> Result<Observed, LabError> {
        let scratch = Scratch::new("netns")?;
        let addresses: Vec<Ipv4Addr> = (1..=job.hosts as u8)
            .map(|host| Ipv4Addr::new(10, 78, 0, host))
            .collect();
        let (_switch, namespaces) = self.wire(&addresses).map_err(LabError::wiring)?;
        let mut sites = Vec::with_capacity(job.hosts);
        for (index, namespace) in namespaces.into_iter().enumerate() {
            let interface = interface(index);
            let host = Host {
                index,
                addresses: &addresses,
                interface: &interface,
                dir: &scratch.path().join(&interface),
                pace: job.pace,
                task: Task::Observe,
            };
            sites.push(self.start(namespace, program, &host)?);
        }
        let rows = (f64::from(job.seconds) / INTERVAL.as_secs_f64()).round() as usize;
        listen(&mut sites, rows, program.system, stop)
    }
}

/// Asks all daemons once a second what they say.
fn listen(
    sites: &mut [Site],
    rows: usize,
    system: System,
    stop: &AtomicBool,
) -> Result<Observed, LabError> {
    let started = Instant::now();
    let mut offsets = Offsets {
        interval_s: INTERVAL.as_secs_f64(),
        rows: Vec::with_capacity(rows),
    };
    let judged_from = rows / 3;
    let (mut packets, mut cpu) = (0, Duration::ZERO);
    for row in 0..rows {
        let due = started + INTERVAL * (row as u32 + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        LabError::if_stopped(stop)?;
        for (index, site) in sites.iter_mut().enumerate() {
            if site.process.look() {
                return Err(LabError::ended(system, index, &mut site.process)?);
            }
        }
        if row == judged_from {
            packets = sent(sites)?;
            cpu = sites.iter().map(|site| site.process.cpu()).sum();
        }
        let first = sites[0].voice.reading();
        let said = sites
            .iter_mut()
            .map(|site| site.voice.offset(first.as_ref()));
        offsets
            .rows
            .push(said.map(|said| said.unwrap_or(f64::INFINITY)).collect());
    }
    if let Some(silent) = offsets.silent() {
        return Err(LabError::Silent {
            system,
            host: silent + 1,
            said: sites[silent].process.last_words(),
        });
    }
    let seconds = (rows - judged_from) as f64 * INTERVAL.as_secs_f64();
    Ok(Observed {
        packets: Some(sent(sites)? - packets),
        cost: cost(sites.iter().map(|site| &site.process), cpu, seconds),
        offsets,
    })
}

/// Packets that all hosts have sent so far.
fn sent(sites: &[Site]) -> Result<u64, LabError> {
    let mut all = 0;
    for site in sites {
        // Of the calling thread's namespace, not of the process'.
        let read = || fs::read_to_string("/proc/thread-self/net/dev");
        let text = site.namespace.inside(read).map_err(LabError::wiring)??;
        all += sent_by(&text, &site.interface).ok_or_else(|| LabError::Tool {
            program: "/proc/net/dev".into(),
            said: text,
        })?;
    }
    Ok(all)
}

/// Packets sent by an interface, out of `/proc/net/dev`: after its name eight columns of what was
/// received, then bytes and packets sent.
fn sent_by(text: &str, interface: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| {
        let (name, counters) = line.split_once(':')?;
        (name.trim() == interface).then_some(counters)
    });
    line?.split_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_from_the_interface_of_that_name() {
        let text = "Inter-|   Receive                |  Transmit\n\
             face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs\n\
             \x20   lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n\
             host11: 5 6 0 0 0 0 0 0 7 88 0 0 0 0 0 0\n\
             \x20host1: 5 6 0 0 0 0 0 0 7 8 0 0 0 0 0 0\n";
        assert_eq!(sent_by(text, "host1"), Some(8));
        assert_eq!(sent_by(text, "host11"), Some(88));
        assert_eq!(sent_by(text, "host2"), None);
    }
}

//! Hosts: network namespaces of this test's own, joined by veth pairs and bridges.
//!
//! One more namespace holds the switch: two bridges, joined by a trunk that a scenario can cut.
//! Nothing appears in the machine's own namespace, and no address of it is used.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::command::{ip, run};
use super::{Context, Failure, Outcome, say};

/// Which bridge a host is plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    const fn bridge(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// One host of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Its network namespace.
    pub(crate) namespace: String,
    /// Its address. Each host has a /24 of its own within the lab's /16, as hosts of different
    /// sites would: neighbour choice caps the peers of one subnet.
    pub(crate) address: IpAddr,
    port: String,
}

impl Host {
    /// A host that is in no lab, to try what needs only an address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self {
            namespace: "nowhere".to_owned(),
            address,
            port: "none".to_owned(),
        }
    }
}

/// Runs a scenario in a lab of its own, or nothing (and a line that says why) where none can be
/// built. What the nodes logged is kept if it fails.
pub(crate) fn scenario(name: &str, body: impl FnOnce(&mut Lab) -> Outcome) -> Outcome {
    let Some(mut lab) = Lab::new(name)? else {
        return Ok(());
    };
    let outcome = body(&mut lab);
    lab.keep |= outcome.is_err();
    outcome
}

/// Namespaces and a scratch directory, gone when this is dropped.
pub(crate) struct Lab {
    name: String,
    /// Keep the scratch directory.
    keep: bool,
    scratch: PathBuf,
    hosts: Vec<Host>,
    // Held while the lab lives: scenarios measure time on few cores, so they run one at a time.
    _turn: File,
}

const PREFIX: &str = "psy";
static LABS: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// A lab without hosts, or nothing (and a line that says why) where it cannot be built.
    pub(crate) fn new(scenario: &str) -> Outcome<Option<Self>> {
        if let Err(reason) = possible() {
            if std::env::var("PARISYNC_E2E").is_ok_and(|value| value == "required") {
                return Err(Failure::new(format!(
                    "{scenario} is required but impossible: {reason:?}"
                )));
            }
            say(&format!("{scenario}: SKIPPED: {reason:?}"));
            return Ok(None);
        }
        let turn = File::create(std::env::temp_dir().join("parisync-e2e.lock"))?;
        turn.lock()?;
        sweep()?;
        let sequence = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}n{sequence}", std::process::id());
        let scratch = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&scratch).context(scratch.display())?;
        let keep = std::env::var_os("PARISYNC_E2E_KEEP").is_some();
        let lab = Self {
            name,
            keep,
            scratch,
            hosts: Vec::new(),
            _turn: turn,
        };
        lab.build_switch()?;
        Ok(Some(lab))
    }

    fn build_switch(&self) -> Outcome {
        let switch = self.switch();
        ip(&format!("netns add {switch}"))?;
        for side in [Side::Left, Side::Right] {
            ip(&format!(
                "-n {switch} link add dev {} type bridge",
                side.bridge()
            ))?;
            ip(&format!("-n {switch} link set dev {} up", side.bridge()))?;
        }
        ip(&format!(
            "-n {switch} link add dev trunk0 type veth peer name trunk1"
        ))?;
        for (port, side) in [("trunk0", Side::Left), ("trunk1", Side::Right)] {
            ip(&format!(
                "-n {switch} link set dev {port} master {} up",
                side.bridge()
            ))?;
        }
        Ok(())
    }

    /// Adds a host, plugged into one bridge.
    pub(crate) fn host(&mut self, side: Side) -> Outcome<Host> {
        let number = u8::try_from(self.hosts.len() + 1)?;
        let namespace = format!("{}h{number}", self.name);
        let (port, address) = (format!("port{number}"), Ipv4Addr::new(10, 77, number, 1));
        ip(&format!("netns add {namespace}"))?;
        // Recorded before it is wired, so that it is removed even if wiring fails.
        let host = Host {
            namespace: namespace.clone(),
            address: address.into(),
            port,
        };
        self.hosts.push(host.clone());
        ip(&format!("-n {namespace} link set dev lo up"))?;
        self.wire(&host, side)?;
        Ok(host)
    }

    /// Gives a host an interface, plugged into one bridge.
    pub(crate) fn wire(&self, host: &Host, side: Side) -> Outcome {
        let (switch, namespace, port) = (self.switch(), &host.namespace, &host.port);
        ip(&format!(
            "link add {port} netns {switch} type veth peer name eth0 netns {namespace}"
        ))?;
        ip(&format!(
            "-n {switch} link set dev {port} master {} up",
            side.bridge()
        ))?;
        let address = host.address;
        ip(&format!("-n {namespace} address add {address}/16 dev eth0"))?;
        ip(&format!("-n {namespace} link set dev eth0 up"))?;
        ip(&format!("-n {namespace} route add 224.0.0.0/4 dev eth0")).map(drop)
    }

    /// Takes the interface of a host away, with all that is attached to it.
    pub(crate) fn unwire(host: &Host) -> Outcome {
        ip(&format!("-n {} link delete dev eth0", host.namespace)).map(drop)
    }

    /// Gives a host more addresses, of as many other subnets.
    pub(crate) fn aliases(&self, host: &Host, count: u8) -> Outcome<Vec<IpAddr>> {
        let addresses = (0..count).map(|number| Ipv4Addr::new(10, 77, 200, number + 1));
        let addresses = addresses.map(|address| {
            ip(&format!(
                "-n {} address add {address}/16 dev eth0",
                host.namespace
            ))?;
            Ok(address.into())
        });
        addresses.collect()
    }

    /// Lets a host send with the addresses of other hosts as its source, which still get what is
    /// sent to them.
    pub(crate) fn impersonate(&self, host: &Host, victims: &[Host]) -> Outcome<Vec<IpAddr>> {
        // Neither to answer nor to ask in their name keeps their neighbours' ARP tables right.
        let quiet =
            "cd /proc/sys/net/ipv4/conf/all && echo 1 > arp_ignore && echo 2 > arp_announce";
        run("ip", &["netns", "exec", &host.namespace, "sh", "-c", quiet])?;
        let addresses = victims.iter().map(|victim| {
            ip(&format!(
                "-n {} address add {}/32 dev lo",
                host.namespace, victim.address
            ))?;
            Ok(victim.address)
        });
        addresses.collect()
    }

    /// Unplugs a host from its bridge, or plugs it in again.
    pub(crate) fn plug(&self, host: &Host, plugged: bool) -> Outcome {
        let state = if plugged { "up" } else { "down" };
        ip(&format!(
            "-n {} link set dev {} {state}",
            self.switch(),
            host.port
        ))
        .map(drop)
    }

    /// Cuts the two bridges apart, or joins them again.
    pub(crate) fn join(&self, joined: bool) -> Outcome {
        let state = if joined { "up" } else { "down" };
        ip(&format!("-n {} link set dev trunk0 {state}", self.switch())).map(drop)
    }

    /// A directory of this lab's own.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn switch(&self) -> String {
        format!("{}sw", self.name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self
            .hosts
            .iter()
            .map(|host| host.namespace.clone())
            .chain([self.switch()])
        {
            if let Err(error) = remove(&namespace) {
                say(&format!(
                    "could not remove network namespace {namespace}: {error:?}"
                ));
            }
        }
        if self.keep || std::thread::panicking() {
            say(&format!(
                "logs and configurations are in {}",
                self.scratch.display()
            ));
        } else if let Err(error) = std::fs::remove_dir_all(&self.scratch) {
            say(&format!(
                "could not remove {}: {error}",
                self.scratch.display()
            ));
        }
    }
}

fn possible() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new("network namespaces need root"));
    }
    run("ip", &["-V"]).context("needs iproute2").map(drop)
}

/// Ends what still runs in a namespace of ours, then removes it.
fn remove(namespace: &str) -> Outcome {
    for pid in ip(&format!("netns pids {namespace}"))?.split_whitespace() {
        let pid = nix::unistd::Pid::from_raw(pid.parse()?);
        // It may have ended by itself since it was listed.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    ip(&format!("netns delete {namespace}")).map(drop)
}

/// Removes what an earlier run left behind that was itself killed.
fn sweep() -> Outcome {
    for line in ip("netns list")?.lines() {
        let Some(name) = line.split_whitespace().next() else {
            continue;
        };
        if owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(name)?;
        }
    }
    Ok(())
}

/// The process that made a namespace of this form.
fn owner(namespace: &str) -> Option<u32> {
    let (pid, _) = namespace.strip_prefix(PREFIX)?.split_once('n')?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(from: &Host, to: &Host) -> bool {
        // A datagram either arrives or does not: no ping program needed.
        let to_socket = super::super::traffic::bind(&to.namespace, (to.address, 9).into()).unwrap();
        let from_socket =
            super::super::traffic::bind(&from.namespace, (from.address, 0).into()).unwrap();
        to_socket
            .set_read_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        // Sending to a host that is gone may itself fail: that too is "not reached".
        let _ = from_socket.send_to(b"hello", (to.address, 9));
        to_socket.recv_from(&mut [0; 16]).is_ok()
    }

    #[test]
    fn hosts_reach_each_other_unless_cut_and_are_gone_afterwards() -> Outcome {
        let Some(mut lab) = Lab::new("lab")? else {
            return Ok(());
        };
        let (a, b) = (lab.host(Side::Left)?, lab.host(Side::Right)?);
        assert!(reaches(&a, &b) && reaches(&b, &a));
        lab.join(false)?;
        assert!(!reaches(&a, &b));
        lab.join(true)?;
        assert!(reaches(&a, &b));
        lab.plug(&b, false)?;
        assert!(!reaches(&a, &b));
        lab.plug(&b, true)?;
        assert!(reaches(&a, &b));

        let c = lab.host(Side::Left)?;
        let claimed = lab.impersonate(&c, std::slice::from_ref(&a))?;
        let impostor = super::super::traffic::bind(&c.namespace, (claimed[0], 5).into())?;
        let victim = super::super::traffic::bind(&b.namespace, (b.address, 5).into())?;
        victim.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
        impostor.send_to(b"it is me", (b.address, 5))?;
        assert_eq!(victim.recv_from(&mut [0; 16])?.1, (a.address, 5).into());
        assert!(
            reaches(&b, &a),
            "what is sent to the real one reaches the real one"
        );

        let mut leftover = std::process::Command::new("ip")
            .args(["netns", "exec", &a.namespace, "sleep", "60"])
            .spawn()?;
        super::super::within(std::time::Duration::from_secs(2), || {
            let pids = ip(&format!("netns pids {}", a.namespace))?;
            super::super::ensure!(!pids.is_empty(), "sleep has not entered the namespace");
            Ok(())
        })?;
        let (scratch, switch) = (lab.scratch().to_owned(), lab.switch());
        drop(lab);
        let left = ip("netns list")?;
        assert!(
            [&a.namespace, &b.namespace, &switch]
                .iter()
                .all(|name| !left.contains(*name))
        );
        assert_eq!(
            scratch.exists(),
            std::env::var_os("PARISYNC_E2E_KEEP").is_some()
        );
        assert!(!leftover.wait()?.success(), "killed, not finished");
        Ok(())
    }

    #[test]
    fn only_namespaces_of_this_form_have_an_owner() {
        assert_eq!(owner("psy123n4h5"), Some(123));
        assert_eq!(owner("psy123"), None);
        assert_eq!(owner("psyche"), None);
        assert_eq!(owner("other123n4"), None);
    }
}

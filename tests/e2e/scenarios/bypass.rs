//! Packets past the kernel's network stack.

use std::time::Duration;

use super::{NEAR_NS, SETTLES, full_mesh, hosts};
use crate::support::command::ip;
use crate::support::lab::{Host, Lab, Side, scenario};
use crate::support::node::Node;
use crate::support::swarm::{Swarm, judge};
use crate::support::{Outcome, ensure, say, within};

use parisync::wire::ClockState;

/// Whether an XDP program is attached on a host.
fn is_attached(host: &Host) -> Outcome<bool> {
    let shown = ip(&format!("-n {} link show dev eth0", host.namespace))?;
    Ok(shown.contains("prog/xdp"))
}

/// Whether the first node goes by AF_XDP; if not, says why.
fn is_possible(name: &str, swarm: &Swarm) -> Outcome<bool> {
    let opened = within(Duration::from_secs(5), || {
        let log = swarm.nodes[0].log()?;
        let known = log.contains("AF_XDP");
        ensure!(known, "neither opened nor refused: {log}");
        Ok(log)
    })?;
    let refused = opened.lines().find(|line| line.contains("no AF_XDP"));
    if let Some(refused) = refused {
        say(&format!("{name}: SKIPPED: {refused}"));
    }
    Ok(refused.is_none())
}

/// Waits until a node is synchronized with so many neighbours whose packets are stamped there.
fn stamped(node: &mut Node, wanted: &str, count: usize, limit: Duration) -> Outcome {
    within(limit, || {
        let tracking = node.ask(|control| control.tracking())?;
        let peers = node.ask(|control| control.peers())?;
        let told = |stamps| format!("{stamps:?}") == wanted;
        let stamped = peers.iter().filter(|peer| peer.stamps.is_some_and(told));
        ensure!(
            tracking.state == ClockState::Synchronized && stamped.count() == count,
            "not {count} by {wanted}: {tracking:?} {peers:?}"
        );
        Ok(())
    })
}

#[test]
fn nodes_by_af_xdp_agree_with_others_and_leave_nothing_behind() -> Outcome {
    let name = "AF_XDP";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 4)?;
        let mut specs = full_mesh(&hosts);
        for spec in &mut specs[..2] {
            spec.xdp = true;
        }
        let mut swarm = Swarm::start(lab, specs)?;
        if !is_possible(name, &swarm)? {
            return Ok(());
        }
        swarm.watch(SETTLES)?;
        let settled = swarm.watch(Duration::from_secs(8))?;
        judge(name, &settled, 4, NEAR_NS)?;
        for (at, host) in hosts.iter().enumerate() {
            let by_xdp = at < 2;
            ensure!(
                is_attached(host)? == by_xdp,
                "host {at}: a program where none belongs, or none where one does"
            );
            let wanted = if by_xdp { "Xdp" } else { "Kernel" };
            // Now and then a packet goes by the kernel, which makes sure of a neighbour by it.
            stamped(&mut swarm.nodes[at], wanted, 3, Duration::from_secs(3))?;
        }
        let status = swarm.nodes[0].terminate(Duration::from_secs(5))?;
        ensure!(status.success(), "stopped with {status}");
        swarm.nodes[1].kill()?;
        within(Duration::from_secs(2), || {
            for host in &hosts[..2] {
                ensure!(!is_attached(host)?, "a program is left behind");
            }
            Ok(())
        })
    })
}

/// One node keeps its privileges, the other gives up what it can.
#[test]
fn an_interface_that_goes_and_comes_back_is_used_again() -> Outcome {
    let name = "AF_XDP, interface gone";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 3)?;
        let mut specs = full_mesh(&hosts);
        for spec in &mut specs[..2] {
            spec.xdp = true;
        }
        specs[1].becomes_nobody = true;
        let mut swarm = Swarm::start(lab, specs)?;
        if !is_possible(name, &swarm)? {
            return Ok(());
        }
        swarm.watch(SETTLES)?;
        for (node, host) in swarm.nodes[..2].iter_mut().zip(&hosts) {
            stamped(node, "Xdp", 2, Duration::from_secs(3))?;
            let namespace = &host.namespace;
            // Down and up: the program stays, and packets go through it again.
            ip(&format!("-n {namespace} link set dev eth0 down"))?;
            std::thread::sleep(Duration::from_secs(1));
            ip(&format!("-n {namespace} link set dev eth0 up"))?;
            let exchanges = |node: &mut Node| -> Outcome<u64> {
                Ok(node.ask(|control| control.tracking())?.counters.exchanges)
            };
            let before = exchanges(node)?;
            within(Duration::from_secs(10), || {
                let after = exchanges(node)?;
                ensure!(after > before + 8, "silent after {before}: {after}");
                Ok(())
            })?;
            stamped(node, "Xdp", 2, Duration::from_secs(3))?;
            let log = node.log()?;
            ensure!(!log.contains("is gone"), "nothing was gone: {log}");
        }
        for (at, host) in hosts[..2].iter().enumerate() {
            Lab::unwire(host)?;
            let node = &mut swarm.nodes[at];
            within(Duration::from_secs(5), || {
                let log = node.log()?;
                ensure!(
                    log.contains("eth0 is gone: UDP instead"),
                    "unnoticed: {log}"
                );
                Ok(())
            })?;
            // Longer than one round of packets.
            std::thread::sleep(Duration::from_secs(2));
            lab.wire(host, Side::Left)?;
            stamped(node, "Xdp", 2, Duration::from_secs(20))?;
            ensure!(is_attached(host)?, "no program");
            let log = node.log()?;
            for said in ["eth0 is gone", "eth0 is back: AF_XDP again"] {
                let times = log.matches(said).count();
                ensure!(times == 1, "{said}: said {times} times: {log}");
            }
        }
        let settled = swarm.watch(Duration::from_secs(5))?;
        judge(name, &settled, 3, NEAR_NS)?;
        for node in &mut swarm.nodes[..2] {
            let status = node.terminate(Duration::from_secs(5))?;
            ensure!(status.success(), "stopped with {status}");
        }
        within(Duration::from_secs(2), || {
            for host in &hosts {
                ensure!(!is_attached(host)?, "a program is left behind");
            }
            Ok(())
        })
    })
}

//! Packets past the kernel's network stack.

use std::time::Duration;

use super::{NEAR_NS, SETTLES, full_mesh, hosts};
use crate::support::command::ip;
use crate::support::lab::{Host, Side, scenario};
use crate::support::swarm::{Swarm, judge};
use crate::support::{Outcome, ensure, say, within};

/// Whether an XDP program is attached on a host.
fn is_attached(host: &Host) -> Outcome<bool> {
    let shown = ip(&format!("-n {} link show dev eth0", host.namespace))?;
    Ok(shown.contains("prog/xdp"))
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
        let opened = within(Duration::from_secs(5), || {
            let log = swarm.nodes[0].log()?;
            let known = log.contains("AF_XDP");
            ensure!(known, "neither opened nor refused: {log}");
            Ok(log)
        })?;
        if let Some(refused) = opened.lines().find(|line| line.contains("no AF_XDP")) {
            say(&format!("{name}: SKIPPED: {refused}"));
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
            within(Duration::from_secs(3), || {
                let peers = swarm.nodes[at].ask(|control| control.peers())?;
                let told = |stamps| format!("{stamps:?}") == wanted;
                let stamped = peers.iter().filter(|peer| peer.stamps.is_some_and(told));
                ensure!(
                    stamped.count() == 3,
                    "host {at}: stamps elsewhere: {peers:?}"
                );
                Ok(())
            })?;
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

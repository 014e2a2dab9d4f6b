//! One file for each thing that happens to networks.

mod attack;
mod bypass;
mod churn;
mod discovery;
mod partition;
mod process;
mod reference;

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::Outcome;
use crate::support::lab::{Host, Lab, Side};
use crate::support::node::{Discovery, Spec, TIME_PORT};

/// By when a new swarm, or a healed one, must have settled.
const SETTLES: Duration = Duration::from_secs(10);
/// How near all clocks of a settled swarm must be, for good: worst pair.
///
/// The nodes are debug builds that share few cores with each other and with this test; release
/// builds are measured by `parisync demo`.
const NEAR_NS: i64 = 10_000;

/// So many hosts on one side of the switch.
fn hosts(lab: &mut Lab, side: Side, count: usize) -> Outcome<Vec<Host>> {
    (0..count).map(|_| lab.host(side)).collect()
}

/// Nodes that all know each other from the start.
fn full_mesh(hosts: &[Host]) -> Vec<Spec> {
    let address = |host: &Host| SocketAddr::from((host.address, TIME_PORT));
    let others = |me: &Host| {
        hosts
            .iter()
            .filter(|host| *host != me)
            .map(address)
            .collect()
    };
    let spec = |(number, host)| Spec::new(host, number, Discovery::Static(others(host)));
    hosts.iter().enumerate().map(spec).collect()
}

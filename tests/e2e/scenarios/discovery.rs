//! Nodes that know little find each other.

use std::time::Duration;

use parisync::config::Topology;
use parisync::topology::FoundBy;

use super::{NEAR_NS, SETTLES, hosts};
use crate::support::lab::{Side, scenario};
use crate::support::node::{DHT_PORT, Discovery, Spec};
use crate::support::swarm::{Swarm, judge};
use crate::support::{Outcome, ensure};

/// Watches a new swarm settle and stay settled, then asks each node how it found the others.
fn settles(name: &str, mut swarm: Swarm, limit: Duration, found_by: FoundBy) -> Outcome {
    let count = swarm.nodes.len();
    swarm.watch(limit)?;
    let settled = swarm.watch(Duration::from_secs(10))?;
    judge(name, &settled, count, NEAR_NS)?;
    judge(
        &format!("{name}, from its start"),
        swarm.seen(),
        0,
        i64::MAX,
    )?;
    for (index, node) in swarm.nodes.iter_mut().enumerate() {
        let peers = node.ask(|control| control.peers())?;
        let found = peers
            .iter()
            .filter(|peer| peer.found_by == found_by)
            .count();
        // Those that spoke to us first count as inbound until we find them ourselves.
        ensure!(
            found >= count / 2,
            "{name}: node {index} found {found} of {count}: {peers:?}"
        );
    }
    Ok(())
}

/// Eight nodes that know one address of a structure and nothing else.
fn eight_nodes(name: &str, topology: Option<Topology>) -> Outcome {
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 8)?;
        let bootstrap = (hosts[0].address, DHT_PORT).into();
        let specs = hosts.iter().enumerate().map(|(number, host)| {
            let known = if number == 0 {
                Vec::new()
            } else {
                vec![bootstrap]
            };
            Spec {
                topology,
                ..Spec::new(host, number, Discovery::Dht(known))
            }
        });
        let swarm = Swarm::start(lab, specs)?;
        settles(name, swarm, Duration::from_secs(20), FoundBy::Dht)
    })
}

#[cfg(feature = "dht")]
#[test]
fn eight_nodes_find_each_other_through_the_dht_from_one_bootstrap_address() -> Outcome {
    eight_nodes("dht discovery", None)
}

#[test]
fn eight_nodes_find_each_other_through_kademlia_from_one_bootstrap_address() -> Outcome {
    eight_nodes("kademlia discovery", Some(Topology::Kademlia))
}

#[test]
fn eight_nodes_find_each_other_through_chord_from_one_bootstrap_address() -> Outcome {
    eight_nodes("chord discovery", Some(Topology::Chord))
}

#[test]
fn eight_nodes_find_each_other_through_pastry_from_one_bootstrap_address() -> Outcome {
    eight_nodes("pastry discovery", Some(Topology::Pastry))
}

#[test]
fn eight_nodes_find_each_other_through_can_from_one_bootstrap_address() -> Outcome {
    eight_nodes("can discovery", Some(Topology::Can))
}

#[test]
fn four_nodes_find_each_other_on_a_lan_without_any_address() -> Outcome {
    let name = "lan discovery";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 4)?;
        let specs = hosts.iter().enumerate();
        let specs = specs.map(|(number, host)| Spec::new(host, number, Discovery::Lan));
        settles(name, Swarm::start(lab, specs)?, SETTLES, FoundBy::Lan)
    })
}

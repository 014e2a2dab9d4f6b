//! A network falls in two and is joined again.

use std::time::Duration;

use super::{NEAR_NS, SETTLES, full_mesh, hosts};
use crate::support::lab::{Side, scenario};
use crate::support::swarm::{Swarm, judge};
use crate::support::{Outcome, ensure};

#[test]
fn both_halves_of_a_cut_network_keep_time_and_meet_again() -> Outcome {
    let name = "partition";
    scenario(name, |lab| {
        let mut all = hosts(lab, Side::Left, 4)?;
        all.extend(hosts(lab, Side::Right, 4)?);
        let mut swarm = Swarm::start(lab, full_mesh(&all))?;
        swarm.watch(SETTLES)?;
        let steps = steps(&mut swarm)?;

        lab.join(false)?;
        let cut = swarm.watch(Duration::from_secs(8))?;
        judge("while cut", &cut, 8, 10 * NEAR_NS)?;
        for (half, nodes) in [("left half", [0, 1, 2, 3]), ("right half", [4, 5, 6, 7])] {
            let alone = swarm.watch_some(&nodes, Duration::from_secs(2))?;
            judge(half, &alone, 4, NEAR_NS)?;
        }
        for node in &mut swarm.nodes {
            let peers = node.ask(|control| control.peers())?;
            let heard = peers.iter().filter(|peer| peer.reach & 0b11 != 0).count();
            ensure!(
                heard == 3,
                "cut, and yet {heard} peers were heard of late: {peers:?}"
            );
        }

        lab.join(true)?;
        let healing = swarm.watch(SETTLES)?;
        judge("while healing", &healing, 8, 10 * NEAR_NS)?;
        let healed = swarm.watch(Duration::from_secs(5))?;
        judge("healed", &healed, 8, NEAR_NS)?;
        for node in &mut swarm.nodes {
            let peers = node.ask(|control| control.peers())?;
            let heard = peers.iter().filter(|peer| peer.reach & 0b11 != 0).count();
            ensure!(
                heard == 7,
                "healed, and yet only {heard} peers were heard: {peers:?}"
            );
        }
        ensure!(
            self::steps(&mut swarm)? == steps,
            "a clock jumped when halves met that agreed"
        );
        Ok(())
    })
}

/// How often each virtual clock has jumped.
fn steps(swarm: &mut Swarm) -> Outcome<Vec<u64>> {
    let tracking = swarm
        .nodes
        .iter_mut()
        .map(|node| node.ask(|control| control.tracking()));
    tracking
        .map(|tracking| Ok(tracking?.counters.steps))
        .collect()
}

//! Nodes die without a word and come back.

use std::time::{Duration, Instant};

use super::{NEAR_NS, SETTLES, hosts};
use crate::support::lab::{Side, scenario};
use crate::support::swarm::{Swarm, judge};
use crate::support::{Outcome, ensure, say, within};

#[test]
fn killed_nodes_are_missed_by_nobody_and_rejoin_as_themselves() -> Outcome {
    let name = "kill and restart";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 6)?;
        let mut swarm = Swarm::start(lab, super::full_mesh(&hosts))?;
        swarm.watch(SETTLES)?;
        let mut identities = Vec::new();
        for victim in [0, 3] {
            identities.push(swarm.nodes[victim].ask(|control| control.tracking())?.id);
            swarm.nodes[victim].kill()?;
        }
        let without = swarm.watch(Duration::from_secs(6))?;
        judge("while two of six are dead", &without, 4, NEAR_NS)?;

        for victim in [0, 3] {
            swarm.nodes[victim].restart()?;
        }
        // From its first word on, a restarted node must not claim more than it can keep.
        let rejoining = swarm.watch(SETTLES)?;
        judge("while two rejoin", &rejoining, 4, i64::MAX)?;
        // Mostly that was long enough; what it takes on a noisy machine is not what is asked here.
        swarm.synchronized(&[0, 1, 2, 3, 4, 5], SETTLES)?;
        swarm.watch(Duration::from_secs(1))?;
        let again = swarm.watch(Duration::from_secs(6))?;
        judge("when all six are back", &again, 6, NEAR_NS)?;

        for (victim, identity) in [0, 3].into_iter().zip(identities) {
            let now = swarm.nodes[victim].ask(|control| control.tracking())?;
            ensure!(
                now.id == identity,
                "node {victim} came back as somebody else"
            );
            ensure!(
                now.counters.exchanges > 0,
                "node {victim} exchanges nothing"
            );
            within(Duration::from_secs(2), || {
                let peers = swarm.nodes[1].ask(|control| control.peers())?;
                let known = peers
                    .iter()
                    .filter(|peer| peer.id == identity)
                    .collect::<Vec<_>>();
                let one_alive = matches!(known.as_slice(), [peer] if peer.reach & 1 == 1);
                ensure!(one_alive, "node 1 sees node {victim} as {known:?}");
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
fn a_node_that_restarts_soon_after_its_first_start_is_heard_again_by_all() -> Outcome {
    let name = "early restart";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 5)?;
        let mut swarm = Swarm::start(lab, super::full_mesh(&hosts))?;
        // Its neighbours' sessions with it are still young and taken for good.
        swarm.watch(Duration::from_secs(4))?;
        swarm.nodes[1].kill()?;
        swarm.nodes[1].restart()?;
        let restarted = Instant::now();
        within(Duration::from_secs(4), || {
            let peers = swarm.nodes[1].ask(|control| control.peers())?;
            let heard = peers.iter().filter(|peer| peer.reach != 0).count();
            ensure!(heard == 4, "of four neighbours it hears {heard}: {peers:?}");
            Ok(())
        })?;
        let took = restarted.elapsed();
        say(&format!("{name}: heard again by all after {took:.1?}"));
        swarm.watch(Duration::from_secs(4))?;
        let again = swarm.watch(Duration::from_secs(4))?;
        judge(name, &again, 5, NEAR_NS)
    })
}

#[cfg(feature = "dht")]
#[test]
fn a_node_finds_the_network_again_although_its_bootstrap_node_is_dead() -> Outcome {
    use crate::support::node::{DHT_PORT, Discovery, Spec};
    let name = "bootstrap node dead";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 5)?;
        let bootstrap = (hosts[0].address, DHT_PORT).into();
        let specs = hosts.iter().enumerate().map(|(number, host)| {
            let known = if number == 0 {
                Vec::new()
            } else {
                vec![bootstrap]
            };
            Spec::new(host, number, Discovery::Dht(known))
        });
        let mut swarm = Swarm::start(lab, specs)?;
        let everyone: Vec<usize> = (0..hosts.len()).collect();
        swarm.synchronized(&everyone, Duration::from_secs(20))?;
        swarm.nodes[0].kill()?;
        // A stop that lets it save the peers it knows.
        let status = swarm.nodes[1].terminate(Duration::from_secs(5))?;
        ensure!(status.success(), "node 1 stopped with {status}");
        swarm.nodes[1].restart()?;
        swarm.synchronized(&[1], Duration::from_secs(15))?;
        // Its clock has still to follow its virtual clock.
        swarm.watch(Duration::from_secs(3))?;
        let settled = swarm.watch(Duration::from_secs(5))?;
        judge(name, &settled, 4, NEAR_NS)
    })
}

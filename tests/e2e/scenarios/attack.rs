//! Members that lie and strangers that disturb.

use std::time::Duration;

use parisync::export::status::Use;

use super::{NEAR_NS, SETTLES, full_mesh, hosts};
use crate::support::lab::{Side, scenario};
use crate::support::node::{Discovery, Lie, TIME_PORT};
use crate::support::swarm::{Swarm, judge};
use crate::support::traffic::{Flood, babbler, flood};
use crate::support::{Outcome, ensure, say, within};

/// Seven honest nodes and one that lies.
fn with_a_liar(name: &str, lie: Lie, seen_as: &[Use]) -> Outcome {
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 8)?;
        let mut specs = full_mesh(&hosts);
        specs[2].lie = Some(lie);
        let mut swarm = Swarm::start(lab, specs)?;
        swarm.watch(SETTLES)?;
        let settled = swarm.watch(Duration::from_secs(12))?;
        judge(name, &settled, 7, NEAR_NS)?;
        judge(
            &format!("{name}, from its start"),
            swarm.seen(),
            0,
            i64::MAX,
        )?;
        let liar = swarm.nodes[2].ask(|control| control.tracking())?.id;
        for index in swarm.honest() {
            within(Duration::from_secs(3), || {
                let peers = swarm.nodes[index].ask(|control| control.peers())?;
                let liar = peers.iter().find(|peer| peer.id == liar);
                let caught = liar.is_some_and(|peer| seen_as.contains(&peer.used));
                ensure!(
                    caught,
                    "node {index} sees the liar as {liar:?}, not as {seen_as:?}"
                );
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
fn one_of_eight_that_lies_by_ten_milliseconds_moves_nobody() -> Outcome {
    let lie = Lie {
        offset_us: 10_000,
        drift_ppm: 0.0,
    };
    with_a_liar("liar by 10 ms", lie, &[Use::Falseticker])
}

#[test]
fn one_of_eight_that_drifts_by_two_hundred_ppm_moves_nobody() -> Outcome {
    let lie = Lie {
        offset_us: 0,
        drift_ppm: 200.0,
    };
    with_a_liar("liar by 200 ppm", lie, &[Use::Falseticker, Use::WrongRate])
}

#[test]
fn a_peer_that_answers_garbage_is_no_peer() -> Outcome {
    let name = "garbage";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 5)?;
        // All five are named as peers; the last is none.
        let mut specs = full_mesh(&hosts);
        specs.truncate(4);
        let babbler = babbler(&hosts[4], TIME_PORT)?;
        let mut swarm = Swarm::start(lab, specs)?;
        swarm.watch(SETTLES)?;
        let settled = swarm.watch(Duration::from_secs(8))?;
        judge(name, &settled, 4, NEAR_NS)?;
        judge(
            &format!("{name}, from its start"),
            swarm.seen(),
            0,
            i64::MAX,
        )?;
        say(&format!("{name}: {} garbage answers", babbler.sent()));
        ensure!(
            babbler.sent() >= 12,
            "only {} answers: nobody asked",
            babbler.sent()
        );
        for node in &mut swarm.nodes {
            let used = node.ask(|control| control.peers())?;
            let used = used
                .iter()
                .filter(|peer| peer.addr.ip() == hosts[4].address)
                .collect::<Vec<_>>();
            ensure!(
                used.iter()
                    .all(|peer| peer.used != Use::Used && peer.exchanges == 0),
                "garbage was believed: {used:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_flood_of_strangers_during_sync_delays_nobody() -> Outcome {
    let name = "flood";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 5)?;
        let members = &hosts[..4];
        let mut swarm = Swarm::start(lab, full_mesh(members))?;
        // From the first handshake on, so that members must get in through it.
        let flood = flood(
            &hosts[4],
            Flood {
                targets: members
                    .iter()
                    .map(|host| (host.address, TIME_PORT).into())
                    .collect(),
                prefixes: plausible_headers(),
                rate: 8_000,
                lasts: Duration::from_secs(18),
            },
        )?;
        swarm.watch(SETTLES)?;
        let before = exchanges(&mut swarm)?;
        let under_flood = swarm.watch(Duration::from_secs(6))?;
        let after = exchanges(&mut swarm)?;
        judge(name, &under_flood, 4, 2 * NEAR_NS)?;
        judge(
            &format!("{name}, from its start"),
            swarm.seen(),
            0,
            i64::MAX,
        )?;
        for (index, (before, after)) in before.into_iter().zip(after).enumerate() {
            // Three neighbours, one exchange a second each.
            ensure!(
                after >= before + 12,
                "node {index} made {} exchanges in 6 s",
                after - before
            );
        }
        let sent = flood.finish()?;
        let mut refused = 0;
        for node in &mut swarm.nodes {
            refused += node.ask(|control| control.tracking())?.counters.refused;
        }
        say(&format!("{name}: {sent} datagrams sent, {refused} refused"));
        ensure!(
            refused > sent / 4,
            "of {sent} datagrams only {refused} were counted as refused"
        );
        let quiet = swarm.watch(Duration::from_secs(4))?;
        judge("after the flood", &quiet, 4, NEAR_NS)
    })
}

/// Beginnings of datagrams of every kind there is, so that noise gets past the first look.
fn plausible_headers() -> Vec<Vec<u8>> {
    Vec::new()
}

fn exchanges(swarm: &mut Swarm) -> Outcome<Vec<u64>> {
    let tracking = swarm
        .nodes
        .iter_mut()
        .map(|node| node.ask(|control| control.tracking()));
    tracking
        .map(|tracking| Ok(tracking?.counters.exchanges))
        .collect()
}

#[test]
fn a_lone_node_among_strangers_claims_nothing() -> Outcome {
    let name = "alone with garbage";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 2)?;
        let mut specs = full_mesh(&hosts);
        specs.truncate(1);
        ensure!(
            matches!(specs[0].discovery, Discovery::Static(_)),
            "a static list"
        );
        let _babbler = babbler(&hosts[1], TIME_PORT)?;
        let mut swarm = Swarm::start(lab, specs)?;
        swarm.watch(Duration::from_secs(5))?;
        let tracking = swarm.nodes[0].ask(|control| control.tracking())?;
        ensure!(
            tracking.state == parisync::wire::ClockState::Unsynchronized,
            "with nobody to agree with it says {:?}: {}",
            tracking.state,
            tracking.reason
        );
        Ok(())
    })
}

//! Members that lie and strangers that disturb.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use parisync::export::status::Use;
use parisync::wire::{
    CONFIRM_DATAGRAM_LEN, Kind, MAX_DATAGRAM, NetworkId, Packet, TIME_DATAGRAM_LEN, write_finish,
    write_init, write_response, write_retry, write_transport_header,
};

use super::{NEAR_NS, SETTLES, full_mesh, hosts};
use crate::support::lab::{Host, Side, scenario};
use crate::support::node::{Lie, NETWORK, TIME_PORT};
use crate::support::swarm::{Swarm, judge};
use crate::support::traffic::{Flood, Noise, babbler, flood};
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
        let sources = lab.aliases(&hosts[4], 32)?;
        let mut swarm = Swarm::start(lab, full_mesh(members))?;
        // From the first handshake on, so that members must get in through it.
        let flood = flood(
            &hosts[4],
            Flood {
                sources,
                targets: time_addresses(members),
                forge,
                rate: 8_000,
                lasts: Duration::from_secs(18),
            },
        )?;
        swarm.watch(SETTLES)?;
        keeps_on(name, &mut swarm)?;
        judge(
            &format!("{name}, from its start"),
            swarm.seen(),
            0,
            i64::MAX,
        )?;
        let sent = flood.finish()?;
        let refused = refused(&mut swarm)?;
        say(&format!("{name}: {sent} datagrams sent, {refused} refused"));
        ensure!(
            refused > sent / 4,
            "of {sent} datagrams only {refused} were counted as refused"
        );
        let quiet = swarm.watch(Duration::from_secs(4))?;
        judge("after the flood", &quiet, 4, NEAR_NS)
    })
}

#[test]
fn a_flood_with_the_addresses_of_members_locks_nobody_out() -> Outcome {
    let name = "flood in the name of members";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 5)?;
        let members = &hosts[..4];
        let mut swarm = Swarm::start(lab, full_mesh(members))?;
        swarm.watch(SETTLES)?;
        let sources = lab.impersonate(&hosts[4], &members[..2])?;
        let flood = flood(
            &hosts[4],
            Flood {
                sources,
                targets: time_addresses(&members[2..]),
                forge,
                rate: 4_000,
                lasts: Duration::from_secs(10),
            },
        )?;
        swarm.watch(Duration::from_secs(3))?;
        keeps_on(name, &mut swarm)?;
        judge(
            &format!("{name}, from its start"),
            swarm.seen(),
            0,
            i64::MAX,
        )?;
        ensure!(
            flood.sent() > 10_000,
            "only {} datagrams were sent",
            flood.sent()
        );
        Ok(())
    })
}

/// Asserts that all four nodes go on exchanging and agreeing for six seconds.
fn keeps_on(name: &str, swarm: &mut Swarm) -> Outcome {
    let before = exchanges(swarm)?;
    let seen = swarm.watch(Duration::from_secs(6))?;
    let after = exchanges(swarm)?;
    judge(name, &seen, 4, 2 * NEAR_NS)?;
    for (index, (before, after)) in before.into_iter().zip(after).enumerate() {
        // Three neighbours, one exchange a second each; some may be lost.
        ensure!(
            after >= before + 12,
            "node {index}: {before}, then {after} exchanges in 6 s"
        );
    }
    Ok(())
}

fn time_addresses(hosts: &[Host]) -> Vec<SocketAddr> {
    hosts
        .iter()
        .map(|host| (host.address, TIME_PORT).into())
        .collect()
}

/// What a stranger can forge who knows the protocol and the network's name but no key: datagrams
/// of every kind, well-formed as far as it can be told without a key, and mere noise.
fn forge(noise: &mut Noise) -> Vec<u8> {
    let network = NetworkId::from_name(NETWORK);
    // Sessions are numbered from the receiver's own choice: low numbers hit soonest if they are
    // counted.
    let receiver = (noise.next() % 16) as u32;
    match noise.next() % 8 {
        0 => noise.bytes::<TIME_DATAGRAM_LEN>().to_vec(),
        1 => write_init(network, &[0; _], &noise.bytes()).to_vec(),
        2 => write_init(network, &noise.bytes(), &noise.bytes()).to_vec(),
        3 => write_retry(network, receiver, &noise.bytes()).to_vec(),
        4 => write_response(network, receiver, &noise.bytes()).to_vec(),
        5 => write_finish(network, receiver, &noise.bytes()).to_vec(),
        choice => {
            let (kind, length) = match choice {
                6 => (Kind::Confirm, CONFIRM_DATAGRAM_LEN),
                _ => (Kind::Time, TIME_DATAGRAM_LEN),
            };
            let counter = noise.next() % 1_000;
            let mut datagram = write_transport_header(kind, network, receiver, counter).to_vec();
            datagram.extend(noise.bytes::<MAX_DATAGRAM>());
            datagram.truncate(length);
            datagram
        }
    }
}

#[test]
fn forged_datagrams_pass_for_real_ones_until_a_key_is_needed() {
    let mut noise = Noise::new(1);
    let forged = (0..200).map(|_| forge(&mut noise));
    let network = NetworkId::from_name(NETWORK);
    let passing = forged.filter(|datagram| Packet::parse(datagram, network).is_ok());
    let kinds: BTreeSet<u8> = passing.map(|datagram| datagram[3]).collect();
    assert_eq!(kinds.len(), 6, "every kind there is: {kinds:?}");
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

fn refused(swarm: &mut Swarm) -> Outcome<u64> {
    let tracking = swarm
        .nodes
        .iter_mut()
        .map(|node| node.ask(|control| control.tracking()));
    tracking
        .map(|tracking| Ok(tracking?.counters.refused))
        .sum()
}

#[test]
fn a_lone_node_among_strangers_claims_nothing() -> Outcome {
    let name = "alone with garbage";
    scenario(name, |lab| {
        let hosts = hosts(lab, Side::Left, 2)?;
        let mut specs = full_mesh(&hosts);
        specs.truncate(1);
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

//! What is measured of a structure.

use std::collections::HashMap;

use parisync::time::Span;
use parisync::topology::can::Can;
use parisync::topology::draw::NeighbourhoodConfig;
use parisync::topology::overlay::{
    AnyStructure, Contact, Key, LinkStructure, LookupKind, Structure,
};

use super::network::{Host, Network};
use super::row::{Churned, Eclipse, Evenness, Hops, Repaired};

/// Lookups from which shares are told.
const LOOKUPS: usize = 400;
/// Pause between nodes that join.
const JOINING: Span = Span::from_millis(60);
/// Time for a network to settle.
const SETTLE: Span = Span::from_secs(120);
/// Address blocks of the honest nodes.
const BLOCKS: u32 = 4096;

fn grown(structure: Structure, nodes: usize, seed: u64) -> Network {
    let mut network = Network::of(structure, seed);
    network.grow(nodes, JOINING);
    network.run(SETTLE);
    network
}

fn formula(structure: Structure, nodes: usize) -> f64 {
    let n = nodes as f64;
    let d = Can::<Host>::DIMENSIONS as f64;
    match structure {
        Structure::Kademlia => n.log2(),
        Structure::Chord => n.log2() / 2.0,
        Structure::Pastry => n.log2() / 4.0,
        Structure::Can => d / 4.0 * n.powf(1.0 / d),
    }
}

/// What lookups at random nodes for random keys found: shares of right answers and of none, mean
/// hops and requests. `pause` between them.
fn lookups(network: &mut Network, count: usize, pause: Span) -> [f64; 4] {
    let mut truth: HashMap<(u32, u32), Option<Contact<Host>>> = HashMap::new();
    let kind = LookupKind {
        width: 2,
        ..LookupKind::OWNER
    };
    network.take_done();
    let mut done = Vec::new();
    for _ in 0..count {
        let target = network.random_key();
        let from = loop {
            let from = network.anybody();
            if network.machine(from).is_some_and(|m| m.is_member()) {
                break from;
            }
        };
        let owner = network.owner(target);
        if let Some(number) = network.lookup(from, target, kind) {
            truth.insert((from, number), owner);
        }
        network.run(pause);
        done.extend(network.take_done());
    }
    network.run(Span::from_secs(10));
    done.extend(network.take_done());
    let (mut right, mut nobody, mut hops, mut requests) = (0.0, 0.0, 0.0, 0.0);
    for (from, outcome) in &done {
        let owner = truth.get(&(*from, outcome.lookup)).copied().flatten();
        let ours = owner.is_some_and(|owner| owner.at.number == *from);
        let found = outcome.found.map(|f| f.contact);
        // Who is in charge may have changed on the way.
        let now = || network.owner(outcome.target);
        right += f64::from((ours && outcome.own) || found == owner || found == now());
        nobody += f64::from(found.is_none() && !outcome.own);
        hops += outcome.found.map_or(0.0, |f| f64::from(f.hops));
        requests += f64::from(outcome.asked);
    }
    let count = done.len().max(1) as f64;
    [right, nobody, hops, requests].map(|sum| sum / count)
}

/// Hops, tables and upkeep among `nodes` that stay.
pub fn hops(structure: Structure, nodes: usize, seed: u64) -> Hops {
    let mut network = grown(structure, nodes, seed);
    network.run(SETTLE);
    let before = network.traffic().sent;
    network.run(SETTLE);
    let upkeep = (network.traffic().sent - before) as f64 / nodes as f64;
    let [right, _, hops, requests] = lookups(&mut network, LOOKUPS, Span::from_millis(50));
    let links: usize = network
        .living()
        .iter()
        .map(|n| links_of(&network, *n).len())
        .sum();
    Hops {
        structure: structure.name(),
        nodes,
        hops,
        formula: formula(structure, nodes),
        right,
        requests,
        links: links as f64 / nodes as f64,
        upkeep: upkeep * 60.0 / SETTLE.as_secs_f64(),
    }
}

fn links_of(network: &Network, number: u32) -> Vec<Contact<Host>> {
    let mut links = Vec::new();
    if let Some(machine) = network.machine(number) {
        machine.links().links(&mut |contact| links.push(*contact));
    }
    links.sort_unstable_by_key(|c| c.key);
    links.dedup_by_key(|c| c.key);
    links
}

/// Lookups while `churn` of the nodes are replaced a minute, measured over the last of some
/// minutes.
pub fn churned(structure: Structure, nodes: usize, churn: f64, seed: u64) -> Churned {
    let mut network = grown(structure, nodes, seed);
    network.churn(churn, Span::from_secs(240));
    let before = network.traffic().sent;
    let steps = 60;
    let (mut right, mut nobody) = (0.0, 0.0);
    for _ in 0..steps {
        let [r, n, ..] = lookups_in_churn(&mut network, LOOKUPS / steps, churn);
        right += r / steps as f64;
        nobody += n / steps as f64;
    }
    let members = network
        .living()
        .iter()
        .filter(|n| network.machine(**n).is_some_and(|m| m.is_member()));
    let members = members.count() as f64 / network.living().len() as f64;
    Churned {
        structure: structure.name(),
        nodes,
        churn,
        right,
        nobody,
        members,
        messages: (network.traffic().sent - before) as f64 / nodes as f64 / 2.0,
    }
}

/// Lookups begun together, and two seconds of churn.
fn lookups_in_churn(network: &mut Network, count: usize, churn: f64) -> [f64; 2] {
    network.take_done();
    let mut begun = HashMap::new();
    for _ in 0..count {
        let target = network.random_key();
        let from = network.anybody();
        if network.machine(from).is_some_and(|m| m.is_member()) {
            let owner = network.owner(target);
            let kind = LookupKind {
                width: 2,
                ..LookupKind::OWNER
            };
            if let Some(number) = network.lookup(from, target, kind) {
                begun.insert((from, number), owner);
            }
        }
    }
    network.churn(churn, Span::from_secs(2));
    let (mut right, mut nobody, mut ended) = (0.0, 0.0, 0.0);
    for (from, outcome) in network.take_done() {
        let Some(owner) = begun.get(&(from, outcome.lookup)) else {
            continue;
        };
        let found = outcome.found.map(|f| f.contact);
        let ours = owner.is_some_and(|owner| owner.at.number == from) && outcome.own;
        ended += 1.0;
        right += f64::from(ours || found == *owner || found == network.owner(outcome.target));
        nobody += f64::from(found.is_none() && !outcome.own);
    }
    [right, nobody].map(|sum| sum / f64::max(ended, 1.0))
}

/// After half of the nodes have left at once.
pub fn repaired(structure: Structure, nodes: usize, seed: u64) -> Vec<Repaired> {
    let mut network = grown(structure, nodes, seed);
    network.run(SETTLE);
    network.kill_share(0.5);
    let start = network.now();
    let mut rows = Vec::new();
    for after_s in [0, 30, 60, 120, 240, 480] {
        network.run(start + Span::from_secs(after_s) - network.now());
        // Looked at before lookups repair what they meet.
        let (dead, whole) = (dead_links(&network), whole(&mut network));
        let [right, ..] = lookups(&mut network, 100, Span::from_millis(5));
        rows.push(Repaired {
            structure: structure.name(),
            nodes,
            after_s,
            right,
            dead,
            whole,
        });
    }
    rows
}

fn dead_links(network: &Network) -> f64 {
    let (mut dead, mut all) = (0.0, 0.0);
    for number in network.living() {
        for link in links_of(network, *number) {
            all += 1.0;
            dead += f64::from(network.machine(link.at.number).is_none());
        }
    }
    dead / f64::max(all, 1.0)
}

/// The share of nodes that know whom they must know for the structure to be one.
pub fn whole(network: &mut Network) -> f64 {
    let living = network.living().to_vec();
    let mut keys: Vec<_> = living
        .iter()
        .filter_map(|n| Some(network.machine(*n)?.key()))
        .collect();
    keys.sort_unstable();
    let mut right = 0;
    for number in &living {
        let links = links_of(network, *number);
        let Some(machine) = network.machine(*number) else {
            continue;
        };
        let own = machine.key();
        let knows = |key: Key| links.iter().any(|link| link.key == key);
        let place = keys.partition_point(|key| *key <= own);
        let next = keys.get(place).or(keys.first()).copied();
        let nearest = || {
            keys.iter()
                .filter(|k| **k != own)
                .min_by_key(|k| k.xor(own))
                .copied()
        };
        let good = match machine.links() {
            AnyStructure::Chord(chord) => chord.successor().map(|c| c.key) == next,
            AnyStructure::Pastry(_) => next.is_none_or(knows),
            AnyStructure::Kademlia(_) => nearest().is_none_or(knows),
            // Whoever is in charge of a point has it as the only one.
            AnyStructure::Can(can) => {
                can.zones().all(|zone| {
                    let owner = network.owner(zone);
                    owner.is_some_and(|owner| owner.at.number == *number)
                }) && machine.is_member()
            }
        };
        right += usize::from(good);
    }
    right as f64 / living.len().max(1) as f64
}

/// How even draws are, from eight draws of each node.
pub fn evenness(structure: Structure, nodes: usize, seed: u64) -> Evenness {
    let mut network = grown(structure, nodes, seed);
    let living = network.living().to_vec();
    let config = NeighbourhoodConfig {
        slow: 8,
        fresh: 0,
        near: 0,
        ..NeighbourhoodConfig::default()
    };
    let (drawn, lookups) = network.draw(&living, config, 3, Span::from_secs(600));
    let hits = drawn.iter().flatten().map(|c| c.at.number);
    let count = drawn.iter().map(Vec::len).sum::<usize>();
    let effective = effective(hits, count, nodes);
    let owners = (0..8 * nodes).filter_map(|_| {
        let key = network.random_key();
        network.owner(key)
    });
    let owners: Vec<_> = owners.map(|c| c.at.number).collect();
    Evenness {
        structure: structure.name(),
        nodes,
        effective,
        owner: self::effective(owners.iter().copied(), owners.len(), nodes),
        lookups: lookups as f64 / count.max(1) as f64,
    }
}

/// 1 / (n Σ p²), without the bias of few draws.
fn effective(hits: impl Iterator<Item = u32>, count: usize, nodes: usize) -> f64 {
    let mut times: HashMap<u32, f64> = HashMap::new();
    hits.for_each(|node| *times.entry(node).or_default() += 1.0);
    let pairs: f64 = times.values().map(|c| c * (c - 1.0)).sum();
    let all = count as f64 * (count as f64 - 1.0);
    all / pairs.max(1.0) / nodes as f64
}

/// What an attacker with this share of ids, in so many address blocks, gets of the neighbours of
/// 24 victims; `placed` ids next to each of them.
pub fn eclipse(
    structure: Structure,
    nodes: usize,
    ids: f64,
    blocks: u32,
    placed: usize,
    seed: u64,
) -> Eclipse {
    const VICTIMS: usize = 24;
    let mut network = Network::of(structure, seed);
    let bad = (nodes as f64 * ids) as usize;
    let honest = nodes - bad;
    let mut liars = Vec::new();
    let mut victims: Vec<u32> = Vec::new();
    for index in 0..nodes {
        let key = network.random_key();
        let block = (network.random_key().0 >> 40) as u32;
        // Evenly mixed, the victims early.
        let is_bad = index * bad / nodes != (index + 1) * bad / nodes;
        if is_bad {
            liars.push(network.enter(key, BLOCKS + block % blocks));
        } else {
            let number = network.enter(key, block % BLOCKS);
            if victims.len() < VICTIMS && index > honest / 8 {
                victims.push(number);
            }
        }
        network.run(JOINING);
    }
    for victim in &victims {
        let Some(own) = network.machine(*victim).map(|m| m.key()) else {
            continue;
        };
        for n in 0..placed as u64 {
            let block = BLOCKS + (n as u32) % blocks;
            // On either side, nearer than anybody else.
            let key = Key(own.0.wrapping_add_signed(if n % 2 == 0 {
                n as i64 + 1
            } else {
                -(n as i64)
            }));
            liars.push(network.enter(key, block));
            network.run(JOINING);
        }
    }
    network.run(SETTLE);
    network.corrupt(&liars);
    let config = NeighbourhoodConfig {
        near: 0,
        ..NeighbourhoodConfig::default()
    };
    let wanted = config.slow + config.fresh;
    let (drawn, _) = network.draw(&victims, config, 3, Span::from_secs(300));
    let share = |members: &Vec<Contact<Host>>| {
        let bad = members
            .iter()
            .filter(|c| network.is_bad(c.at.number))
            .count();
        bad as f64 / members.len().max(1) as f64
    };
    let mut nearest = 0.0;
    for victim in &victims {
        let Some(machine) = network.machine(*victim) else {
            continue;
        };
        let far = |c: &Contact<Host>| match machine.links() {
            AnyStructure::Can(_) => c.key.around(machine.key()),
            structure => structure.ownership(machine.key(), c.key),
        };
        let mut links = links_of(&network, *victim);
        links.sort_unstable_by_key(far);
        links.truncate(wanted);
        nearest += share(&links) / victims.len() as f64;
    }
    let mean = |of: &dyn Fn(&Vec<Contact<Host>>) -> f64| {
        drawn.iter().map(of).sum::<f64>() / drawn.len().max(1) as f64
    };
    Eclipse {
        structure: structure.name(),
        nodes,
        ids,
        blocks,
        placed,
        drawn: mean(&share),
        worst: drawn.iter().map(share).fold(0.0, f64::max),
        nearest,
        complete: mean(&|members| members.len() as f64),
    }
}

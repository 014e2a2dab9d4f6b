//! Real nodes on loopback are recorded, and all strategies live through what they heard.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use hwts::transport::{UdpConfig, UdpTransport};
use parisync::config::TrueFrequency;
use parisync::consensus::strategies::CombineKind;
use parisync::engine::{PeerAddress, Sources, StaticPeers};
use parisync::link::estimators::EstimatorKind;
use parisync::node::{Lie, NodeConfig, Strategies};
use parisync::record::{Entry, Header, Reader, Recorder, write};
use parisync::security::Identity;
use parisync::service::assemble::{Blueprint, assemble};
use parisync::service::clockface::Clockface;
use parisync::service::daemon::{Daemon, Scheduling};
use parisync::service::state::State;
use parisync::time::Span;
use parisync::wire::{ClockState, MAX_DATAGRAM};

use super::compare::Race;
use super::*;
use crate::run::Recorded;
use crate::testing::Scratch;

/// A node that steers nothing, and who writes down what it is told.
fn start(
    transport: UdpTransport,
    strategies: Strategies,
    peers: Vec<PeerAddress>,
    record: PathBuf,
) -> (Daemon, Recorder) {
    let mut parts = assemble(Blueprint {
        identity: Identity::generate().unwrap(),
        network: "replay".to_owned(),
        node: NodeConfig::default(),
        strategies,
        transport: transport.into(),
        clockface: Clockface::measuring(),
        saved: State::default(),
        lie: Lie::default(),
        truth: TrueFrequency::None,
        seed: u64::from(record.as_os_str().len() as u32),
        record: Some(record),
    })
    .unwrap();
    let recorder = parts.recorder.take().unwrap();
    let sources = Sources::new(vec![Box::new(StaticPeers::start(peers).unwrap())]);
    let daemon = Daemon::start(parts, sources, Scheduling::default()).unwrap();
    (daemon, recorder)
}

/// Records of three nodes that have agreed, each with these strategies.
fn recorded(scratch: &Scratch, strategies: [Strategies; 3]) -> Vec<PathBuf> {
    std::fs::create_dir(&scratch.0).unwrap();
    let sockets: Vec<UdpTransport> = (0..3)
        .map(|_| {
            UdpTransport::open(&UdpConfig {
                max_datagram: MAX_DATAGRAM,
                ..UdpConfig::new((Ipv4Addr::LOCALHOST, 0).into())
            })
            .unwrap()
        })
        .collect();
    let addresses: Vec<_> = sockets.iter().map(UdpTransport::local_addr).collect();
    let files: Vec<PathBuf> = (0..3).map(|n| scratch.0.join(format!("{n}.rec"))).collect();
    let mut nodes = Vec::new();
    for (n, socket) in sockets.into_iter().enumerate() {
        let others = addresses.iter().filter(|other| **other != addresses[n]);
        let peers = others.map(|addr| PeerAddress::from(*addr)).collect();
        nodes.push(start(socket, strategies[n], peers, files[n].clone()));
    }
    let begun = Instant::now();
    let mut settled = None::<Instant>;
    while settled.is_none_or(|settled| settled.elapsed() < Duration::from_secs(6)) {
        thread::sleep(Duration::from_millis(100));
        let agree = nodes.iter_mut().all(|(daemon, _)| {
            daemon.attend();
            let status = daemon.desk().status();
            status.is_some_and(|status| status.tracking.state == ClockState::Synchronized)
        });
        settled = settled.filter(|_| agree).or(agree.then(Instant::now));
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "they never agree"
        );
    }
    for (daemon, recorder) in nodes {
        daemon.stop();
        recorder.finish();
    }
    files
}

fn options(files: Vec<PathBuf>) -> Options {
    Options {
        files,
        estimators: EstimatorKind::ALL.to_vec(),
        combines: vec![CombineKind::Median, CombineKind::Default],
        same_host: true,
    }
}

fn entries(path: &Path) -> (Header, Vec<Entry>) {
    let mut reader = Reader::open(path).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push(entry);
    }
    (reader.header().clone(), entries)
}

#[test]
fn records_of_other_strategies_are_exact() {
    let scratch = Scratch::new();
    let strategies = [
        (EstimatorKind::Kalman, CombineKind::Median),
        (EstimatorKind::CodedPairs, CombineKind::Tiers),
        (EstimatorKind::Hull, CombineKind::WMsr),
    ];
    let strategies = strategies.map(|(estimator, combine)| Strategies { estimator, combine });
    for (file, strategies) in recorded(&scratch, strategies).iter().zip(strategies) {
        let life = verify::verify(file).unwrap();
        assert!(life.row.exact && life.row.rounds > 0, "{:?}", life.row);
        let named = verify::strategies(&life.header, file).unwrap();
        assert_eq!(named, strategies);
    }
}

#[test]
fn records_are_exact_and_strategies_are_set_against_the_truth() {
    let scratch = Scratch::new();
    let files = recorded(&scratch, [Strategies::default(); 3]);
    let options = options(files.clone());
    let outcome = run(&options, &Progress::hidden()).unwrap();
    println!("{}", records_text(&outcome.records));
    println!("{}", strategies_text(&outcome.strategies));
    assert!(outcome.records.iter().all(|record| record.exact));
    assert_eq!(outcome.strategies.len(), 16);
    let row = |estimator: &str, combine: &str| {
        let mut rows = outcome.strategies.iter();
        rows.find(|row| row.estimator == estimator && row.combine == combine)
            .unwrap()
    };
    // The strategy that was recorded is the recorded clock, to the last bit.
    let own = row("default", "default");
    assert_eq!(own.from_recorded_max_ns, Some(0.0), "{own:?}");
    assert_eq!(own.synchronized, 1.0);
    assert!(own.residuals > 0, "{own:?}");
    // The truth of one host: raw clocks are the same, and the network's clock is known.
    assert!(own.link_error_p99_ns.is_some_and(|ns| ns < 1e6), "{own:?}");
    assert_eq!(own.guaranteed_violations, Some(0), "{own:?}");
    assert!(own.error_rms_ns < own.guaranteed_p50_ns, "{own:?}");
    let other = row("min-rtt", "median");
    assert!(
        other.from_recorded_rms_ns.is_some_and(|ns| ns > 0.0),
        "{other:?}"
    );

    // All of it is in the folder.
    let dir = scratch.0.join("out");
    keep(&mut folder(&dir, &options).unwrap(), &outcome).unwrap();
    let kept = Recorded::open(&dir).unwrap();
    assert_eq!(kept.series.len(), 16);
    assert_eq!(kept.series[0].tracks.len(), 3);
    assert_eq!(kept.tables.len(), 2);

    // Whatever they make of it, they all send the same packets.
    let (header, all) = entries(&files[0]);
    let recorded = verify::strategies(&header, &files[0]).unwrap();
    let strategies = Strategies::product(&EstimatorKind::ALL, &CombineKind::ALL);
    let mut race = Race::new(&header, recorded, &strategies, None);
    for entry in &all {
        assert!(race.step(entry), "{entry:?}");
    }

    // A record with other stamps than there were is found out.
    let mut changed = all;
    let stamp = changed.iter_mut().filter_map(|entry| match entry {
        Entry::Rx { stamp, .. } => Some(stamp),
        _ => None,
    });
    stamp
        .skip(20)
        .for_each(|stamp| stamp.at += Span::from_nanos(2_000));
    let path = scratch.0.join("changed.rec");
    let mut bytes = Vec::new();
    write(&mut bytes, &header, changed).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let outcome = run(
        &self::options(vec![path, files[1].clone()]),
        &Progress::hidden(),
    )
    .unwrap();
    let [changed, kept] = &outcome.records[..] else {
        panic!("{outcome:?}")
    };
    assert!(!changed.exact && changed.difference.is_some() && kept.exact);
    assert!(records_text(&outcome.records).contains("DIFFERS, line "));

    // What does not go together is refused.
    let refused =
        |files: Vec<PathBuf>| run(&self::options(files), &Progress::hidden()).unwrap_err();
    let twice = refused(vec![files[0].clone(), files[0].clone()]);
    assert!(twice.to_string().contains("of the same node"), "{twice}");
    let alone = refused(vec![files[0].clone()]);
    assert!(
        alone.to_string().contains("nothing to be compared with"),
        "{alone}"
    );
}

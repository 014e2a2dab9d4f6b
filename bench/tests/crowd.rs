//! Networks of many nodes under churn and attack, in seconds: the simulator of millions at a small
//! size, against limits. Figures are printed; `cargo test --test crowd -- --nocapture` shows them.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing helper is a failing test")]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parisync::consensus::strategies::CombineKind;
use parisync_bench::crowd::{
    Attack, CheckpointError, Dht, Fidelity, Links, Plan, Report, Simulation, run,
};
use parisync_bench::progress::Progress;

fn simulate(plan: &Plan) -> Report {
    plan.check().unwrap();
    let stop = AtomicBool::new(false);
    let (report, _) = run(plan, &stop, &Progress::hidden());
    println!(
        "{:?} {:?} {} nodes, {:?} {}, churn {}: synchronized {:.3}, sigma {:.0} ns, worst {:.0} ns, \
         captured {}, drag {:?} ppm, rounds to {:?}, arrive {:?}, bound {:?}, {:.0} bytes/s",
        plan.fidelity,
        plan.links,
        plan.nodes,
        plan.attack,
        plan.malicious,
        plan.churn,
        report.synchronized,
        report.sigma_ns,
        report.worst_ns,
        report.captured,
        report.drag_ppm,
        report.rounds_to,
        report.rounds_to_arrive,
        report.bound,
        report.bytes_per_node_s,
    );
    report
}

fn lan(nodes: u32, rounds: u32) -> Plan {
    Plan {
        nodes,
        rounds,
        links: Links::Lan,
        neighbours: 16,
        ..Plan::default()
    }
}

#[test]
fn a_thousand_nodes_meet_and_keep_their_bounds() {
    let report = simulate(&lan(1_000, 12));
    assert!(report.synchronized > 0.999);
    assert!(report.rounds_to.one_ms.is_some_and(|rounds| rounds <= 5));
    assert!(report.sigma_ns < 1_500.0, "{}", report.sigma_ns);
    assert_eq!(report.bound.violations, 0);
}

#[test]
fn what_comes_out_does_not_depend_on_the_threads() {
    for fidelity in [Fidelity::Exchange, Fidelity::Message, Fidelity::Round] {
        let digest = |threads| {
            let plan = Plan {
                fidelity,
                churn: 0.5,
                malicious: 0.1,
                attack: Attack::Split,
                threads: NonZeroUsize::new(threads),
                ..lan(200, 5)
            };
            simulate(&plan).digest
        };
        assert_eq!(digest(1), digest(3), "{fidelity:?}");
    }
}

/// Exchange and message fidelity run the same nodes in the same world; what differs is how stamps
/// travel, that each exchange serves both sides, and three limits of the hull in place of six.
#[test]
fn fidelities_agree() {
    let plan = lan(120, 40);
    let of = |fidelity| {
        simulate(&Plan {
            fidelity,
            ..plan.clone()
        })
    };
    let (exchange, message) = (of(Fidelity::Exchange), of(Fidelity::Message));
    let ratio = |a: f64, b: f64| (a / b).max(b / a);
    assert!(ratio(exchange.sigma_ns, message.sigma_ns) < 1.4);
    assert!(ratio(exchange.skew.any_pair.p50, message.skew.any_pair.p50) < 1.4);
    // What others say is up to a tick old, and a fast poll is a tick.
    let arrive = |r: &Report| r.rounds_to_arrive.unwrap_or(f64::INFINITY);
    assert!((arrive(&exchange) - arrive(&message)).abs() < 2.5);
    assert!(ratio(exchange.bound.p50, message.bound.p50) < 1.3);
    assert!(ratio(exchange.bytes_per_node_s, message.bytes_per_node_s) < 1.4);
    assert_eq!(exchange.bound.violations + message.bound.violations, 0);
}

/// The lean model is no node: it has to come as close as its sums do.
#[test]
fn the_lean_model_is_not_far_off() {
    let of = |fidelity| {
        simulate(&Plan {
            fidelity,
            ..lan(120, 40)
        })
    };
    let (round, exchange) = (of(Fidelity::Round), of(Fidelity::Exchange));
    let ratio = round.sigma_ns / exchange.sigma_ns;
    assert!((0.3..3.0).contains(&ratio), "{ratio}");
    let rounds = |r: &Report| i64::from(r.rounds_to.one_ms.unwrap_or(u32::MAX));
    assert!((rounds(&round) - rounds(&exchange)).abs() <= 4);
}

#[test]
fn structures_are_as_good_as_uniform_draws() {
    let rounds = |dht| {
        let report = simulate(&Plan { dht, ..lan(400, 8) });
        f64::from(report.rounds_to.one_ms.unwrap_or(u32::MAX))
    };
    let ideal = rounds(Dht::Uniform);
    for dht in [Dht::Kademlia, Dht::Chord, Dht::Pastry, Dht::Can] {
        assert!(rounds(dht) <= 1.5 * ideal, "{dht:?}");
    }
}

#[test]
fn newcomers_come_and_go() {
    let report = simulate(&Plan {
        churn: 0.5,
        ..lan(400, 30)
    });
    assert!(report.synchronized > 0.85, "{}", report.synchronized);
    assert!(report.rounds_to_arrive.is_some_and(|rounds| rounds < 8.0));
    assert_eq!(report.bound.violations, 0);
}

#[test]
fn hosts_of_one_data_centre_agree_more_closely_than_the_network_can() {
    let plan = Plan {
        nodes: 160,
        rounds: 150,
        links: Links::Sites,
        neighbours: 16,
        dht: Dht::Uniform,
        ..Plan::default()
    };
    let alone = simulate(&Plan {
        near: 0,
        ..plan.clone()
    });
    let typical = |report: &Report| report.skew.near.unwrap().p50;
    // Of three near peers of a host, some have two liars.
    for (malicious, times) in [(0.0, 8.0), (0.1, 1.3)] {
        let report = simulate(&Plan {
            malicious,
            attack: Attack::Push,
            ..plan.clone()
        });
        println!("near: {:?}, alone {:?}", report.skew.near, alone.skew.near);
        assert!(typical(&report) < typical(&alone) / times, "{malicious}");
        assert_eq!(report.bound.violations, 0);
    }
}

#[test]
fn a_partition_heals_and_a_crowd_that_comes_at_once_is_taken_in() {
    for happening in [
        "partition=0.4@8-20",
        "flash-crowd=0.5@10",
        "mass-exit=0.5@10",
    ] {
        let report = simulate(&Plan {
            happenings: vec![happening.parse().unwrap()],
            ..lan(300, 45)
        });
        assert!(
            report.synchronized > 0.98,
            "{happening}: {}",
            report.synchronized
        );
        assert!(
            report.sigma_ns < 3_000.0,
            "{happening}: {}",
            report.sigma_ns
        );
    }
}

#[test]
fn a_fifth_of_colluders_captures_hardly_anybody() {
    // Of 240, one or two may still be on their way in. Answers that are held back look like asymmetric
    // paths: they pull those who happen to have many such neighbours.
    for (attack, most) in [
        (Attack::Split, 0.02),
        (Attack::Push, 0.02),
        (Attack::Drag, 0.02),
        (Attack::Delay, 0.08),
        (Attack::Replay, 0.02),
        (Attack::JoinLeave, 0.02),
    ] {
        let report = simulate(&Plan {
            malicious: 0.2,
            attack,
            neighbours: 32,
            ..lan(300, 25)
        });
        assert!(report.captured < most, "{attack:?}: {}", report.captured);
        assert_eq!(report.bound.violations, 0, "{attack:?}");
    }
}

#[test]
fn colluders_lead_away_nobody_of_a_thousand() {
    // Some have more of them among their neighbours than anything tolerates.
    for malicious in [0.2, 0.3] {
        let report = simulate(&Plan {
            malicious,
            attack: Attack::Push,
            neighbours: 32,
            ..lan(1_000, 40)
        });
        assert!(report.captured < 0.001, "{}", report.captured);
        assert!(report.worst_ns < 5_000.0, "{}", report.worst_ns);
        assert_eq!(report.bound.violations, 0);
    }
}

#[test]
fn colluders_cannot_drag_a_network_away_from_its_references() {
    let plan = Plan {
        nodes: 200,
        rounds: 600,
        links: Links::Wan,
        neighbours: 16,
        dht: Dht::Uniform,
        malicious: 0.2,
        attack: Attack::Push,
        ..Plan::default()
    };
    let dragged = simulate(&plan).drag_ppm.unwrap();
    let report = simulate(&Plan {
        references: 0.04,
        ..plan
    });
    let held = report.drag_ppm.unwrap();
    assert!(dragged > 5.0, "{dragged}");
    assert!(held.abs() < 1.5, "{held}");
    assert_eq!(report.bound.violations, 0);
}

/// A file that is gone when the test is.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("parisync-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn who_resumes_goes_on_as_if_nothing_had_been() {
    let place = Place::new("resumed");
    let attacked = Plan {
        malicious: 0.2,
        attack: Attack::Split,
        churn: 0.5,
        references: 0.05,
        ..lan(100, 8)
    };
    let message = Plan {
        fidelity: Fidelity::Message,
        ..lan(40, 6)
    };
    // No power of ten times a few digits is this very number.
    let lean = Plan {
        wander: "0.1ppb".parse().unwrap(),
        fidelity: Fidelity::Round,
        references: 0.0,
        ..attacked.clone()
    };
    let mut plans = vec![attacked, message, lean];
    plans.extend(CombineKind::ALL.map(|strategy| Plan {
        strategy,
        ..lan(20, 6)
    }));
    for plan in plans {
        let mut left = Simulation::new(&plan);
        while left.rounds() < plan.rounds / 2 {
            assert!(!left.round(|| false));
        }
        left.save(&place.0).unwrap();
        // It goes on itself as well: nothing is disturbed by writing.
        let mut resumed = Simulation::resume(&place.0, None).unwrap();
        for simulation in [&mut left, &mut resumed] {
            while !simulation.round(|| false) {}
        }
        let (report, rounds) = resumed.report();
        let whole = simulate(&plan);
        assert_eq!(report.digest, whole.digest, "{plan:?}");
        assert_eq!(left.report().0.digest, whole.digest, "{plan:?}");
        assert_eq!(report.bound, whole.bound);
        assert_eq!(report.skew, whole.skew);
        assert_eq!(report.events, whole.events);
        assert_eq!(rounds.len() as u32, plan.rounds);
    }
}

#[test]
fn a_checkpoint_that_is_of_no_use_is_refused() {
    let place = Place::new("refused");
    let resumed = || match Simulation::resume(&place.0, None) {
        Ok(_) => panic!("resumed"),
        Err(error) => error,
    };
    assert!(matches!(resumed(), CheckpointError::File { .. }));
    std::fs::write(&place.0, "{\"nodes\": 3}\n").unwrap();
    assert!(matches!(resumed(), CheckpointError::Foreign { .. }));

    let mut left = Simulation::new(&lan(20, 6));
    left.round(|| false);
    left.save(&place.0).unwrap();
    let good = std::fs::read(&place.0).unwrap();
    for len in [good.len() - 1, good.len() / 2] {
        std::fs::write(&place.0, &good[..len]).unwrap();
        let error = resumed();
        assert!(error.to_string().contains("cut short"), "{error}");
    }
    let line = good.iter().position(|byte| *byte == b'\n').unwrap();
    let loss = good[..line].windows(4).position(|part| part == b"loss");
    for changed in [loss.unwrap() + 8, line + 40, good.len() / 2, good.len() - 2] {
        let mut bytes = good.clone();
        bytes[changed] ^= 0x01;
        std::fs::write(&place.0, bytes).unwrap();
        let error = resumed();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
    }
    let text = String::from_utf8_lossy(&good[..line]);
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), "0.0.1");
    let named = |version: &str| format!("\"version\":\"{version}\"");
    let mut bytes = text.replace(&named(ours), &named(theirs)).into_bytes();
    bytes.extend(&good[line..]);
    std::fs::write(&place.0, bytes).unwrap();
    assert!(matches!(resumed(), CheckpointError::Version { .. }));

    // One that cannot be written leaves the earlier one as it is.
    std::fs::write(&place.0, &good).unwrap();
    let nowhere = Place(PathBuf::from("/dev/full/checkpoint"));
    assert!(matches!(
        left.save(&nowhere.0),
        Err(CheckpointError::File { .. })
    ));
    Simulation::resume(&place.0, None).unwrap();
}

/// Whoever has waited for hours gets what there is, also with the bar's thread running.
#[test]
fn a_run_that_is_interrupted_says_how_far_it_came() {
    let place = Place::new("interrupted");
    let mut child = Command::new(env!("CARGO_BIN_EXE_parisync-bench"))
        .args(["sim", "--nodes", "20", "--rounds", "1000000", "-o", "json"])
        .arg("--checkpoint")
        .arg(&place.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Threads come once signals are awaited.
    let threads = format!("/proc/{}/task", child.id());
    while std::fs::read_dir(&threads).unwrap().count() < 3 {
        std::thread::sleep(Duration::from_millis(20));
        assert!(child.try_wait().unwrap().is_none());
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let reports: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rounds = reports[0]["rounds"].as_u64().unwrap();
    assert!((1..1_000_000).contains(&rounds));
    let resumed = Simulation::resume(&place.0, None).unwrap();
    assert_eq!(u64::from(resumed.rounds()), rounds);
}

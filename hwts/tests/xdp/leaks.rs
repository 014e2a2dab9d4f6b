//! What is left when a transport or its process is gone: nothing.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hwts::transport::XdpTransport;

use crate::support::pair;
use crate::{config, is_attached, joined, open, until_detached};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// `VmPin` and `VmLck` of this process, kB.
fn locked() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines = status.lines();
    lines
        .filter(|l| l.starts_with("VmPin") || l.starts_with("VmLck"))
        .collect()
}

/// `HWTS_XDP_ROUNDS=1000` for more than a sign.
#[test]
fn attaching_and_detaching_leaks_nothing() {
    let rounds = std::env::var("HWTS_XDP_ROUNDS").map_or(20_u32, |text| text.parse().unwrap());
    let Some([a, _b]) = pair() else { return };
    // Descriptors of other tests come and go in this process: look in one of our own.
    let Some(_alone) = alone("leaks::attaching_and_detaching_leaks_nothing") else {
        return;
    };
    let (mut before, start) = (None, Instant::now());
    for round in 0..rounds {
        match open(&a) {
            Ok(transport) => drop(transport),
            Err(error) if round == 0 => return eprintln!("SKIPPED: {error}"),
            Err(error) => panic!("round {round}: {error}"),
        }
        let now = (descriptors(), locked(), is_attached(&a));
        assert_eq!(*before.get_or_insert(now.clone()), now, "round {round}");
    }
    eprintln!("{rounds} times in {:.1?}", start.elapsed());
    assert!(!is_attached(&a));
}

/// A sign to run on in this process; the process that ran the test starts one that runs it alone.
fn alone(test: &str) -> Option<()> {
    const ALONE: &str = "HWTS_XDP_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return Some(());
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .status();
    assert!(status.unwrap().success());
    None
}

const CHILD: &str = "HWTS_XDP_CHILD";

/// Runs in a process of its own, to be killed.
#[test]
fn child_that_attaches_until_it_is_killed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    println!("\nbegin");
    loop {
        match XdpTransport::open(&config()) {
            Ok(_transport) => println!("attached"),
            Err(error) => println!("refused: {error}"),
        }
    }
}

#[test]
fn a_killed_process_leaves_no_program() {
    let Some((namespaces, transports)) = joined() else {
        return;
    };
    drop(transports);
    let namespace = &namespaces[0];
    let rounds =
        std::env::var("HWTS_XDP_ROUNDS").map_or(10_u32, |text| text.parse().unwrap()) / 10 + 5;
    let mut attached = 0;
    for round in 0..rounds {
        let mut child = namespace.inside(|| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "leaks::child_that_attaches_until_it_is_killed",
                    "--nocapture",
                ])
                .env(CHILD, "1")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let begun = lines.any(|line| line.unwrap() == "begin");
        assert!(begun);
        if round % 2 == 1 {
            // Others die before they are attached for the first time, or while they are.
            let first = lines.next().unwrap().unwrap();
            attached += u32::from(first == "attached");
        }
        // Spread over the time that attaching takes.
        std::thread::sleep(Duration::from_micros(u64::from(round) * 1_730 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        until_detached(namespace);
    }
    assert!(attached > 0);
    // The queue is free, too.
    assert!(open(namespace).is_ok());
    eprintln!("{rounds} killed");
}

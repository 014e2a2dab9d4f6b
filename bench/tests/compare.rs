//! `compare` as a user meets it: what is missing is named, what fails is told, the rest goes on.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::Scratch;

/// A program that is a script.
fn script(scratch: &Scratch, name: &str, text: &str) -> PathBuf {
    let file = scratch.0.join(name);
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parisync-bench"))
        .arg("compare")
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Whether namespaces can be made here; says why a test is skipped if not.
fn possible(test: &str) -> bool {
    let output = compare(&[
        "--lab",
        "netns",
        "--seconds",
        "3",
        "--peer-bin",
        "parisync=/bin/true",
    ]);
    let said = stderr(&output);
    let possible = !said.contains("cannot be built") && !said.contains("privilege");
    if !possible {
        eprintln!("{test}: SKIPPED: {}", said.trim());
    }
    possible
}

/// The daemon, if it was built beside this test.
fn parisync() -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_BIN_EXE_parisync-bench")).with_file_name("parisync");
    file.is_file().then_some(file)
}

#[test]
fn the_simulator_is_the_users_own() {
    let output = compare(&[]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("needs --clknetsim DIR"), "{said}");
    assert!(said.contains("mlichvar/clknetsim"), "{said}");
    let output = compare(&["--clknetsim", "/nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere/clknetsim: No such file"));
}

#[test]
fn a_simulator_without_effect_starts_no_daemon() {
    let scratch = Scratch::new("probe");
    // A server that is none, and a library that is none: `date` tells the real time.
    script(&scratch, "clknetsim", "touch sock; sleep 1");
    fs::write(scratch.0.join("clknetsim.so"), "").unwrap();
    let witness = scratch.0.join("started");
    let text = format!(
        "echo parisync 1; test \"$1\" = run && touch {}",
        witness.display()
    );
    let daemon = script(&scratch, "parisync", &text);
    let named = format!("parisync={}", daemon.display());
    let dir = scratch.0.to_str().unwrap();
    let output = compare(&["--clknetsim", dir, "--peer-bin", &named]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("clknetsim does not work here"), "{said}");
    assert!(said.contains("no daemon was started"), "{said}");
    assert!(!witness.exists());
}

#[test]
fn links_that_are_none_are_refused() {
    let output = compare(&["--links", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("--links takes lan, wan, dc or a file"),
        "{said}"
    );
}

#[test]
fn a_daemon_that_ends_at_once_is_told_with_its_last_words() {
    if !possible("a_daemon_that_ends_at_once_is_told_with_its_last_words") {
        return;
    }
    let scratch = Scratch::new("ends");
    let version = "test \"$1\" = -v && echo 'chronyd (chrony) version 0.1' && exit";
    let text = format!("{version}\necho 'Fatal: no such directive' >&2\nexit 3");
    let chrony = format!("chrony={}", script(&scratch, "chronyd", &text).display());
    script(&scratch, "chronyc", "exit 1");
    let other = script(&scratch, "other", "echo something else");
    let other = format!("ptp4l={}", other.display());
    let arguments = [
        "--lab",
        "netns",
        "--hosts",
        "2",
        "--seconds",
        "6",
        "--vs",
        "chrony,ptp4l",
    ];
    let named = [
        "--peer-bin",
        "parisync=/bin/true",
        "--peer-bin",
        &chrony,
        "--peer-bin",
        &other,
    ];
    let output = compare(&[&arguments[..], &named].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = stderr(&output);
    let expected = "parisync-bench: chrony 0.1, seed 1: chronyd of host 1 ended too soon \
        (exit status: 3); it said: Fatal: no such directive\n";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("left out ptp4l: "), "{said}");
    assert!(said.contains("the Debian package linuxptp"), "{said}");
    assert!(said.ends_with("nothing could be compared\n"), "{said}");
}

#[test]
fn parisync_keeps_time_between_namespaces_and_the_run_is_kept() {
    let test = "parisync_keeps_time_between_namespaces_and_the_run_is_kept";
    if !possible(test) {
        return;
    }
    let Some(parisync) = parisync() else {
        eprintln!("{test}: SKIPPED: `parisync` was not built beside it");
        return;
    };
    let scratch = Scratch::new("netns");
    // Where others without privilege can run it.
    let daemon = scratch.0.join("parisync");
    fs::copy(parisync, &daemon).unwrap();
    let (named, out) = (
        format!("parisync={}", daemon.display()),
        scratch.0.join("run"),
    );
    let arguments = [
        "--lab",
        "netns",
        "--hosts",
        "3",
        "--seconds",
        "12",
        "--vs",
        "parisync",
    ];
    let more = [
        "--peer-bin",
        &named,
        "-o",
        "json",
        "--out",
        out.to_str().unwrap(),
    ];
    let output = compare(&[&arguments[..], &more].concat());
    assert!(output.status.success(), "{output:?}");
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &rows[0];
    assert_eq!(row["runs"], 1);
    assert!(
        row["rms_ns"]["mean"].as_f64().is_some_and(|rms| rms > 0.0),
        "{row}"
    );
    assert!(
        row["packets_per_s"]["mean"]
            .as_f64()
            .is_some_and(|rate| rate > 0.1),
        "{row}"
    );
    let run = parisync_bench::run::Recorded::open(&out).unwrap();
    assert_eq!(run.series.len(), 1);
    assert_eq!(run.series[0].tracks.len(), 3);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let test = "an_interrupt_leaves_nothing_behind";
    if !possible(test) {
        return;
    }
    let scratch = Scratch::new("interrupt");
    let (temporary, running) = (scratch.0.join("tmp"), scratch.0.join("running"));
    fs::create_dir(&temporary).unwrap();
    // Where somebody without privilege can say that it runs.
    fs::write(&running, "").unwrap();
    fs::set_permissions(&running, fs::Permissions::from_mode(0o666)).unwrap();
    let text = format!(
        "test \"$1\" = run || {{ echo parisync 1; exit; }}\necho $$ >> {}\nexec sleep 1000",
        running.display()
    );
    let named = format!("parisync={}", script(&scratch, "parisync", &text).display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_parisync-bench"));
    command
        .env("TMPDIR", &temporary)
        .args([
            "compare", "--lab", "netns", "--hosts", "2", "--vs", "parisync",
        ])
        .args(["--peer-bin", &named])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    let daemons = loop {
        let said = fs::read_to_string(&running).unwrap();
        if said.lines().count() == 2 {
            break said;
        }
        assert!(Instant::now() < patience, "no daemon was started");
        std::thread::sleep(Duration::from_millis(20));
    };
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.ends_with("interrupted before any run was over\n"),
        "{said}"
    );
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    for daemon in daemons.lines() {
        assert!(!Path::new("/proc").join(daemon).exists(), "{daemon}");
    }
}

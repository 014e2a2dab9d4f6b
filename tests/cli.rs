//! The command as a user meets it: exit codes, one-line errors, JSON.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use parisync::export::control::{ControlServer, StatusProvider};
use parisync::export::status::{ClockReading, Counters, Peer, Status, Tracking, Use};
use parisync::topology::{FoundBy, NodeId};
use parisync::wire::{ClockState, StampSource};

/// A directory of its own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("parisync-cli-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn socket(&self) -> String {
        self.0.join("s").display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parisync(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parisync"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs it, checks the exit code and that nothing is on standard output, and returns the error.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = parisync(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    assert!(error.starts_with("parisync: "), "{error}");
    assert!(output.stdout.is_empty());
    error
}

/// Runs it, checks the exit code and that nothing is on standard error, and returns the output.
fn prints(arguments: &[&str], code: i32) -> String {
    let output = parisync(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert_eq!(error, "");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str], code: i32) -> serde_json::Value {
    let text = prints(&[arguments, &["-o", "json"]].concat(), code);
    assert_eq!(text.lines().count(), 1);
    serde_json::from_str(&text).unwrap()
}

fn status(state: ClockState, bound_ns: Option<i64>, sources: &[&str]) -> Status {
    let id = NodeId::from_bytes([0xab; 32]);
    let neighbours = usize::from(!sources.is_empty());
    Status {
        tracking: Tracking {
            id,
            state,
            reason: "as the test wants it".to_owned(),
            virtual_time_ns: 1_800_000_037_000_000_000,
            bound_ns,
            statistical_ns: bound_ns.map(|ns| ns / 4),
            estimated_error_ns: Some(85),
            sampled: neighbours,
            tolerated_liars: 0,
            liar_risk: bound_ns.map(|_| 0.1),
            assumed_liars: 0.1,
            estimator: "default".to_owned(),
            combine: "default".to_owned(),
            rate_ppm: 1.5,
            wander_ppb: None,
            stability: Vec::new(),
            last_offset_ns: 3.0,
            local_ns: 0.0,
            references: 0,
            excess_ppm: None,
            neighbours,
            used: neighbours,
            discipline: "none".to_owned(),
            clock_state: None,
            clock_offset_ns: None,
            clock_rate_ppm: None,
            interfaces: Vec::new(),
            sources: sources.iter().map(|&source| source.to_owned()).collect(),
            latency: Vec::new(),
            warnings: vec!["the test is watching".to_owned()],
            counters: Counters::default(),
        },
        peers: vec![Peer {
            id,
            addr: "192.0.2.7:4711".parse().unwrap(),
            found_by: FoundBy::Static,
            used: Use::Falseticker,
            state,
            offset_ns: Some(10_000_000.0),
            offset_sigma_ns: Some(85.0),
            offset_statistical_ns: Some(280.0),
            offset_min_ns: Some(9_999_000.0),
            offset_max_ns: Some(10_001_000.0),
            rate_ppm: Some(-12.5),
            claimed_bound_ns: Some(900),
            rtt_ns: Some(48_000),
            stamps: Some(StampSource::Kernel),
            reach: 0o377,
            exchanges: 99,
        }],
    }
}

/// Always says the same.
struct Fake(Status);

impl StatusProvider for Fake {
    fn status(&self) -> Option<Status> {
        Some(self.0.clone())
    }

    fn clock_at(&self, mono_raw_ns: i64) -> ClockReading {
        ClockReading {
            mono_raw_ns,
            virtual_ns: self.0.tracking.virtual_time_ns,
            clock_ns: None,
            bound_ns: self.0.tracking.bound_ns,
            statistical_ns: self.0.tracking.statistical_ns,
        }
    }
}

/// A daemon's control socket that always says the same.
fn daemon(scratch: &Scratch, status: Status) -> impl Drop + use<> {
    let server = ControlServer::bind(Path::new(&scratch.socket())).unwrap();
    server.spawn(Fake(status)).unwrap()
}

#[test]
fn help_names_every_exit_code_and_version_is_printed() {
    let help = prints(&["--help"], 0);
    assert!(help.contains("Exit codes:") && help.contains("waitsync"));
    assert!(prints(&["--version"], 0).starts_with("parisync 0."));
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    assert!(fails(&[], 2).contains("say what to do: one of run, "));
    assert!(fails(&["peer"], 2).contains("'peers'"));
    assert!(fails(&["run", "--dicipline", "none"], 2).contains("'--discipline'"));
    assert!(fails(&["run", "--discipline", "phc"], 2).contains("system, virtual, none"));
    assert!(fails(&["run", "--peer", "::1:4711"], 2).contains("in brackets"));
    assert!(fails(&["run", "--for", "soon"], 2).contains("a number with a unit"));
    assert!(fails(&["waitsync", "--max-bound", "1"], 2).contains("say the unit"));
    assert!(fails(&["waitsync", "--max-bound", "0us"], 2).contains("bound of zero"));
    assert!(fails(&["peers", "-o", "xml"], 2).contains("human, json"));
}

#[test]
fn a_valid_file_is_told_so() {
    let scratch = Scratch::new("valid");
    let empty = scratch.file("empty.toml", "");
    assert_eq!(
        prints(&["validate", &empty], 0),
        format!("{empty}: valid\n")
    );
    let verdict = json(&["validate", "scripts/parisync.toml"], 0);
    assert_eq!(verdict["valid"], true);
    assert_eq!(verdict["warnings"], serde_json::json!([]));
}

#[test]
fn what_is_valid_and_has_no_effect_is_told() {
    let scratch = Scratch::new("idle");
    let idle = scratch.file("idle.toml", "[discipline]\npulse_output = 0\npps = true\n");
    let told = prints(&["validate", &idle], 0);
    assert!(told.starts_with(&format!("{idle}: valid\n")), "{told}");
    for key in ["pulse_output", "pps"] {
        let wanted = format!("warning: `discipline.{key}` has no effect with target system");
        assert!(told.contains(&wanted), "{told}");
    }
    let card = "[discipline]\ntarget = \"phc:eth0\"\npulse_output = 0\npps = true\n";
    let card = scratch.file("card.toml", card);
    assert_eq!(prints(&["validate", &card], 0), format!("{card}: valid\n"));
}

#[test]
fn a_typo_is_named_with_place_and_nearest_key() {
    let scratch = Scratch::new("typo");
    let file = scratch.file("p.toml", "lan = true\n\n[exchange]\n  pol = \"1s\"\n");
    let wanted = format!(
        "parisync: {file}:4:3: unknown key `exchange.pol`; did you mean `exchange.poll`?\n"
    );
    assert_eq!(fails(&["validate", &file], 2), wanted);
    assert_eq!(fails(&["run", "-c", &file], 2), wanted);

    let output = parisync(&["validate", &file, "-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&verdict["line"], &verdict["column"]),
        (&4.into(), &3.into())
    );
}

#[test]
fn unreadable_configurations_exit_with_2() {
    let scratch = Scratch::new("unreadable");
    let dir = scratch.0.display().to_string();
    assert!(fails(&["validate", &dir], 2).contains("is a directory"));
    assert!(fails(&["validate", &format!("{dir}/gone")], 2).contains("cannot be read"));
    let bytes = scratch.file("bytes", b"lan = true\n\"\xff");
    assert!(fails(&["validate", &bytes], 2).contains(":2:2: not valid UTF-8"));
    let locked = scratch.file("locked", "");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything.
    if fs::read(&locked).is_err() {
        assert!(fails(&["validate", &locked], 2).contains("permissions"));
    }
}

#[test]
fn options_that_do_not_go_together_exit_with_2() {
    let error = fails(
        &["run", "--listen", "[::]:5", "--dht-listen", "127.0.0.1:5"],
        2,
    );
    assert!(error.contains("the same UDP port"));
    let long = "x".repeat(200);
    assert!(fails(&["run", "--socket", &long], 2).contains("longer than 100 bytes"));
    assert!(fails(&["run", "--network", ""], 2).contains("--network must be"));
}

#[test]
fn without_a_daemon_it_says_what_to_do() {
    let scratch = Scratch::new("none");
    let socket = scratch.socket();
    for command in ["tracking", "peers", "now"] {
        let error = fails(&[command, "--socket", &socket], 1);
        assert!(
            error.contains(&socket) && error.contains("`parisync run`"),
            "{error}"
        );
    }
}

#[test]
fn an_empty_environment_is_enough() {
    let output = Command::new(env!("CARGO_BIN_EXE_parisync"))
        .args(["validate", "scripts/parisync.toml"])
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn waiting_for_nobody_is_impossible_even_with_time_left() {
    let scratch = Scratch::new("impossible");
    let error = fails(&["waitsync", "-t", "1h", "--socket", &scratch.socket()], 2);
    assert!(error.contains("no daemon answers"));
}

#[test]
fn a_daemon_that_looks_for_nobody_is_not_waited_for() {
    let scratch = Scratch::new("alone");
    let _daemon = daemon(&scratch, status(ClockState::Unsynchronized, None, &[]));
    let error = fails(&["waitsync", "-t", "1h", "--socket", &scratch.socket()], 2);
    assert!(error.contains("nobody to synchronize with"), "{error}");
}

#[test]
fn waitsync_tells_ready_from_timeout() {
    let scratch = Scratch::new("wait");
    let socket = scratch.socket();
    let _daemon = daemon(
        &scratch,
        status(ClockState::Synchronized, Some(1_000), &["lan"]),
    );
    let ready = json(&["waitsync", "--max-bound", "1us", "--socket", &socket], 0);
    assert_eq!(
        (&ready["ready"], &ready["bound_ns"]),
        (&true.into(), &1_000.into())
    );
    let text = prints(
        &[
            "waitsync",
            "--max-bound",
            "999ns",
            "-t",
            "0.2",
            "--socket",
            &socket,
        ],
        1,
    );
    assert!(text.starts_with("timeout after "), "{text}");
    let statistical = ["waitsync", "--bound", "statistical", "--socket", &socket];
    let ready = json(&[&statistical[..], &["--max-bound", "250ns"]].concat(), 0);
    assert_eq!(ready["statistical_ns"], 250);
    let error = fails(&statistical, 2);
    assert!(error.contains("--max-bound"), "{error}");
}

#[test]
fn metrics_are_for_prometheus_and_gone_with_the_daemon() {
    let scratch = Scratch::new("metrics");
    let socket = scratch.socket();
    let given = status(ClockState::Synchronized, Some(1_000), &["lan"]);
    let running = daemon(&scratch, given.clone());
    let text = prints(&["metrics", "--socket", &socket], 0);
    for line in [
        "# TYPE parisync_guaranteed_bound_seconds gauge",
        "parisync_guaranteed_bound_seconds 0.000001",
        "parisync_statistical_bound_seconds 0.00000025",
        "parisync_state{state=\"synchronized\"} 1",
        "parisync_tolerated_liars 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    let all = json(&["metrics", "--socket", &socket], 0);
    assert_eq!(all, serde_json::to_value(&given).unwrap());
    drop(running);
    fails(&["metrics", "--socket", &socket], 1);
}

#[test]
fn tracking_and_peers_are_the_status_as_it_is() {
    let scratch = Scratch::new("status");
    let socket = scratch.socket();
    let given = status(ClockState::Synchronized, Some(1_000), &["static: 1 peer"]);
    let _daemon = daemon(&scratch, given.clone());

    let tracking = json(&["tracking", "--socket", &socket], 0);
    assert_eq!(tracking, serde_json::to_value(&given.tracking).unwrap());
    let peers = json(&["peers", "--socket", &socket], 0);
    assert_eq!(peers, serde_json::to_value(&given.peers).unwrap());

    let text = prints(&["tracking", "--socket", &socket], 0);
    for part in [
        "synchronized: as the test wants it",
        "1.00µs from the network's clock, while the neighbour sampled does not lie",
        "10 % that more lie, if 10 % of all do",
        "250ns from the network's clock, in 99.9 % of all cases",
        "static: 1 peer",
        "watching",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = prints(&["peers", "-v", "--socket", &socket], 0);
    for part in [
        "x falseticker",
        "+10.0ms",
        "kernel",
        "377",
        "static",
        "±280ns in 99.9 % of all cases",
        "guaranteed while the neighbour sampled does not lie",
        "disagrees",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn now_brackets_the_time_and_fails_without_a_bound() {
    let scratch = Scratch::new("now");
    let socket = scratch.socket();
    let running = daemon(
        &scratch,
        status(ClockState::Synchronized, Some(1_000), &["lan"]),
    );
    let now = json(&["now", "--socket", &socket], 0);
    let number = |key: &str| now[key].as_i64().unwrap();
    let (earliest, estimate, latest) = (
        number("earliest_ns"),
        number("estimate_ns"),
        number("latest_ns"),
    );
    assert!(earliest < estimate && estimate < latest);
    assert_eq!(latest - earliest, 2 * number("bound_ns"));
    assert_eq!(number("bound_ns"), 1_000);
    assert_eq!(number("statistical_ns"), 250);
    assert_eq!(number("tai_ns") - estimate, 37_000_000_000);
    assert_eq!(estimate, 1_800_000_000_000_000_000);
    drop(running);

    let _daemon = daemon(&scratch, status(ClockState::Joining, None, &["lan"]));
    let text = prints(&["now", "--socket", &socket], 1);
    assert!(text.contains("none, joining"), "{text}");
}

#[test]
fn diag_finds_something_to_say_about_this_host() {
    let scratch = Scratch::new("diag");
    let output = parisync(&["diag", "-o", "json", "--socket", &scratch.socket()]);
    assert!(matches!(output.status.code(), Some(0 | 1)));
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = findings.as_array().unwrap();
    let topics: Vec<&str> = findings
        .iter()
        .filter_map(|f| f["topic"].as_str())
        .collect();
    for topic in [
        "timestamps",
        "privileges",
        "clock source",
        "system clock",
        "daemons",
        "parisync",
    ] {
        assert!(topics.contains(&topic), "nothing about {topic}: {topics:?}");
    }
    for finding in findings {
        // Whatever is not as it should be comes with something to do.
        assert!(
            finding["level"] == "good" || finding["advice"].is_string(),
            "{finding}"
        );
    }
}

#[test]
fn a_closed_pipe_is_quiet() {
    let scratch = Scratch::new("pipe");
    let mut given = status(ClockState::Synchronized, Some(1_000), &["lan"]);
    // Far more than a pipe holds.
    given.peers = vec![given.peers[0].clone(); 2_000];
    let _daemon = daemon(&scratch, given);
    let mut child = Command::new(env!("CARGO_BIN_EXE_parisync"))
        .args(["peers", "-v", "--socket", &scratch.socket()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert!(line.contains("address"));
    assert_eq!(
        (child.wait().unwrap().code(), error.as_str()),
        (Some(0), "")
    );
}

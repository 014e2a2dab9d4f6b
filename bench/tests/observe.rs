//! `parisync-bench observe` as a user runs it, against sources whose error is known: small NTP
//! servers in this test, PariSync daemons on loopback, a chronyd that may not touch the clock.
//!
//! The daemons are those found beside this test's program, on the path, or in the directory that
//! `PARISYNC_BENCH_DAEMONS` names; what is missing is skipped with a line that says so.
#![expect(clippy::unwrap_used, reason = "a failing helper is a failing test")]

mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use parisync_bench::observe::ntp::packet::{NtpTime, Packet};
use serde_json::Value;
use support::Scratch;

/// How long a daemon may take to know the time.
const PATIENCE: Duration = Duration::from_secs(60);

fn observe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parisync-bench"));
    command.arg("observe").args(arguments).stdin(Stdio::null());
    command
}

/// One JSON value a line.
fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(parse).collect()
}

/// An NTP server on loopback whose clock is ahead of this host's by `ahead` ns; it answers as long
/// as this test runs.
fn ntp_server(ahead: i64) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 200];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let Ok(question) = Packet::parse(&bytes[..len]) else {
                continue;
            };
            let now = || NtpTime::from_unix(unix_nanos() + ahead);
            let arrived = now();
            let answer = Packet {
                version: 4,
                mode: 4,
                stratum: 1,
                poll: question.poll,
                precision: -24,
                root_dispersion: 1,
                reference_id: *b"TEST",
                reference: arrived,
                origin: question.transmit,
                receive: arrived,
                transmit: now(),
                ..Packet::default()
            };
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer.to_bytes(), from);
        }
    });
    address
}

fn unix_nanos() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_nanos()).unwrap()
}

/// A directory that nobody else can read: chronyd puts its socket nowhere else.
fn private(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    fs::set_permissions(&scratch.0, Permissions::from_mode(0o700)).unwrap();
    scratch
}

/// A process that ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program beside ours, in `PARISYNC_BENCH_DAEMONS`, or on the path.
fn program(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_parisync-bench")).parent();
    let named = std::env::var_os("PARISYNC_BENCH_DAEMONS");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = beside
        .map(Path::to_owned)
        .into_iter()
        .chain(named.map(PathBuf::from))
        .chain(std::env::split_paths(&path))
        .chain([PathBuf::from("/usr/sbin")]);
    let found = places
        .map(|place| place.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no program {name}");
    }
    found
}

fn number(value: &Value, name: &str) -> f64 {
    value[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The source of that name in one line, if it says anything.
fn source<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line["sources"]
        .as_array()?
        .iter()
        .find(|source| source["source"] == name)
}

#[test]
fn servers_are_compared_with_the_system_clock_and_each_other() {
    let (right, wrong) = (ntp_server(0), ntp_server(5_000_000));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let hosts = [right, wrong, silent.local_addr().unwrap()].map(|host| host.to_string());
    let mut arguments = vec![
        "--interval",
        "0.4s",
        "--ntp-interval",
        "0.4s",
        "--seconds",
        "2",
    ];
    arguments.extend(["-o", "json", "--phc", "/dev/ptp_that_is_not_there", "--ntp"]);
    arguments.extend(hosts.iter().map(String::as_str));
    let output = observe(&arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = lines(&output);
    let names = hosts.map(|host| format!("ntp:{host}"));
    let (last, snapshots) = lines.split_last().unwrap();
    assert!(snapshots.len() >= 2, "{lines:?}");

    let line = &snapshots[snapshots.len() - 1];
    for (name, ahead) in [(&names[0], 0.0), (&names[1], 5e6)] {
        let said = source(line, name).unwrap_or_else(|| panic!("no {name} in {line}"));
        let error = number(said, "offset_ns") - ahead;
        assert!(error.abs() <= number(said, "guaranteed_ns"), "{said}");
    }
    let pair = &line["differences"][0];
    assert_eq!(
        (&pair["of"], &pair["to"]),
        (&names[1].clone().into(), &names[0].clone().into())
    );
    let error = number(pair, "difference_ns") - 5e6;
    assert!(error.abs() <= number(pair, "bound_ns"), "{pair}");
    let bound = number(pair, "bound_ns");
    assert_eq!(pair["contradicts"], number(pair, "difference_ns") > bound);

    let silent: Vec<&Value> = line["troubles"].as_array().unwrap().iter().collect();
    let of: Vec<&Value> = silent.iter().map(|trouble| &trouble["source"]).collect();
    assert_eq!(of, [&names[2], "phc:ptp_that_is_not_there"]);
    let text = silent[1]["what"].as_str().unwrap();
    assert!(text.contains("/dev/ptp_that_is_not_there"), "{text}");

    let statistics = last["statistics"].as_array().unwrap();
    let of: Vec<&Value> = statistics
        .iter()
        .map(|figures| &figures["source"])
        .collect();
    assert_eq!(of, [&names[0], &names[1]]);
    assert!(
        (number(&statistics[1], "mean_ns") - 5e6).abs() < 5e6,
        "{last}"
    );
}

#[test]
fn csv_has_one_heading_and_an_interrupt_ends_it_with_the_run_kept() {
    let scratch = private("observe-kept");
    let out = scratch.0.join("run");
    let host = ntp_server(-1_000_000).to_string();
    let mut child = observe(&[
        "--ntp",
        &host,
        "--interval",
        "0.1s",
        "--ntp-interval",
        "0.1s",
    ])
    .args(["-o", "csv", "--out"])
    .arg(&out)
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let heading = printed.next().unwrap().unwrap();
    assert!(
        heading.starts_with("time_s,system_ns,source,offset_ns,"),
        "{heading}"
    );
    // The first one or two may come before the kernel stamps packets.
    for _ in 0..5 {
        let row = printed.next().unwrap().unwrap();
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells[2], format!("ntp:{host}"), "{row}");
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(printed.map(Result::unwrap).all(|row| row != heading));
    let summary = fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(number(&summary["statistics"][0], "readings") >= 3.0);
    assert!(out.join("offsets.csv").is_file());
}

#[test]
fn nothing_to_observe_is_misuse_and_nobody_there_is_failure() {
    let misused = observe(&[]).output().unwrap();
    assert_eq!(misused.status.code(), Some(2));
    let complaint = String::from_utf8_lossy(&misused.stderr).into_owned();
    assert!(complaint.contains("--ntp HOST"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1);
    let failed = observe(&[
        "--phc",
        "/dev/null",
        "--interval",
        "0.1s",
        "--seconds",
        "0.2",
    ]);
    let failed = { failed }.output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(
        said.contains("/dev/null is no PTP hardware clock"),
        "{said}"
    );
}

/// Observes until `good` likes a line.
fn until(arguments: &[&str], good: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < PATIENCE {
        let output = observe(arguments)
            .args(["-o", "json", "--seconds", "1"])
            .output();
        let lines = lines(&output.unwrap());
        if let Some(line) = lines.iter().find(|line| good(line)) {
            return line.clone();
        }
        last = lines.into_iter().next();
    }
    panic!("not within {PATIENCE:?}: {last:?}");
}

#[test]
fn a_parisync_daemon_is_seen_with_its_bound() {
    let Some(program) = program("parisync") else {
        return;
    };
    let scratch = private("observe-parisync");
    // Free now; whoever takes one of them meanwhile fails this test.
    let ports = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let addresses = ports.each_ref().map(|socket| socket.local_addr().unwrap());
    drop(ports);
    let sockets = ["a", "b"].map(|name| scratch.0.join(name).join("control.sock"));
    let _daemons = [0, 1].map(|k| {
        let directory = scratch.0.join(["a", "b"][k]);
        fs::create_dir(&directory).unwrap();
        let config = directory.join("parisync.toml");
        let text = format!(
            "network = \"observe\"\nlisten = \"{}\"\npeers = [\"{}\"]\nlan = false\n\
             state_dir = {:?}\ncontrol_socket = {:?}\n\
             [discipline]\ntarget = \"none\"\n[dht]\nenabled = false\n",
            addresses[k],
            addresses[1 - k],
            directory.join("state"),
            sockets[k],
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let child = Command::new(&program)
            .args(["run", "--discipline", "none", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Daemon(child.unwrap())
    });
    let socket = sockets[0].to_str().unwrap();
    let line = until(
        &["--parisync", "--socket", socket, "--interval", "0.3s"],
        |line| source(line, "parisync").is_some_and(|said| said["guaranteed_ns"].is_number()),
    );
    let said = source(&line, "parisync").unwrap();
    // Both began at this host's system clock and agree on something near.
    assert!(number(said, "offset_ns").abs() < 1e9, "{said}");
    // Both bounds, and the one that mostly holds is the tighter one.
    assert!(
        number(said, "statistical_ns") <= number(said, "guaranteed_ns"),
        "{said}"
    );
    assert!(
        said["detail"].as_str().unwrap().contains("neighbours used"),
        "{said}"
    );
}

#[test]
fn a_chronyd_is_seen_with_its_source() {
    let (Some(chronyd), Some(chronyc)) = (program("chronyd"), program("chronyc")) else {
        return;
    };
    if !geteuid().is_root() {
        eprintln!("SKIPPED: chronyd needs root for its socket");
        return;
    }
    let scratch = private("observe-chrony");
    let server = ntp_server(50_000_000);
    let socket = scratch.0.join("chronyd.sock");
    let config = scratch.0.join("chrony.conf");
    let text = format!(
        "server {} port {} iburst minpoll 0 maxpoll 0\nport 0\ncmdport 0\n\
         bindcmdaddress {}\npidfile {}\n",
        server.ip(),
        server.port(),
        socket.display(),
        scratch.0.join("pid").display(),
    );
    fs::write(&config, text).unwrap();
    // -x: it does not touch the clock.
    let child = Command::new(chronyd)
        .args(["-x", "-d", "-u", "root", "-f"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _daemon = Daemon(child.unwrap());
    let (program, host) = (chronyc.to_str().unwrap(), socket.to_str().unwrap());
    let arguments = [
        "--chrony",
        "--chronyc",
        program,
        "--chrony-host",
        host,
        "--interval",
        "0.3s",
    ];
    let name = format!("chrony:{}", server.ip());
    let line = until(&arguments, |line| {
        let follows = |name| source(line, name).is_some_and(|s| s["guaranteed_ns"].is_number());
        follows("chrony") && follows(&name)
    });
    let of = source(&line, &name).unwrap();
    let error = number(of, "offset_ns") - 50e6;
    assert!(error.abs() <= number(of, "guaranteed_ns"), "{of}");
    let chrony = source(&line, "chrony").unwrap();
    let detail = chrony["detail"].as_str().unwrap();
    assert!(detail.contains(&server.ip().to_string()), "{chrony}");
    let error = number(chrony, "offset_ns") - 50e6;
    assert!(error.abs() < 5e6, "{chrony}");
}

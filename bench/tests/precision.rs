//! `parisync-bench precision` as a user runs it: over loopback, between namespaces, with a peer.
#![expect(clippy::unwrap_used, reason = "a failing helper is a failing test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

fn precision(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parisync-bench"));
    command
        .arg("precision")
        .args(arguments)
        .stdin(Stdio::null());
    command
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
}

/// What is common to all measurements.
fn check(result: &Value, lanes: &[&str]) {
    let reports = result["lanes"].as_array().unwrap();
    let names: Vec<&str> = reports
        .iter()
        .map(|r| r["lane"].as_str().unwrap())
        .collect();
    assert_eq!(names, lanes);
    for report in reports {
        assert!(report["counts"]["exchanges"].as_u64() > Some(0), "{report}");
        assert!(report["sigma_ns"].as_f64() > Some(0.0), "{report}");
        assert!(report["error"]["p99_ns"].as_u64() >= report["error"]["p50_ns"].as_u64());
        assert!(report["cpu_ns"].as_f64() > Some(0.0), "{report}");
    }
}

#[test]
fn loopback_is_measured_and_kept() {
    let folder = format!("parisync-precision-{}", std::process::id());
    let folder: PathBuf = std::env::temp_dir().join(folder);
    let output = precision(&["--loopback", "--stamps", "all", "--mode", "block"])
        .args([
            "--transport",
            "all",
            "--seconds",
            "0.5",
            "-o",
            "json",
            "--out",
        ])
        .arg(&folder)
        .output()
        .unwrap();
    let result = json(&output);
    check(&result, &["udp/kernel/block", "udp/user/block"]);
    assert_eq!(result["path"], "loopback");
    assert_eq!(result["lanes"][0]["truth"], "same-clock");
    let out = result["left_out"].as_array().unwrap();
    let whats: Vec<&str> = out.iter().map(|o| o["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["xdp", "udp/hardware"]);
    assert!(
        out[1]["reason"].as_str().unwrap().contains("no PHC"),
        "{out:?}"
    );
    for file in [
        "udp-kernel-block-error.hgrm",
        "udp-user-block-round-trip.hgrm",
        "slices.csv",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let summary = fs::read_to_string(folder.join("summary.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&summary).unwrap(), result);
    let again = precision(&["--loopback", "--out"])
        .arg(&folder)
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_interrupt_between_namespaces_prints_what_there_is() {
    if !geteuid().is_root() {
        let output = precision(&["--seconds", "1"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--loopback"), "{said}");
        return;
    }
    let child = precision(&["--seconds", "3600", "--mode", "block", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    interrupt(&child);
    let result = json(&child.wait_with_output().unwrap());
    check(&result, &["udp/kernel/block", "udp/user/block"]);
    assert_eq!(result["interrupted"], true);
    assert_eq!(result["path"], "namespaces");
}

#[test]
fn a_peer_is_measured_with_and_nobody_is_named() {
    // Free now; whoever takes it meanwhile fails this test.
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (number, peer) = (port.to_string(), format!("127.0.0.1:{port}"));
    let mut serving = precision(&["--serve", "--iface", "lo", "--port", &number])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut log = BufReader::new(serving.stderr.take().unwrap());
    log.read_line(&mut said).unwrap();
    assert!(said.contains(&format!(":{port}")), "{said}");
    let arguments = [
        "--peer",
        &peer,
        "--seconds",
        "0.5",
        "--mode",
        "block",
        "-o",
        "json",
    ];
    let result = json(&precision(&arguments).output().unwrap());
    check(&result, &["udp/kernel/block", "udp/user/block"]);
    assert_eq!(result["lanes"][0]["truth"], "own-median");
    interrupt(&serving);
    assert!(serving.wait().unwrap().success());

    let gone = precision(&arguments).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(said.contains("precision --serve"), "{said}");
}

#[test]
fn what_cannot_be_done_here_is_named() {
    for (arguments, reason) in [
        (["--loopback", "--transport", "xdp"], "no AF_XDP"),
        (["--loopback", "--stamps", "hardware"], "no hardware clock"),
        (
            ["--loopback", "--mode", "sleep"],
            "none of block, busy-poll, spin",
        ),
        (
            ["--iface", "lo", "--mode=block"],
            "--iface goes with --peer",
        ),
    ] {
        let output = precision(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(reason), "{said}");
    }
}

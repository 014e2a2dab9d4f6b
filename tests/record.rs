//! Real daemons record what they are told, and live again exactly so.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parisync::consensus::Ensemble;
use parisync::link::OneSided;
use parisync::record::{Ending, Entry, RawScale, Reader, Replay, Verdict};
use parisync::wire::ClockState;

/// A directory of its own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("parisync-record-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A daemon that is stopped at the end, whatever happens.
struct Daemon(Child);

impl Daemon {
    /// On `port`, with the others as peers; steers nothing of this host.
    fn start(dir: &Path, port: u16, others: &[u16], more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parisync"));
        command.args([
            "run",
            "--no-dht",
            "--no-lan",
            "--no-control",
            "--log",
            "warn",
        ]);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        for other in others {
            command.args(["--peer", &format!("127.0.0.1:{other}")]);
        }
        command
            .arg("--state-dir")
            .arg(dir.join(format!("state-{port}")));
        command.arg("--record").arg(record(dir, port)).args(more);
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit());
        Self(child.spawn().unwrap())
    }

    /// Ends it as an operator would; whether it went well.
    fn stop(mut self) -> bool {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().success()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already unless a test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn record(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!("{port}.rec"))
}

fn free_ports<const N: usize>() -> [u16; N] {
    let sockets = [(); N].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// Whether the record, which is still being written, has so many synchronized clocks.
fn has_settled(path: &Path, rounds: usize) -> bool {
    let Ok(mut reader) = Reader::open(path) else {
        return false;
    };
    let mut synchronized = 0;
    while let Ok(Some(entry)) = reader.next_entry() {
        synchronized += usize::from(matches!(
            entry,
            Entry::Clock { view, .. } if view.state == ClockState::Synchronized
        ));
    }
    synchronized >= rounds
}

fn replay(path: &Path) -> Verdict {
    let reader = Reader::open(path).unwrap();
    let replay = Replay::<_, OneSided, Ensemble>::new(reader, (), Ensemble::default());
    replay.finish().unwrap()
}

#[test]
fn what_daemons_recorded_is_replayed_bit_by_bit() {
    let scratch = Scratch::new();
    let dir = &scratch.0;
    let ports @ [a, b, c] = free_ports();
    let daemons = [
        Daemon::start(dir, a, &[b, c], &["--discipline", "none"]),
        Daemon::start(
            dir,
            b,
            &[a, c],
            &["--discipline", "none", "--single-thread"],
        ),
        Daemon::start(dir, c, &[a, b], &["--discipline", "virtual"]),
    ];
    let start = Instant::now();
    while !ports
        .iter()
        .all(|port| has_settled(&record(dir, *port), 25))
    {
        assert!(
            start.elapsed() < Duration::from_secs(90),
            "they never agree"
        );
        thread::sleep(Duration::from_millis(250));
    }
    for daemon in daemons {
        assert!(daemon.stop());
    }
    for port in ports {
        let path = record(dir, port);
        let verdict = replay(&path);
        println!("{verdict:?}");
        assert!(verdict.is_exact(), "{verdict:?}");
        assert_eq!(verdict.ending, Ending::Closed);
        assert!(verdict.rounds > 25 && verdict.lines > 100, "{verdict:?}");
    }
    let scale = |port| Reader::open(&record(dir, port)).unwrap().header().raw;
    let scales = [
        RawScale::MonotonicRaw,
        RawScale::MonotonicRaw,
        RawScale::Virtual,
    ];
    assert_eq!(ports.map(scale), scales);

    // One digit of one stamp.
    let path = record(dir, a);
    let mut bytes = fs::read(&path).unwrap();
    let stamp = b"\"stamp\":{\"at\":";
    let at = bytes.windows(stamp.len()).position(|w| w == stamp).unwrap() + stamp.len() + 9;
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    let changed = dir.join("changed.rec");
    fs::write(&changed, bytes).unwrap();
    let replay = Replay::<_, OneSided, Ensemble>::new(
        Reader::open(&changed).unwrap(),
        (),
        Ensemble::default(),
    );
    let error = replay.finish().unwrap_err().to_string();
    assert!(error.contains("is not as it was recorded"), "{error}");

    // Nothing is recorded over something else.
    let mut refused = Daemon::start(dir, a, &[b], &["--discipline", "none"]);
    assert_eq!(refused.0.wait().unwrap().code(), Some(1));
}

//! Both ends of the control socket over a real one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::client::{Client, ClientError};
use super::control::{ControlError, ControlServer, ControlThread, StatusProvider};
use super::protocol::{MAX_REQUEST, Reply};
use super::status::{ClockReading, Counters, Peer, Stability, Status, Tracking, Use};
use crate::testing::TempDir;
use crate::topology::{FoundBy, NodeId};
use crate::wire::{ClockState, StampSource};

fn peer(n: u8) -> Peer {
    Peer {
        id: NodeId::from_bytes([n; 32]),
        addr: ([192, 0, 2, n], 4711).into(),
        found_by: FoundBy::Lan,
        used: Use::WrongRate,
        state: ClockState::FreeRunning,
        offset_ns: Some(-1.25),
        offset_sigma_ns: None,
        offset_statistical_ns: None,
        offset_min_ns: Some(-1e6),
        offset_max_ns: Some(1e6),
        rate_ppm: Some(0.1 + f64::from(n)),
        claimed_bound_ns: Some(i64::MAX),
        rtt_ns: Some(48_000),
        stamps: Some(StampSource::Kernel),
        reach: 0xfe,
        exchanges: u64::MAX,
    }
}

pub(super) fn status(peers: u8, sent: u64) -> Status {
    Status {
        tracking: Tracking {
            id: NodeId::from_bytes([9; 32]),
            state: ClockState::Joining,
            reason: "two lines\nand \"quotes\"".to_owned(),
            virtual_time_ns: 1_800_000_037_123_456_789,
            bound_ns: None,
            statistical_ns: None,
            estimated_error_ns: Some(85),
            sampled: 7,
            tolerated_liars: 2,
            liar_risk: None,
            assumed_liars: 0.1,
            estimator: "default".to_owned(),
            combine: "default".to_owned(),
            rate_ppm: 12.345678901234,
            wander_ppb: Some(1.25),
            stability: vec![Stability {
                tau_s: 16.0,
                allan_deviation: 2.5e-9,
                terms: 20,
            }],
            last_offset_ns: -0.5,
            local_ns: 0.0,
            references: 0,
            excess_ppm: None,
            neighbours: peers.into(),
            used: 0,
            discipline: "none".to_owned(),
            clock_state: None,
            clock_offset_ns: None,
            clock_rate_ppm: None,
            sources: vec!["lan".to_owned()],
            interfaces: vec!["eth0: hardware stamps by /dev/ptp0".to_owned()],
            latency: Vec::new(),
            warnings: vec!["no privilege".to_owned()],
            counters: Counters {
                sent,
                ..Counters::default()
            },
        },
        peers: (0..peers).map(peer).collect(),
    }
}

/// Answers with so many peers and counts how often it was asked.
struct Fake {
    peers: u8,
    asked: Arc<AtomicU64>,
    working: bool,
}

impl StatusProvider for Fake {
    fn status(&self) -> Option<Status> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.working.then(|| status(self.peers, asked))
    }

    fn clock_at(&self, mono_raw: i64) -> ClockReading {
        ClockReading {
            mono_raw_ns: mono_raw,
            virtual_ns: mono_raw + 1,
            clock_ns: None,
            bound_ns: Some(7),
            statistical_ns: Some(2),
        }
    }
}

/// A served socket in a directory of its own.
struct Served {
    // Dropped in this order: the thread removes its socket while the directory is still there.
    thread: Option<ControlThread>,
    path: PathBuf,
    asked: Arc<AtomicU64>,
    _dir: TempDir,
}

fn serve(peers: u8) -> Served {
    let dir = TempDir::new("control");
    let path = dir.path().join("made/control.sock");
    let asked = Arc::new(AtomicU64::new(0));
    let provider = Fake {
        peers,
        asked: Arc::clone(&asked),
        working: true,
    };
    let thread = ControlServer::bind(&path).unwrap().spawn(provider).unwrap();
    Served {
        thread: Some(thread),
        path,
        asked,
        _dir: dir,
    }
}

impl Served {
    fn client(&self) -> Client {
        Client::connect(std::slice::from_ref(&self.path)).unwrap()
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
    }
}

/// The code of the refusal in the next line.
fn refusal(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let reply: Reply = serde_json::from_str(&line).unwrap();
    reply.error.unwrap().code
}

#[test]
fn every_answer_arrives_as_it_was_given() {
    let served = serve(3);
    let mut client = served.client();
    assert_eq!(client.tracking().unwrap().content, status(3, 0).tracking);
    assert_eq!(client.peers().unwrap().content, status(3, 1).peers);
    let answer = client.status().unwrap();
    assert_eq!(answer.content, status(3, 2));
    let reading = client.clock_at(41).unwrap();
    assert_eq!((reading.mono_raw_ns, reading.virtual_ns), (41, 42));
    assert!(answer.taken_ns[0] > 0 && answer.taken_ns[0] <= answer.taken_ns[1]);
}

#[test]
fn a_daemon_that_cannot_tell_says_so() {
    let dir = TempDir::new("busy");
    let path = dir.path().join("control.sock");
    let provider = Fake {
        peers: 0,
        asked: Arc::default(),
        working: false,
    };
    let thread = ControlServer::bind(&path).unwrap().spawn(provider);
    let error = Client::connect(&[path]).unwrap().tracking().unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    drop(thread.unwrap());
}

#[test]
fn answers_larger_than_any_buffer_arrive_whole() {
    let served = serve(255);
    let mut client = served.client();
    for sent in 0..20 {
        assert_eq!(client.status().unwrap().content, status(255, sent));
    }
}

#[test]
fn requests_may_come_in_pieces_or_many_at_once() {
    let served = serve(1);
    let mut stream = BufReader::new(served.raw());
    let half: &[u8] = b"{\"version\":1,";
    stream.get_mut().write_all(half).unwrap();
    thread::sleep(Duration::from_millis(20));
    let rest = "\"request\":\"peers\"}\n{\"version\":1,\"request\":\"tracking\"}\r\n".as_bytes();
    stream.get_mut().write_all(rest).unwrap();
    stream.get_mut().shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let replies: Vec<Reply> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(replies.len(), 2);
    assert!(replies[0].peers.is_some() && replies[0].tracking.is_none());
    assert!(replies[1].tracking.is_some() && replies[1].peers.is_none());
}

#[test]
fn garbage_is_refused_and_the_connection_goes_on() {
    let served = serve(0);
    let mut stream = BufReader::new(served.raw());
    for (line, code) in [
        (&b"\n"[..], "malformed"),
        (b"\xff\x00\xfe\n", "malformed"),
        (b"{\"version\":7,\"request\":\"tracking\"}\n", "version"),
        (
            b"{\"version\":1,\"request\":\"shutdown\"}\n",
            "unknown-request",
        ),
    ] {
        stream.get_mut().write_all(line).unwrap();
        assert_eq!(refusal(&mut stream), code);
    }
    stream
        .get_mut()
        .write_all(b"{\"version\":1,\"request\":\"tracking\"}\n")
        .unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("\"reply\":\"tracking\""));
    assert_eq!(served.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_line_without_end_is_refused_and_its_sender_dropped() {
    let served = serve(0);
    let mut stream = BufReader::new(served.raw());
    stream
        .get_mut()
        .write_all(&vec![b'x'; MAX_REQUEST])
        .unwrap();
    assert_eq!(refusal(&mut stream), "too-long");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(served.client().tracking().is_ok());
}

#[test]
fn whoever_does_not_read_holds_up_nobody() {
    let served = serve(255);
    let mut deaf = served.raw();
    deaf.set_nonblocking(true).unwrap();
    // More requests than the socket has room for answers; none is ever read.
    for _ in 0..200 {
        if deaf
            .write_all(b"{\"version\":1,\"request\":\"status\"}\n")
            .is_err()
        {
            break;
        }
    }
    assert!(served.client().status().is_ok());
    let asked = served.asked.load(Ordering::Relaxed);
    assert!(
        asked < 100,
        "{asked} answers were made for somebody who reads none"
    );
}

#[test]
fn one_client_too_many_displaces_the_quietest() {
    let served = serve(0);
    let mut clients: Vec<Client> = (0..40).map(|_| served.client()).collect();
    assert!(clients.last_mut().unwrap().tracking().is_ok());
    let gone = clients.first_mut().unwrap().tracking().unwrap_err();
    assert!(matches!(gone, ClientError::NoDaemon { .. }), "{gone}");
}

#[test]
fn stopping_removes_the_socket_and_ends_connections() {
    let mut served = serve(0);
    let mode = fs::metadata(&served.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut client = served.client();
    drop(served.thread.take());
    assert!(!served.path.exists());
    assert!(matches!(
        client.tracking(),
        Err(ClientError::NoDaemon { .. })
    ));
    let error = Client::connect(std::slice::from_ref(&served.path)).unwrap_err();
    assert!(error.to_string().contains("parisync run"), "{error}");
}

#[test]
fn a_living_daemon_is_not_displaced_a_dead_one_is() {
    let served = serve(0);
    let error = ControlServer::bind(&served.path).unwrap_err();
    assert!(matches!(error, ControlError::AlreadyRunning { .. }));

    let dir = TempDir::new("stale");
    let path = dir.path().join("control.sock");
    // A listener that is dropped leaves its file behind, as a killed daemon does.
    drop(UnixListener::bind(&path).unwrap());
    let server = ControlServer::bind(&path).unwrap();
    assert_eq!(server.path(), path);
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn other_files_are_left_alone() {
    let dir = TempDir::new("file");
    let path = dir.path().join("control.sock");
    fs::write(&path, "precious").unwrap();
    let error = ControlServer::bind(&path).unwrap_err();
    assert!(matches!(error, ControlError::NotASocket { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    // Nor is a socket removed that took the place of ours.
    fs::remove_file(&path).unwrap();
    let server = ControlServer::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
    drop(other);
}

#[test]
fn a_turn_of_somebody_elses_loop_never_waits() {
    let dir = TempDir::new("turn");
    let path = dir.path().join("control.sock");
    let mut server = ControlServer::bind(&path).unwrap();
    let provider = Fake {
        peers: 1,
        asked: Arc::default(),
        working: true,
    };
    let asker = thread::spawn({
        let paths = [path];
        move || Client::connect(&paths).unwrap().tracking().unwrap().content
    });
    while !asker.is_finished() {
        if !server.is_wanted() {
            thread::yield_now();
            continue;
        }
        assert!(!server.turn(Some(Duration::ZERO), None, &provider).unwrap());
    }
    assert_eq!(asker.join().unwrap(), status(1, 0).tracking);
}

#[test]
fn answers_that_make_no_sense_are_named() {
    let dir = TempDir::new("foreign");
    for (n, (answer, wanted)) in [
        ("SSH-2.0\n", "does not speak version 1"),
        ("{\"version\":1}\n", "a part of the answer is missing"),
        (
            "{\"version\":2,\"taken_ns\":[0,0]}\n",
            "it speaks version 2",
        ),
        (
            "{\"version\":1,\"error\":{\"code\":\"x\",\"message\":\"not today\"}}\n",
            "refused: not today",
        ),
        ("", "no daemon answers"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(n.to_string());
        let listener = UnixListener::bind(&path).unwrap();
        let impostor = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = Client::connect(&[path])
            .unwrap()
            .tracking()
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{error}");
        impostor.join().unwrap();
    }
}

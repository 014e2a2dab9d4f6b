//! A small network is recorded and lives again.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::consensus::Ensemble;
use crate::link::{Belief, Exchange, Interval, LinkEstimator, OneSided, OscillatorSpec};
use crate::node::{ClockView, Node, NodeConfig, RawStamp, Strategies};
use crate::testing::TempDir;
use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use crate::topology::{Candidate, FoundBy, NodeId};
use crate::wire::{self, ClockState, MESSAGE_LEN, Message, StampSource};

const NODES: usize = 4;
const DELAY: i64 = 5_000;

fn id(node: usize) -> NodeId {
    NodeId::from_bytes([node as u8 + 1; 32])
}

fn address(node: usize) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, node as u8 + 1), 4711).into()
}

/// Node `node`'s raw clock at true time `at`, ns.
fn raw(node: usize, at: i64) -> RawTime {
    let ppm = [17, -23, 4, -40][node];
    RawTime::from_nanos(1_000_000_000 + at + at / 1_000_000 * ppm)
}

fn stamp(at: RawTime) -> RawStamp {
    RawStamp {
        at,
        error: Span::from_nanos(30),
        source: StampSource::Kernel,
    }
}

fn header(node: usize, config: NodeConfig) -> Header {
    let now = raw(node, 0);
    let epoch = VirtualTime::from_nanos(1_800_000_000_000_000_000 + 70_000_000 * node as i64);
    Header::new(
        id(node),
        Strategies::default(),
        (RawScale::Virtual, None),
        now,
        VirtualLine::new(now, epoch, Rate::from_ppm(0.1)),
        0xdead_beef_0000_0001 + node as u64,
        config,
    )
}

/// A node as `header` says.
fn node<E: LinkEstimator>(header: &Header, kind: E::Kind) -> Node<E, Ensemble> {
    let config = header.config.clone();
    Node::with_strategies(
        config,
        header.now,
        header.line,
        header.seed,
        kind,
        Ensemble::default(),
    )
}

/// Lets four nodes talk for `seconds` and returns the record of the first, and its last clock.
fn recorded(seconds: i64) -> (Vec<u8>, ClockView) {
    let dir = TempDir::new("record");
    let path = dir.path().join("node.rec");
    let header_of = |n| header(n, NodeConfig::default());
    let (recorder, tape) = Recorder::start(&path, &header_of(0)).unwrap();
    let mut tape = Some(tape);
    let mut nodes: Vec<Taped> = (0..NODES)
        .map(|n| Taped::new(node(&header_of(n), ()), tape.take()))
        .collect();
    for (n, node) in nodes.iter_mut().enumerate() {
        for other in (0..NODES).filter(|other| *other != n) {
            node.peer_found(Candidate {
                id: id(other),
                addr: address(other),
                found_by: FoundBy::Lan,
            });
            node.session_up(raw(n, 0), id(other), address(other), true);
        }
    }
    for tick in 1..seconds * 1_000 {
        let at = tick * 1_000_000;
        for (n, node) in nodes.iter_mut().enumerate() {
            if node.node().next_timeout() <= raw(n, at) {
                node.handle_timeout(raw(n, at));
            }
        }
        let mut late = at;
        // Until nobody has anything left to say.
        for _ in 0..4 {
            late += DELAY;
            for n in 0..NODES {
                while let Some(transmit) = nodes[n].poll_transmit(raw(n, late)) {
                    let stamped = stamp(raw(n, late + 1_000));
                    nodes[n].transmitted(transmit.link, transmit.message.seq, stamped);
                    let to = (0..NODES).find(|to| id(*to) == transmit.peer).unwrap();
                    let noise = (tick * 7_919 + n as i64 * 104_729) % 700;
                    let arrives = raw(to, late + DELAY - 1_000 + noise);
                    let message = over_the_wire(&transmit.message);
                    nodes[to].receive(raw(to, late + DELAY), &id(n), &message, stamp(arrives));
                }
            }
        }
        if tick == seconds * 500 {
            nodes[0].slept(raw(0, late + DELAY), Span::from_millis(3));
            nodes[0].peer_moved(&id(1), address(3));
            nodes[0].peer_lost(&id(2), raw(0, late + DELAY));
        }
    }
    let view = nodes[0].node().clock();
    drop(nodes);
    recorder.finish();
    (fs::read(&path).unwrap(), view)
}

fn over_the_wire(message: &Message) -> Message {
    let mut bytes = [0; MESSAGE_LEN];
    wire::encode(message, &mut bytes);
    wire::decode(&bytes).unwrap()
}

fn reader(bytes: &[u8]) -> Result<Reader<&[u8]>, RecordError> {
    Reader::new(bytes, Path::new("f.rec"))
}

fn replayed(bytes: &[u8]) -> Result<Verdict, RecordError> {
    Replay::<_, OneSided, Ensemble>::new(reader(bytes)?, (), Ensemble::default()).finish()
}

fn entries(bytes: &[u8]) -> (Header, Vec<Entry>) {
    let mut reader = reader(bytes).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push(entry);
    }
    (reader.header().clone(), entries)
}

fn rewritten(header: &Header, entries: Vec<Entry>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, header, entries).unwrap();
    bytes
}

#[test]
fn a_replay_shows_every_clock_to_the_last_bit() {
    let (bytes, last) = recorded(8);
    let verdict = replayed(&bytes).unwrap();
    assert!(verdict.is_exact(), "{verdict:?}");
    assert_eq!(verdict.ending, Ending::Closed);
    assert!(verdict.rounds > 20, "{verdict:?}");
    let replay =
        Replay::<_, OneSided, Ensemble>::new(reader(&bytes).unwrap(), (), Ensemble::default());
    let rounds: Vec<Round> = replay.map(Result::unwrap).collect();
    assert_eq!(rounds.len() as u64, verdict.rounds);
    let round = rounds.last().unwrap();
    assert!(same(&round.view, &last) && same(&round.recorded, &last));
    assert_eq!(round.peers.len(), NODES - 1);
    let states: Vec<ClockState> = rounds.iter().map(|round| round.view.state).collect();
    assert!(states.contains(&ClockState::Synchronized), "{states:?}");
    // And written again it is the same file.
    let (header, entries) = entries(&bytes);
    assert_eq!(rewritten(&header, entries), bytes);
}

#[test]
fn a_changed_digit_anywhere_is_noticed() {
    let (bytes, _) = recorded(2);
    let digits = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit());
    let mut tried = 0;
    for at in digits.step_by(397) {
        let mut changed = bytes.clone();
        changed[at] = if changed[at] == b'9' {
            b'1'
        } else {
            changed[at] + 1
        };
        let error = replayed(&changed).expect_err("a digit was changed");
        assert!(error.to_string().contains("f.rec"), "{error}");
        tried += 1;
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn other_inputs_give_another_clock() {
    let (bytes, _) = recorded(3);
    let (header, mut all) = entries(&bytes);
    let stamps = all.iter_mut().filter_map(|entry| match entry {
        Entry::Rx { stamp, .. } => Some(stamp),
        _ => None,
    });
    // From a stamp on that is not forgotten over the sleep.
    stamps.skip(100).for_each(|s| s.at += Span::from_nanos(300));
    let verdict = replayed(&rewritten(&header, all)).unwrap();
    let difference = verdict.difference.unwrap();
    assert!(
        difference.what.contains(" where it had been "),
        "{difference}"
    );
    let (other, entries) = entries(&bytes);
    let other = Header { seed: 1, ..other };
    let verdict = replayed(&rewritten(&other, entries)).unwrap();
    let difference = verdict.difference.unwrap();
    assert!(difference.what.starts_with("sent "), "{difference}");
}

#[test]
fn a_record_is_good_up_to_where_it_was_cut_off() {
    let (bytes, _) = recorded(1);
    let before_end = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|b| *b == b'\n')
        .unwrap();
    let whole = replayed(&bytes[..=before_end]).unwrap();
    assert!(
        whole.is_exact() && whole.ending == Ending::Open,
        "{whole:?}"
    );
    for end in (before_end - 700..before_end).step_by(13) {
        let cut = replayed(&bytes[..end]).unwrap();
        assert!(cut.is_exact(), "{cut:?}");
        let whole_line = bytes[end - 1] == b'\n';
        assert_eq!(cut.ending == Ending::Open, whole_line, "{cut:?}");
    }
}

#[test]
fn nothing_is_claimed_beyond_a_gap() {
    let (bytes, _) = recorded(2);
    let (header, mut all) = entries(&bytes);
    let half = all.len() / 2;
    all.splice(half..half + 9, [Entry::Gap { missing: 9 }]);
    let verdict = replayed(&rewritten(&header, all)).unwrap();
    assert!(verdict.gap.is_some() && !verdict.is_exact(), "{verdict:?}");
    assert_eq!(verdict.difference, None);
}

#[test]
fn what_is_no_record_is_refused_in_words() {
    let refused = |bytes: &[u8]| reader(bytes).unwrap_err().to_string();
    assert_eq!(
        refused(b""),
        "f.rec is no record of `parisync run --record`: it is empty"
    );
    assert!(refused(b"{}").ends_with("its first line is cut off"));
    assert!(refused(b"hello\n").ends_with("its first line is no JSON object"));
    assert!(refused(&[b'x'; 99_999]).ends_with("its first line never ends"));
    assert!(refused(b"{\"record\":\"parisync\",\"format\":1}\n").contains("missing field"));
    let newer = b"{\"record\":\"parisync\",\"format\":2,\"version\":\"9.1\"}\n";
    assert!(refused(newer).ends_with("use the release that recorded it (9.1)"));
    let mut huge = header(0, NodeConfig::default());
    huge.config.candidates = usize::MAX;
    assert!(refused(&rewritten(&huge, vec![])).ends_with("there is no node with as many peers"));
}

#[test]
fn what_is_no_entry_is_refused_with_its_line() {
    let good = rewritten(&header(0, NodeConfig::default()), vec![]);
    let first = good.iter().position(|b| *b == b'\n').unwrap();
    let refused = |line: &str| {
        let text = [&good[..=first], line.as_bytes(), b"\n"].concat();
        replayed(&text).unwrap_err().to_string()
    };
    assert!(refused("{\"k\":\"tock\"}").starts_with("f.rec:2: unknown variant `tock`"));
    assert_eq!(refused("{\"k\":\"tick\"}"), "f.rec:2: missing field `t`");
    let past = refused("{\"k\":\"tick\",\"t\":1}");
    assert_eq!(past, "f.rec:2: time goes back: this was never recorded so");
    assert!(refused(&"9".repeat(99_999)).ends_with("no line of a record is as long"));
    let sum = refused("{\"k\":\"sum\",\"fnv\":\"0123456789abcdef\"}");
    assert!(sum.contains("one of the lines 1 to 2 is not as"), "{sum}");
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let dir = TempDir::new("record");
    let path = dir.path().join("there");
    fs::write(&path, "mine").unwrap();
    let error = Recorder::start(&path, &header(0, NodeConfig::default())).unwrap_err();
    assert!(error.to_string().contains("not there yet"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

/// Takes so many bytes and then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::StorageFull.into()),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_record_and_nothing_else() {
    let header = header(0, NodeConfig::default());
    let (recorder, tape) = Recorder::on(Full(2_000), Path::new("full"), &header).unwrap();
    let mut node: Taped = Taped::new(node(&header, ()), Some(tape));
    for second in 0..10_000 {
        node.handle_timeout(raw(0, second * 1_000_000_000));
    }
    assert_eq!(node.node().clock().as_of, raw(0, 9_999_000_000_000));
    recorder.finish();
    drop(node);
}

/// Never believes anything.
#[derive(Clone)]
struct Blind;

impl LinkEstimator for Blind {
    type Kind = ();
    fn new((): (), _: &OscillatorSpec) -> Self {
        Self
    }
    fn update(&mut self, _: &Exchange) {}
    fn at(&self, _: f64) -> Option<Belief> {
        None
    }
    fn confine(&mut self, _: f64, _: &Interval) {}
}

#[test]
fn other_strategies_at_the_same_pace_send_the_same_packets() {
    let (bytes, _) = recorded(16);
    let (header, entries) = entries(&bytes);
    let mut leader = node::<OneSided>(&header, ());
    let mut follower = node::<Blind>(&header, ());
    let mut alone = node::<Blind>(&header, ());
    let (mut followed, mut strayed) = (0, 0);
    for entry in &entries {
        if let Some(t) = entry.time() {
            follower.keep_pace(leader.pace(t));
        }
        let sent = apply(&mut leader, entry);
        assert_eq!(apply(&mut follower, entry), sent, "{entry:?}");
        followed += usize::from(sent.is_some());
        strayed += usize::from(apply(&mut alone, entry) != sent);
    }
    assert!(followed > 100, "{followed}");
    assert!(strayed > 0, "without the pace it would be too easy");
    assert_eq!(follower.clock().state, ClockState::Unsynchronized);
}

proptest! {
    #[test]
    fn numbers_come_back_as_they_were(
        bits in prop::array::uniform6(any::<u64>()),
        times in prop::array::uniform4(any::<i64>()),
    ) {
        let number = |n: usize| Some(f64::from_bits(bits[n])).filter(|x| x.is_finite()).unwrap_or(-0.0);
        let [a, b, c, d] = times.map(RawTime::from_nanos);
        let line = VirtualLine::new(a, VirtualTime::from_nanos(times[1]), Rate::from_fraction(number(0)))
            .with_fraction(number(1).abs().fract())
            .with_slew_until(Rate::from_fraction(number(2)), b);
        let view = ClockView {
            line,
            as_of: c,
            bound: d - c,
            bound_growth: Rate::from_fraction(number(3)),
            liar_risk: number(4),
            last_offset: number(5),
            ..node::<OneSided>(&header(0, NodeConfig::default()), ()).clock()
        };
        let entry = Entry::Clock { t: RawTime::from_nanos(i64::MAX), view };
        let bytes = rewritten(&header(0, NodeConfig::default()), vec![entry]);
        let (_, entries) = entries(&bytes);
        let Entry::Clock { view: read, .. } = &entries[0] else { panic!("{entries:?}") };
        prop_assert!(same(&view, read), "{view:?} {read:?}");
        prop_assert_eq!(view.last_offset.to_bits(), read.last_offset.to_bits());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = reader(&bytes);
        let good = rewritten(&header(0, NodeConfig::default()), vec![]);
        let _ = replayed(&[&good[..], &bytes].concat());
    }
}

/// Fuzzing starts from it: of another format it would be a waste of time.
#[test]
fn the_fuzzers_seed_is_a_record_of_this_release() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/record/small.rec");
    let mut reader = Reader::open(&path).unwrap();
    let mut received = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        received += usize::from(matches!(entry, Entry::Rx { .. }));
    }
    assert!(received > 5, "{received}");
}

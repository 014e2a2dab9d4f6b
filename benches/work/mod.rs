//! What an estimate costs, as pieces of work that can be timed (`estimates`), whose instructions can
//! be counted (`instructions`) and whose allocations (`tests/allocations.rs`). Each call does the
//! work once, on the next of the same numbers.

use std::hint::black_box;

use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::consensus::{
    Combine, Observation, Reading, Round, Verdict, admit, judge, target, window,
};
use parisync::link::{
    AnyEstimator, Direction, EstimatorKind, Exchange, Floor, Likelihood, Link, LinkEstimator,
    OneSided, OneWay, OscillatorSpec, PathNoise,
};
use parisync::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use parisync::wire::Tier;

const SECOND: i64 = 1_000_000_000;
const NEIGHBOURS: usize = 32;
const ROUNDS: usize = 64;

/// Mean wait of a packet and what it takes without, ns.
const QUEUE: f64 = 1_000.0;
const FLOOR: f64 = 10_000.0;

/// Done this often before it counts: estimators have filled their windows by then.
const SETTLED: usize = 512;

/// One piece of work, with all it needs to be done over and over.
pub(crate) type Work = Box<dyn FnMut()>;

/// A piece of work by name, and what makes it ready.
pub(crate) struct Piece {
    pub(crate) name: String,
    make: Box<dyn Fn() -> Work>,
}

impl Piece {
    fn new<W: FnMut() + 'static>(name: impl Into<String>, make: impl Fn() -> W + 'static) -> Self {
        Self {
            name: name.into(),
            make: Box::new(move || Box::new(make())),
        }
    }

    /// Ready to be counted: done often enough that it is in its steady state.
    pub(crate) fn settled(&self) -> Work {
        let mut work = (self.make)();
        (0..SETTLED).for_each(|_| work());
        work
    }
}

/// All of them.
pub(crate) fn pieces() -> Vec<Piece> {
    let mut pieces = vec![
        Piece::new("link/update", link_update),
        Piece::new("link/estimate", link_estimate),
        Piece::new("link/posterior", posterior),
    ];
    for kind in EstimatorKind::ALL {
        pieces.push(Piece::new(format!("estimator/{kind}"), move || {
            estimator(kind)
        }));
    }
    pieces.push(Piece::new("ensemble/observe", ensemble_observe));
    for kind in CombineKind::ALL {
        pieces.push(Piece::new(format!("combine 32/{kind}"), move || {
            combine(kind)
        }));
    }
    pieces.push(Piece::new("round of 32", whole_round));
    pieces
}

/// The delays of packets that queue, the same ones every time.
struct Delays {
    table: [f64; 1024],
    next: usize,
}

impl Delays {
    fn new(seed: u64) -> Self {
        let mut state = seed;
        let table = std::array::from_fn(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let even = (state >> 11) as f64 / (1_u64 << 53) as f64;
            FLOOR - QUEUE * (1.0 - even).ln()
        });
        Self { table, next: 0 }
    }

    fn next(&mut self) -> f64 {
        self.next += 1;
        self.table[self.next % self.table.len()]
    }
}

/// A link to a peer 10 ppm off, with an exchange each second.
struct Path {
    link: Link<OneSided>,
    delays: Delays,
    at: i64,
}

impl Path {
    fn new() -> Self {
        Self {
            link: Link::new((), OscillatorSpec::default()),
            delays: Delays::new(1),
            at: 0,
        }
    }

    fn exchange(&mut self) {
        self.at += SECOND;
        let theirs = |at: i64| RawTime::from_nanos(at + at / 100_000);
        let (there, back) = (self.delays.next() as i64, self.delays.next() as i64);
        let (sent, turned) = (self.at, self.at + there);
        let error = Span::from_nanos(20);
        let forward = OneWay::forward(RawTime::from_nanos(sent), theirs(turned), error);
        let received = RawTime::from_nanos(turned + back);
        let reverse = OneWay::reverse(theirs(turned), received, error);
        self.link.limit(black_box(&forward));
        self.link.limit(black_box(&reverse));
        black_box(self.link.exchange(&forward, &reverse));
    }
}

fn link_update() -> impl FnMut() {
    let mut path = Path::new();
    move || path.exchange()
}

fn link_estimate() -> impl FnMut() {
    let mut path = Path::new();
    (0..SETTLED).for_each(|_| path.exchange());
    let now = RawTime::from_nanos(path.at + SECOND / 2);
    move || {
        black_box(black_box(&path.link).estimate(black_box(now)));
    }
}

/// What an exchange with these delays says, once the path is known.
fn told(there: f64, back: f64) -> Likelihood {
    Likelihood {
        half_delay: 0.5 * (there + back),
        queue: QUEUE,
        usual: FLOOR + QUEUE,
        jitter: QUEUE / 2f64.sqrt(),
        log_odds: 5.0,
        floor: Floor {
            mean: FLOOR,
            variance: 900.0,
        },
    }
}

fn posterior() -> impl FnMut() {
    let mut delays = Delays::new(2);
    move || {
        let (there, back) = (delays.next(), delays.next());
        let likelihood = told(there, back);
        black_box(black_box(&likelihood).posterior(0.5 * (there - back), 1e4));
    }
}

/// One estimator for an exchange, its two packets included, without the hull.
fn estimator(kind: EstimatorKind) -> impl FnMut() {
    let mut estimator = AnyEstimator::new(kind, &OscillatorSpec::default());
    let (mut delays, mut path, mut at) = (Delays::new(3), PathNoise::default(), 0.0);
    move || {
        at += 1.0;
        let (out, back) = (delays.next(), delays.next());
        for (forward, offset) in [(true, out), (false, -back)] {
            estimator.direction(&Direction {
                forward,
                at,
                offset: 1e4 * at + offset,
                error: 20.0,
            });
        }
        let half_delay = 0.5 * (out + back);
        estimator.update(&Exchange {
            at,
            offset: 1e4 * at + 0.5 * (out - back),
            half_delay,
            stamp_sigma: 10.0,
            likelihood: path.take(half_delay),
        });
        black_box(estimator.at(at));
    }
}

fn line() -> VirtualLine {
    VirtualLine::new(
        RawTime::from_nanos(0),
        VirtualTime::from_nanos(1_800_000_000 * SECOND),
        Rate::ZERO,
    )
}

/// The neighbours of one node, of which one is heard after the other.
struct Neighbourhood {
    combine: AnyCombine,
    line: VirtualLine,
    now: RawTime,
    delays: Delays,
    heard: usize,
    /// Those of so many rounds, which come again; nobody learns them by heart.
    readings: Vec<[Reading; NEIGHBOURS]>,
    rounds: usize,
    verdicts: Vec<Verdict>,
}

impl Neighbourhood {
    fn new(kind: CombineKind) -> Self {
        let mut delays = Delays::new(4);
        let mut reading = |number| {
            let offset = 0.3 * (delays.next() - FLOOR - QUEUE);
            Reading {
                offset,
                sigma: 50.0 + 0.01 * delays.next(),
                lower: offset - 5_000.0,
                upper: offset + 5_000.0,
                rate: 1e-13 * delays.next(),
                rate_sigma: 1e-9,
                raw_rate: 1e-10 * delays.next(),
                ready: true,
                key: 1 + number as u64,
                tier: Tier::NONE,
            }
        };
        let mut readings = || std::array::from_fn(&mut reading);
        let readings = (0..ROUNDS).map(|_| readings()).collect();
        let mut combine = AnyCombine::new(kind, 0);
        combine.join(RawTime::from_nanos(0), &line(), 1e3, 1e-8);
        let mut new = Self {
            combine,
            line: line(),
            now: RawTime::from_nanos(0),
            delays,
            heard: 0,
            readings,
            rounds: 0,
            verdicts: vec![Verdict::NotReady; NEIGHBOURS],
        };
        (0..8 * NEIGHBOURS).for_each(|_| new.hear());
        new
    }

    /// An exchange with the next neighbour.
    fn hear(&mut self) {
        self.heard = (self.heard + 1) % NEIGHBOURS;
        self.now += Span::from_nanos(SECOND / NEIGHBOURS as i64);
        let (there, back) = (self.delays.next(), self.delays.next());
        let (clock, fraction) = self.line.at_exact(self.now);
        let likelihood = told(there, back);
        self.combine.observe(black_box(&Observation {
            key: 1 + self.heard as u64,
            at: self.now,
            clock: (clock, fraction + 0.5 * (there - back)),
            stamp_sigma: 10.0,
            likelihood,
        }));
    }

    fn readings(&self) -> &[Reading] {
        black_box(&self.readings[self.rounds % ROUNDS])
    }

    /// A round a second later.
    fn combine(&mut self) {
        self.now += Span::from_secs(1);
        self.rounds += 1;
        let readings = self.readings[self.rounds % ROUNDS];
        if self.combine.gated() {
            judge(&readings, &mut self.verdicts);
        } else {
            admit(&readings, &mut self.verdicts);
        }
        black_box(self.combine.combine(&Round {
            readings: &readings,
            verdicts: &self.verdicts,
            period: Span::from_secs(1),
            now: self.now,
            line: self.line,
        }));
    }
}

fn ensemble_observe() -> impl FnMut() {
    let mut neighbourhood = Neighbourhood::new(CombineKind::Default);
    neighbourhood.combine();
    move || neighbourhood.hear()
}

/// The verdicts of the gate, if the strategy asks for them, are part of it.
fn combine(kind: CombineKind) -> impl FnMut() {
    let mut neighbourhood = Neighbourhood::new(kind);
    move || neighbourhood.combine()
}

/// All that a node works out in a round by the default strategy.
fn whole_round() -> impl FnMut() {
    let mut neighbourhood = Neighbourhood::new(CombineKind::Default);
    move || {
        neighbourhood.combine();
        let readings = neighbourhood.readings();
        black_box((target(readings, true), window(readings)));
    }
}

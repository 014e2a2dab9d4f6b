//! Coded probe pairs and a support vector machine between the two clouds (Huygens).
//!
//! Source: Y. Geng and others, *Exploiting a natural network effect for scalable, fine-grained clock
//! synchronization*, NSDI 2018. Two probes sent close together whose spacing is preserved found the
//! path alike, and most likely empty: the pair is pure, all others are thrown away. Forward probes
//! then form a cloud above the line of the offset, reverse ones a cloud below it, and a linear
//! soft-margin SVM finds the line in the middle of the widest gap between them.
//!
//! The machine here minimises `Σ max(0, ρ − s_i·(y_i − a − b·t_i))²` over offset a and rate b, with
//! s_i = ±1 for the direction and the margin ρ such that a share ν of the probes are support
//! vectors (ν-parametrisation, B. Schölkopf and others, *New support vector algorithms*, Neural
//! Computation 12(5), 2000), by a few Newton steps in the primal (O. Chapelle, *Training a support
//! vector machine in the primal*, Neural Computation 19(5), 2007): each is a least-squares line
//! through the present support vectors.
//!
//! Wins with one-sided noise: the edges of the clouds are the empty path, and they are found more
//! sharply than any mean. Fails if no burst leaves pairs (it then takes every probe), where noise is
//! two-sided, and it needs several probes for each that counts.

use super::fit::{Fit, Moments, STAMP_FLOOR};
use super::quantile::Quantile;
use super::window::{Sample, Window};
use crate::link::{Belief, Direction, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Probes of one direction closer together than this are a pair, seconds.
const PAIR: f64 = 2e-3;
/// Share of the pairs that are taken for pure.
const PURE: f32 = 0.5;
/// Probes alone in a row after which the peer is taken to send no pairs.
const ALONE: u8 = 8;
/// Probes of both directions between which the line goes at most, and at least.
const MOST: usize = 96;
const FEWEST: usize = 16;
/// Share of the probes that are support vectors.
const SUPPORT: f64 = 0.3;
/// Newton steps for each exchange; they start from the last line.
const STEPS: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Side {
    last: Option<(f64, f64)>,
    tolerance: Quantile,
    alone: u8,
}

impl Side {
    fn new() -> Self {
        Self {
            last: None,
            tolerance: Quantile::new(PURE),
            alone: ALONE,
        }
    }

    /// The pure probe that this packet completes, if it does.
    fn purify(&mut self, packet: &Direction, rate: f64) -> Option<(f64, f64)> {
        let probe = (packet.at, packet.offset);
        let before = self.last.replace(probe);
        let partner = before.filter(|(at, _)| (packet.at - at).abs() < PAIR);
        let Some((at, offset)) = partner else {
            self.alone = (self.alone + 1).min(ALONE);
            return (self.alone == ALONE).then_some(probe);
        };
        self.last = None;
        self.alone = 0;
        let stretch = (packet.offset - offset - rate * (packet.at - at)).abs();
        let pure = stretch <= self.tolerance.get();
        self.tolerance.push(stretch, packet.error.max(1.0));
        // Of the two the one that was quicker by however little.
        let later = (packet.offset < offset) == packet.forward;
        pure.then_some(if later { probe } else { (at, offset) })
    }
}

/// The coded-pairs filter with its support vector machine; see the module's documentation.
#[derive(Debug, Clone)]
pub struct CodedPairs {
    sides: [Side; 2],
    window: Window<MOST>,
}

impl CodedPairs {
    /// Moves the line of the last exchange to the middle of the gap as it is now.
    fn train(&mut self) {
        let window = &mut self.window;
        if window.len() < FEWEST || window.fit().is_none() {
            window.fit_between(FEWEST);
            return;
        }
        for _ in 0..STEPS {
            let Some(line) = window.fit().copied() else {
                return;
            };
            let margin = margin(window, &line);
            let mut support = Moments::default();
            for probe in window.recent(FEWEST) {
                if distance(probe, &line) <= margin {
                    let shift = if probe.forward { margin } else { -margin };
                    let variance = f64::from(probe.variance);
                    support.add(probe.at, probe.offset - shift, variance);
                }
            }
            let fit = Fit::line(&support, &window.prior);
            window.set_fit(fit.map(|fit| fit.shaped_by(SUPPORT)));
        }
    }
}

/// How far on its own side of the line a probe is, ns.
fn distance(probe: &Sample, line: &Fit) -> f64 {
    let residual = line.residual(probe.at, probe.offset);
    if probe.forward { residual } else { -residual }
}

/// The margin within which the wanted share of the probes lies.
fn margin(window: &Window<MOST>, line: &Fit) -> f64 {
    let mut distances = [0.0; MOST];
    let mut count = 0;
    for (slot, probe) in distances.iter_mut().zip(window.recent(FEWEST)) {
        *slot = distance(probe, line);
        count += 1;
    }
    let rank = (SUPPORT * count as f64) as usize;
    let (_, margin, _) = distances[..count].select_nth_unstable_by(rank, f64::total_cmp);
    *margin
}

impl LinkEstimator for CodedPairs {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        Self {
            sides: [Side::new(); 2],
            window: Window::new(spec),
        }
    }

    fn direction(&mut self, packet: &Direction) {
        let side = &mut self.sides[usize::from(packet.forward)];
        if let Some((at, offset)) = side.purify(packet, self.window.rate()) {
            let sigma = packet.error.max(STAMP_FLOOR);
            self.window.push(Sample {
                at,
                offset,
                variance: (sigma * sigma) as f32,
                forward: packet.forward,
            });
        }
    }

    fn update(&mut self, _exchange: &Exchange) {
        self.train();
    }

    fn at(&self, at: f64) -> Option<Belief> {
        self.window.belief(at)
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        self.window.confine(at, interval);
    }
}

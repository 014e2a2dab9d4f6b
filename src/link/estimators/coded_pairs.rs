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
use super::spacing::Spacing;
use super::window::Window;
use crate::link::{Belief, Direction, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Probes of one direction closer together than this are a pair, seconds.
const PAIR: f64 = 2e-3;
/// Probes alone in a row after which the peer is taken to send no pairs.
const ALONE: u8 = 8;
/// Probes of both directions between which the line goes at most, and at least.
const MOST: usize = 96;
const FEWEST: u16 = 16;
/// Share of the probes that are support vectors.
const SUPPORT: f64 = 0.3;
/// Newton steps for each exchange; they start from the last line.
const STEPS: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Side {
    last: Option<Direction>,
    spacing: Spacing,
    alone: u8,
}

impl Side {
    fn new() -> Self {
        Self {
            last: None,
            spacing: Spacing::new(),
            alone: ALONE,
        }
    }

    /// The pure probe that this packet completes, if it does.
    fn purify(&mut self, packet: &Direction, rate: f64) -> Option<Direction> {
        let before = self.last.replace(*packet);
        let partner = before.filter(|p| (packet.at - p.at).abs() < PAIR);
        let Some(partner) = partner else {
            self.alone = (self.alone + 1).min(ALONE);
            return (self.alone == ALONE).then_some(*packet);
        };
        self.last = None;
        self.alone = 0;
        // Of the two the one that was quicker by however little.
        let later = (packet.offset < partner.offset) == packet.forward;
        self.spacing
            .preserved(&partner, packet, rate)
            .then_some(if later { *packet } else { partner })
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
        if window.len() < usize::from(FEWEST) || window.fit().is_none() {
            window.settle();
            window.fit_between(|_| true);
            return;
        }
        for _ in 0..STEPS {
            let Some(line) = window.fit().copied() else {
                return;
            };
            window.settle();
            // Within the margin lies the wanted share of the probes.
            let margin = window.quantile(&line, SUPPORT);
            let mut support = Moments::default();
            for probe in window.recent() {
                if probe.distance(&line) <= margin {
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

impl LinkEstimator for CodedPairs {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        Self {
            sides: [Side::new(); 2],
            window: Window::new(spec, FEWEST),
        }
    }

    fn direction(&mut self, packet: &Direction) {
        let side = &mut self.sides[usize::from(packet.forward)];
        if let Some(probe) = side.purify(packet, self.window.rate()) {
            let sigma = probe.error.max(STAMP_FLOOR);
            self.window
                .push(probe.at, probe.offset, sigma, probe.forward);
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

#[cfg(test)]
mod tests {
    use super::super::testing::exchange;
    use super::*;

    fn probe(forward: bool, at: f64, offset: f64) -> Direction {
        Direction {
            forward,
            at,
            offset,
            error: 20.0,
        }
    }

    #[test]
    fn of_a_pair_one_counts_and_of_a_spread_pair_none() {
        let mut side = Side::new();
        // A peer that sends no pairs: every probe counts.
        assert!(side.purify(&probe(true, 0.0, 900.0), 0.0).is_some());
        // The first pair teaches the tolerance; from then on spacing decides.
        for (k, spread, pure) in [(1, 5.0, false), (2, 8.0, true), (3, 5_000.0, false)] {
            let at = f64::from(k);
            assert!(
                side.purify(&probe(true, at, 1_000.0 + spread), 0.0)
                    .is_none()
                    || k == 1
            );
            let kept = side.purify(&probe(true, at + 2e-4, 1_000.0), 0.0);
            assert_eq!(kept.is_some(), pure, "{k}");
            assert!(
                kept.is_none_or(|kept| kept.offset == 1_000.0),
                "the quicker one"
            );
        }
    }

    #[test]
    fn the_machine_finds_the_middle_of_the_gap() {
        // Above, limits from 2000 ns up; below, from −1000 down, with gaps between them that
        // widen: the mean of the clouds is far from the middle of the gap, 500.
        let mut machine = CodedPairs::new((), &OscillatorSpec::default());
        for k in 0..40 {
            let at = f64::from(k);
            let spread = f64::from((k * 7) % 20);
            for (forward, edge, step) in [(true, 2_000.0, 100.0), (false, -1_000.0, -300.0)] {
                let offset = edge + step * spread;
                machine.direction(&probe(forward, at, offset));
            }
            machine.update(&exchange(at, 0.0, 1_500.0));
        }
        let offset = machine.at(20.0).unwrap().offset;
        // Of 80 probes 24 are support vectors with hinges of equal sums on either side. With the
        // margin ρ these are 2·(ρ − 1500 + δ)²/(2·100) above and 2·(ρ − 1500 − δ)²/(2·300) below,
        // δ from the middle: they are equal for δ = −(ρ − 1500)·(√3 − 1)/(√3 + 1).
        let depth = |delta: f64| -delta * (3f64.sqrt() + 1.0) / (3f64.sqrt() - 1.0);
        let rho = depth(offset - 500.0);
        assert!((500.0..1_600.0).contains(&rho), "{offset} {rho}");
        let means = 0.5 * (2_950.0 - 3_850.0);
        assert!(
            (offset - 500.0).abs() < 0.5 * (offset - means).abs(),
            "{offset}"
        );
    }
}

//! Packets whose interval was preserved were not queued (software stamps, after Machizawa).
//!
//! Source: the idea of A. Machizawa, T. Iwawma and H. Toriyama, *Software-only implementations of
//! slave clocks with sub-microsecond accuracy*, ISPCS 2008: a servo on inter-arrival times that
//! resists queueing, after a detector that filters noise inside the system. (Only the abstract was
//! at hand; the rules here are ours.)
//!
//! Two successive packets of one direction, sent Δs apart, arrive Δr apart; along the line of the
//! rate `Δr − Δs` is the difference of their delays. If it is nearly nothing neither was queued (or,
//! rarely, both alike), and the later one is taken. What «nearly» means follows from the smallest
//! differences that the path shows. Those that are far off the others are left out. A line goes through what was taken, halfway between
//! the two directions.
//!
//! Wins where most packets find the path empty and the others are late by much: software stamps with
//! preemption, switches with cross traffic; and it needs no pairs of packets. Fails with noise that
//! is continuous: equal delays are then no sign of short ones, and most packets are thrown away.

use super::fit::STAMP_FLOOR;
use super::spacing::Spacing;
use super::window::Window;
use crate::link::{Belief, Direction, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Packets of both directions that the line goes through at most, and at least.
const MOST: usize = 96;
const FEWEST: u16 = 12;
/// Packets further than this from the median are left out, in units of the spread below it, where
/// no queue reaches.
const MOST_SIGMAS: f64 = 3.0;
const ONE_SIGMA_BELOW: f64 = 0.16;

/// One direction's last packet and the tolerance of its intervals.
#[derive(Debug, Clone, Copy)]
struct Side {
    last: Option<Direction>,
    spacing: Spacing,
}

/// The packet-interval filter; see the module's documentation.
#[derive(Debug, Clone)]
pub struct PacketInterval {
    sides: [Side; 2],
    window: Window<MOST>,
}

impl LinkEstimator for PacketInterval {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        Self {
            sides: [Side {
                last: None,
                spacing: Spacing::new(),
            }; 2],
            window: Window::new(spec, FEWEST),
        }
    }

    fn direction(&mut self, packet: &Direction) {
        let side = &mut self.sides[usize::from(packet.forward)];
        let rate = self.window.rate();
        let preserved = side
            .last
            .replace(*packet)
            .is_some_and(|before| side.spacing.preserved(&before, packet, rate));
        if preserved || self.window.len() < usize::from(FEWEST) {
            let sigma = side.spacing.tolerance().max(packet.error).max(STAMP_FLOOR);
            self.window
                .push(packet.at, packet.offset, sigma, packet.forward);
        }
    }

    fn update(&mut self, _exchange: &Exchange) {
        let window = &mut self.window;
        window.settle();
        window.fit_between(|_| true);
        if let Some(line) = window.fit().copied() {
            window.settle();
            let middle = window.quantile(&line, 0.5);
            let spread = middle - window.quantile(&line, ONE_SIGMA_BELOW);
            let most = MOST_SIGMAS * spread.max(STAMP_FLOOR);
            window.fit_between(|s| (s.distance(&line) - middle).abs() <= most);
        }
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
    use super::super::testing::{Random, exchange};
    use super::*;

    #[test]
    fn packets_that_were_held_up_leave_no_trace() {
        // Software stamps good to 17 ns; one packet in four is held up by 100 µs or more.
        let mut random = Random::new(6);
        let mut filter = PacketInterval::new((), &OscillatorSpec::default());
        for k in 0..400 {
            let at = f64::from(k);
            let mut packet = |forward: bool| {
                let held = if random.uniform() < 0.25 {
                    100_000.0 + random.exponential(100_000.0)
                } else {
                    0.0
                };
                let delay = 10_000.0 + held + 17.0 * random.gaussian();
                let offset = 3e4 * at + if forward { delay } else { -delay };
                let packet = Direction {
                    forward,
                    at,
                    offset,
                    error: 20.0,
                };
                filter.direction(&packet);
                packet.offset
            };
            let (above, below) = (packet(true), packet(false));
            filter.update(&exchange(at, 0.5 * (above + below), 0.5 * (above - below)));
        }
        let belief = filter.at(399.0).unwrap();
        let error = belief.offset - 3e4 * 399.0;
        assert!(error.abs() < 20.0, "{error}");
        assert!((belief.rate - 30e-6).abs() < 1e-8, "{belief:?}");
    }
}

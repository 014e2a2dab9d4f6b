//! Packets whose interval was preserved were not queued (software stamps, after Machizawa).
//!
//! Source: the idea of A. Machizawa, T. Iwawma and H. Toriyama, *Software-only implementations of
//! slave clocks with sub-microsecond accuracy*, ISPCS 2008: a servo on inter-arrival times that
//! resists queueing, after a detector that filters noise inside the system. (Only the abstract was
//! at hand; the rules here are ours.)
//!
//! Two successive packets of one direction, sent Δs apart, arrive Δr apart; along the line of the
//! rate `Δr − Δs` is the difference of their delays. If it is nearly nothing neither was queued (or,
//! rarely, both alike), and the later one is taken. What «nearly» means follows from the path: the
//! tightest share [`PASS`] of the differences. A line goes through what was taken, halfway between
//! the two directions.
//!
//! Wins where most packets find the path empty and the others are late by much: software stamps with
//! preemption, switches with cross traffic; and it needs no pairs of packets. Fails with noise that
//! is continuous: equal delays are then no sign of short ones, and most packets are thrown away.

use super::fit::STAMP_FLOOR;
use super::quantile::Quantile;
use super::window::{Sample, Window};
use crate::link::{Belief, Direction, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Share of the intervals that pass.
const PASS: f32 = 0.4;
/// Packets of both directions that the line goes through at most, and at least.
const MOST: usize = 96;
const FEWEST: usize = 12;

/// One direction's last packet and the tolerance of its intervals.
#[derive(Debug, Clone, Copy)]
struct Side {
    last: Option<(f64, f64)>,
    tolerance: Quantile,
}

impl Side {
    fn new() -> Self {
        Self {
            last: None,
            tolerance: Quantile::new(PASS),
        }
    }

    /// Whether the packet kept its distance from the one before it.
    fn preserved(&mut self, packet: &Direction, rate: f64) -> bool {
        let Some((at, offset)) = self.last.replace((packet.at, packet.offset)) else {
            return false;
        };
        let stretch = (packet.offset - offset - rate * (packet.at - at)).abs();
        let preserved = stretch <= self.tolerance.get();
        self.tolerance.push(stretch, packet.error.max(1.0));
        preserved
    }
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
            sides: [Side::new(); 2],
            window: Window::new(spec),
        }
    }

    fn direction(&mut self, packet: &Direction) {
        let side = &mut self.sides[usize::from(packet.forward)];
        let preserved = side.preserved(packet, self.window.rate());
        if preserved || self.window.len() < FEWEST {
            let sigma = side.tolerance.get().max(packet.error).max(STAMP_FLOOR);
            self.window.push(Sample {
                at: packet.at,
                offset: packet.offset,
                variance: (sigma * sigma) as f32,
                forward: packet.forward,
            });
        }
    }

    fn update(&mut self, _exchange: &Exchange) {
        self.window.fit_between(FEWEST);
    }

    fn at(&self, at: f64) -> Option<Belief> {
        self.window.belief(at)
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        self.window.confine(at, interval);
    }
}

//! Berthaud's convex closures: the exact hulls of the limits and the line halfway between them.
//!
//! Source: J.-M. Berthaud, *Time synchronization over networks using convex closures*, IEEE/ACM
//! Trans. Networking 8(2), 2000. Forward packets limit the line of the offset from above, reverse
//! ones from below ([`crate::link::OneWay`]). Only the vertices of the lower hull of the former and
//! of the upper hull of the latter matter; a monotone chain (A. M. Andrew, *Another efficient
//! algorithm for convex hulls in two dimensions*, Inf. Proc. Letters 9(5), 1979) keeps them at
//! constant cost a packet. The lines that separate the closures with the extreme slopes give the
//! exact offset and rate intervals, better than any single exchange gives.
//!
//! The estimate is the middle of the widest strip between the closures: the rate b that makes
//! `min_i(U_i − b·t_i) − max_j(L_j − b·t_j)` largest is the slope of an edge of one of them. (The
//! middle of the two separating lines, Berthaud's choice, hangs on the newest packets if delays are
//! long against their noise, since the lines are then steep.)
//!
//! The oscillators leave their line, so the closures reach back only as far as is best for packets
//! with this noise; what is older than that, and what no line is possible with, is dropped from the
//! old end. Wins with one-sided noise (queues): its error falls with the number of packets, not with
//! its root. Fails with two-sided noise and with stamps that err early: one bad vertex stays for the
//! whole window.

use super::fit::{Fit, Prior, STAMP_FLOOR};
use super::quantile::Quantile;
use crate::link::lines::{Fan, Lines, Point};
use crate::link::{Belief, Direction, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Pieces of the window, each with a hull of its own, so that the window can move on without
/// losing what lay behind an old vertex: the hull of the hulls is the hull of all.
const PIECES: usize = 4;
/// Vertices of a piece at most; of n random packets some ln n are vertices.
const MOST: usize = 8;
/// Vertices of a closure at most.
const ALL: usize = PIECES * MOST;
/// The noise of the edge of a cloud is told by two quantiles of the packets' distance from it: one
/// for its scale, a nearer one for how sharp the edge is.
const NEAR: f32 = 0.3;
const NEAREST: f32 = 0.1;
/// Their ratio with exponential noise, whose edge is sharp: ln 0.9/ln 0.7.
const SHARP: f64 = 0.295;
/// Error of a strip's end in units of the mean distance of packets along the edge (simulated, with
/// exponential noise).
const END: f64 = 2.2;
/// The same of its middle, and of its rate times its length.
const MIDDLE: f64 = 1.5;
const TILT: f64 = 6.0;
/// Packets of each direction that the closures reach back at least.
const FEWEST: f64 = 12.0;

/// A lower hull, oldest vertex first.
#[derive(Debug, Clone, Copy)]
struct Chain<const N: usize> {
    vertices: [Point; N],
    len: u8,
}

impl<const N: usize> Chain<N> {
    const fn new() -> Self {
        Self {
            vertices: [Point {
                at: 0.0,
                limit: 0.0,
            }; N],
            len: 0,
        }
    }

    fn vertices(&self) -> &[Point] {
        &self.vertices[..usize::from(self.len)]
    }

    /// Adds a limit; the vertices that are no longer ones go.
    fn push(&mut self, new: Point) {
        // A stamp may come late: what is newer than it is put back on top.
        let newer = self.vertices().iter().rev().take_while(|v| v.at > new.at);
        let keep = usize::from(self.len) - newer.count();
        let aside = *self;
        self.len = keep as u8;
        self.append(new);
        aside.vertices()[keep..]
            .iter()
            .for_each(|v| self.append(*v));
    }

    fn append(&mut self, new: Point) {
        if let [.., last] = self.vertices()
            && last.at == new.at
        {
            if last.limit <= new.limit {
                return;
            }
            self.len -= 1;
        }
        while let [.., a, b] = self.vertices()
            && sag(a, b, &new) <= 0.0
        {
            self.len -= 1;
        }
        if usize::from(self.len) == N {
            self.thin(&new);
        }
        self.vertices[usize::from(self.len)] = new;
        self.len += 1;
    }

    /// Gives up the vertex that says least beside its neighbours. What remains is true, if less.
    fn thin(&mut self, new: &Point) {
        let next = |i: usize| self.vertices.get(i + 1).unwrap_or(new);
        let depth = |i: &usize| sag(&self.vertices[i - 1], &self.vertices[*i], next(*i));
        let least = (1..N).min_by(|i, j| depth(i).total_cmp(&depth(j)));
        self.vertices
            .copy_within(least.unwrap_or(0) + 1.., least.unwrap_or(0));
        self.len -= 1;
    }

    /// The highest line of this slope (ns/s) that no limit is below, at the instant `at`.
    fn support(&self, slope: f64, at: f64) -> f64 {
        let limits = self
            .vertices()
            .iter()
            .map(|v| v.limit + slope * (at - v.at));
        limits.fold(f64::INFINITY, f64::min)
    }

    fn slopes(&self) -> impl Iterator<Item = f64> {
        let edges = self.vertices().windows(2);
        edges.map(|edge| (edge[1].limit - edge[0].limit) / (edge[1].at - edge[0].at))
    }
}

/// How far `b` is below the line from `a` to `c`, ns.
fn sag(a: &Point, b: &Point, c: &Point) -> f64 {
    let share = (b.at - a.at) / (c.at - a.at);
    a.limit + share * (c.limit - a.limit) - b.limit
}

/// One direction's limits. Those from below are kept with their sign turned, so that the least
/// limits matter on either side.
#[derive(Debug, Clone, Copy)]
struct Closure {
    /// Oldest first.
    pieces: [Chain<MOST>; PIECES],
}

impl Closure {
    const fn new() -> Self {
        Self {
            pieces: [Chain::new(); PIECES],
        }
    }

    fn push(&mut self, new: Point) {
        self.pieces[PIECES - 1].push(new);
    }

    /// Begins a new piece if the last one reaches back by a piece's share of `reach` seconds.
    fn turn(&mut self, at: f64, reach: f64) {
        let full = |first: &Point| at - first.at > reach / PIECES as f64;
        if self.pieces[PIECES - 1].vertices().first().is_some_and(full) {
            self.pieces.rotate_left(1);
            self.pieces[PIECES - 1] = Chain::new();
        }
    }

    /// Drops the oldest limits; whether that leaves any.
    fn shorten(&mut self) -> bool {
        let mut filled = self.pieces.iter_mut().filter(|piece| piece.len > 0);
        let oldest = filled.next();
        let more = filled.next().is_some();
        if let Some(oldest) = oldest
            && more
        {
            oldest.len = 0;
        }
        more
    }

    fn hull(&self) -> Chain<ALL> {
        let mut hull = Chain::new();
        let vertices = self.pieces.iter().flat_map(Chain::vertices);
        vertices.for_each(|v| hull.push(*v));
        hull
    }
}

/// The widest strip between the closures.
#[derive(Debug, Clone, Copy)]
struct Strip {
    offset: f64,
    /// ns per second.
    rate: f64,
    half_width: f64,
}

/// The convex closures; see the module's documentation.
#[derive(Debug, Clone)]
pub struct Convex {
    prior: Prior,
    max_rate: f64,
    above: Closure,
    below: Closure,
    /// Distance of the packets from the strip's edge.
    near: Quantile,
    nearest: Quantile,
    pace: Pace,
    /// When the first exchange was, seconds.
    started: f64,
    half_width: f64,
    fit: Option<Fit>,
}

/// How often packets come.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    last: Option<f64>,
    /// Mean pause between the exchanges, seconds.
    pause: f64,
    count: f64,
}

impl Pace {
    fn push(&mut self, at: f64) {
        if let Some(last) = self.last.replace(at) {
            self.count = (self.count + 1.0).min(64.0);
            self.pause += ((at - last).max(0.0) - self.pause) / self.count;
        }
    }
}

impl Convex {
    /// What is possible at `at` if both clocks kept to lines since the oldest vertex; `None` before
    /// there was a packet in each direction.
    pub fn interval(&self, at: f64) -> Option<Interval> {
        let (above, mut below) = (self.above.hull(), self.below.hull());
        below.vertices.iter_mut().for_each(|v| v.limit = -v.limit);
        let known = |hull: &Chain<ALL>| (hull.vertices.map(Fan::from), hull.vertices().len());
        let ((above, n), (below, m)) = (known(&above), known(&below));
        if n == 0 || m == 0 {
            return None;
        }
        let lines = Lines {
            above: &above[..n],
            below: &below[..m],
            max_rate: self.max_rate,
        };
        let [interval] = lines.intervals(&[at]);
        interval
    }

    fn strip(&self, at: f64) -> Strip {
        let (above, below) = (self.above.hull(), self.below.hull());
        let limit = 1e9 * self.max_rate;
        let widest = |rate: f64| {
            let upper = above.support(rate, at);
            let lower = -below.support(-rate, at);
            Strip {
                offset: 0.5 * (upper + lower),
                rate,
                half_width: 0.5 * (upper - lower),
            }
        };
        let slopes = above.slopes().chain(below.slopes().map(|slope| -slope));
        let known = self.fit.map_or(0.0, |fit| fit.rate());
        slopes
            .filter(|slope| slope.abs() <= limit)
            .map(widest)
            .max_by(|a, b| a.half_width.total_cmp(&b.half_width))
            .unwrap_or_else(|| widest(known))
    }

    /// What the mean distance of neighbouring packets along the edge would be if there was one
    /// packet in the window, ns. Where few packets are near the edge (Gaussian noise) it is larger
    /// than the body of the cloud says, by the cube of how blunt the edge is (found by simulation).
    fn scale(&self) -> f64 {
        let near = self.near.get();
        let blunt = (self.nearest.get() / (SHARP * near.max(1.0))).max(1.0);
        (blunt.powi(3) * near / -f64::from(1.0 - NEAR).ln()).max(STAMP_FLOOR)
    }

    fn refit(&mut self, at: f64) {
        let (scale, pause) = (self.scale(), self.pace.pause);
        // (END·scale·pause/T)² + q·T³/105 is least at this T.
        let noise = END * scale * pause;
        let best = (70.0 * noise * noise / self.prior.walk).powf(0.2);
        let reach = best.max(FEWEST * pause).min(at - self.started);
        let mut strip = self.strip(at);
        while strip.half_width < 0.0 && (self.above.shorten() | self.below.shorten()) {
            strip = self.strip(at);
        }
        self.half_width = strip.half_width;
        let count = 1.0 + reach / pause.max(f64::MIN_POSITIVE);
        // A single exchange tells no more than its round trip.
        let unknown = strip.half_width.abs() / (count * count);
        let middle = MIDDLE * scale / count + unknown;
        let tilt = TILT * (scale / count + unknown) / reach.max(f64::MIN_POSITIVE);
        let prior = &self.prior;
        self.fit = Some(Fit::through(
            (at - 0.5 * reach, strip.offset - 0.5 * strip.rate * reach),
            strip.rate,
            (middle, tilt),
            (at - reach, at),
            prior,
        ));
        self.above.turn(at, reach);
        self.below.turn(at, reach);
    }
}

impl LinkEstimator for Convex {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        Self {
            prior: Prior::new(spec),
            max_rate: 2.0 * spec.max_drift.as_fraction(),
            above: Closure::new(),
            below: Closure::new(),
            near: Quantile::new(NEAR),
            nearest: Quantile::new(NEAREST),
            pace: Pace::default(),
            started: f64::INFINITY,
            half_width: f64::INFINITY,
            fit: None,
        }
    }

    fn direction(&mut self, packet: &Direction) {
        let (closure, sign) = if packet.forward {
            (&mut self.above, 1.0)
        } else {
            (&mut self.below, -1.0)
        };
        closure.push(Point {
            at: packet.at,
            limit: sign * packet.offset,
        });
        if let Some(fit) = &self.fit
            && self.pace.count >= FEWEST
        {
            let distance = sign * fit.residual(packet.at, packet.offset) - self.half_width;
            // A packet beyond the edge tells the scale as well if it is the first.
            let first = self.near.get() == 0.0;
            let distance = if first { distance.abs() } else { distance };
            self.near.push(distance, 1.0);
            self.nearest.push(distance, 1.0);
        }
    }

    fn update(&mut self, exchange: &Exchange) {
        self.started = self.started.min(exchange.at);
        self.pace.push(exchange.at);
        self.refit(exchange.at);
    }

    fn at(&self, at: f64) -> Option<Belief> {
        self.fit.map(|fit| fit.belief(at, &self.prior))
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        let prior = self.prior;
        if let Some(fit) = &mut self.fit {
            fit.confine(at, interval, &prior);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, exchange};
    use super::*;

    fn direction(forward: bool, at: f64, offset: f64) -> Direction {
        Direction {
            forward,
            at,
            offset,
            error: 0.0,
        }
    }

    #[test]
    fn bounds_are_better_than_any_exchange_gives() {
        // Truth is 0. Three exchanges, ten seconds apart, each with a round trip of 12 ns.
        let mut convex = Convex::new((), &OscillatorSpec::default());
        for (at, above, below) in [(0.0, 2.0, -10.0), (10.0, 10.0, -2.0), (20.0, 2.0, -10.0)] {
            convex.direction(&direction(true, at, above));
            convex.direction(&direction(false, at, below));
            convex.update(&exchange(at, 0.5 * (above + below), 6.0));
        }
        // The rate lies within ±4 ns in 10 s, by the limits at 10 s and at either end.
        let interval = convex.interval(20.0).unwrap();
        assert!((interval.rate_upper - 0.4e-9).abs() < 1e-20);
        assert!((interval.rate_lower + 0.4e-9).abs() < 1e-20);
        // So the lower limit at 10 s has fallen by 4 ns at most: 8 ns instead of 12.
        assert!((interval.lower + 6.0).abs() < 1e-9 && (interval.upper - 2.0).abs() < 1e-9);
        // The widest strip is level, between 2 and −2.
        let belief = convex.at(20.0).unwrap();
        assert!(belief.offset.abs() < 1e-9 && belief.rate.abs() < 1e-18);
        assert!((convex.half_width - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_chain_is_the_hull_of_all_its_points_in_any_order() {
        let mut random = Random::new(5);
        for _ in 0..50 {
            let mut points: Vec<Point> = (0..40)
                .map(|k| Point {
                    at: f64::from(k),
                    limit: random.exponential(100.0),
                })
                .collect();
            points
                .chunks_exact_mut(10)
                .for_each(|chunk| chunk.swap(8, 9));
            let mut chain = Chain::<ALL>::new();
            points.iter().for_each(|point| chain.push(*point));
            for slope in [-50.0, -3.0, 0.0, 0.7, 20.0] {
                let lines = points.iter().map(|p| p.limit + slope * (100.0 - p.at));
                let least = lines.fold(f64::INFINITY, f64::min);
                assert!((chain.support(slope, 100.0) - least).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_full_chain_gives_up_what_says_least() {
        let mut chain = Chain::<4>::new();
        // All are vertices; the one at 2 is 0.6 below the line between its neighbours, the others
        // more than twice that.
        for (at, limit) in [(0.0, 9.0), (1.0, 4.0), (2.0, 3.9), (3.0, 5.0), (4.0, 9.0)] {
            chain.push(Point { at, limit });
        }
        let kept: Vec<f64> = chain.vertices().iter().map(|v| v.at).collect();
        assert_eq!(kept, [0.0, 1.0, 3.0, 4.0]);
    }
}

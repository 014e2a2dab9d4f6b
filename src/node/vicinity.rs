//! Who is near agrees with us more closely than the network can.
//!
//! Far neighbours are seen through paths whose two directions differ, so two hosts in one room, each
//! with far neighbours of its own, are as far apart as any two in the network: in a wide-area network
//! some hundred µs, although packets between them take a few. So a node keeps some near peers
//! besides, as far as its neighbours are not. What it tells others and takes from them stays its own view of the network's clock
//! (`line`). What its *users* are shown is that shifted by what those near agree on: each tells its
//! shift with every packet and moves its own towards the mean of what the users of those near are
//! shown.
//!
//! *No weight.* The shift enters nobody's `line`, so whoever is near, and anybody can be, steers the
//! network's clock by nothing, and one host no farther than [`REACH`] sigma of what it knows by
//! itself. Coupling moves nobody on the whole: as many are drawn forward as back. A slow return to
//! one's own view ([`LASTING`]) forgets what asymmetries sum up to. The small corrections of `line`
//! are not followed: they are what those near differ by.

use serde::{Deserialize, Serialize};

use super::clock::ClockView;
use super::round::Readings;
use super::slot::Role;
use super::{Event, Node, Size};
use crate::consensus::{self, Combine};
use crate::link::LinkEstimator;
use crate::time::{RawTime, Span, VirtualLine};
use crate::wire::ClockState;

/// Where the typical neighbour is nearer than this, all are.
const FAR: Span = Span::from_millis(1);

/// Near is a round trip so many times shorter than the typical one.
const NEARER: i64 = 8;

/// Exchanges after which a peer that is not near is left alone.
const TRIED: u32 = 8;

/// Share of the way to the others that is gone with each poll.
const GAIN: f64 = 0.4;

/// Polls that a shift lasts without anybody near.
const LASTING: f64 = 500.0;

/// Sigmas of what a node knows by itself that it lets those near draw it.
const REACH: f64 = 4.0;

/// What users are shown moves towards it no faster than this, as a fraction.
const FASTEST: f64 = 10e-6;

/// Pause between two requests for near peers.
const WANT_PAUSE: Span = Span::from_secs(10);

/// What the nodes near us agree on.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Vicinity {
    /// What users are shown, if that is not our line.
    shown: Option<VirtualLine>,
}

impl Vicinity {
    /// What users are shown minus `line`, ours, at `now`, ns.
    pub(super) fn apart(&self, now: RawTime, line: &VirtualLine) -> f64 {
        self.shown.map_or(0.0, |shown| {
            let ((theirs, part), (ours, our_part)) = (shown.at_exact(now), line.at_exact(now));
            (theirs - ours).as_nanos_f64() + (part - our_part)
        })
    }

    /// `view` as users see it. Our bound holds for our line, so theirs is wider.
    pub(super) fn shown(&self, view: &ClockView) -> ClockView {
        let Some(line) = self.shown else {
            return *view;
        };
        let local = self.apart(view.as_of, &view.line);
        // Between these instants both run straight; afterwards they keep their distance.
        let ends = [line.slew().1, view.line.slew().1].map(|end| end.max(view.as_of));
        let apart = ends.map(|end| self.apart(end, &view.line).abs());
        let wider = apart.into_iter().fold(local.abs(), f64::max);
        let bound = if view.bound == Span::MAX {
            Span::MAX
        } else {
            view.bound + Span::from_nanos_f64(wider.ceil())
        };
        ClockView {
            line,
            local,
            bound,
            ..*view
        }
    }

    /// The users of those near are shown `others` against what ours are, ns. A part of a poll,
    /// `share`, will have passed after `period`. By ourselves we know to within `reach` where the
    /// network's clock is.
    fn draw(
        &mut self,
        (now, period): (RawTime, Span),
        line: &VirtualLine,
        others: impl Iterator<Item = f64>,
        share: f64,
        reach: f64,
    ) {
        let mut others = others.peekable();
        if self.shown.is_none() && others.peek().is_none() {
            return;
        }
        let pull = consensus::agreed(others);
        let Some(shown) = self.shown else {
            self.shown = Some(line.stepped(now, pull.clamp(-reach, reach)));
            return;
        };
        let apart = self.apart(now, &line.settled());
        let wanted = apart * (1.0 - share / LASTING) + GAIN * share * pull;
        let most = FASTEST * period.as_nanos_f64();
        let slew = (wanted.clamp(-reach, reach) - apart).clamp(-most, most);
        let moved = shown.with_rate(now, line.rate());
        self.shown = Some(moved.with_slew(now, slew, period));
    }

    /// Our line is `line` from `now` on.
    pub(super) fn follow(&mut self, now: RawTime, line: &VirtualLine) {
        let followed = |shown: VirtualLine| shown.with_rate(now, line.rate());
        self.shown = self.shown.map(followed);
    }
}

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// Look for peers that are near, if neighbours are far away.
    pub(super) fn fill_vicinity(&mut self, now: RawTime) {
        if self.config.near == 0 || self.clock.view.state != ClockState::Synchronized {
            return;
        }
        let trips = self.slots.iter().flatten().filter(|s| s.is_neighbour());
        let Some(near) = nearness(trips.map(|slot| slot.min_rtt)) else {
            return;
        };
        let mut missing = self.config.near;
        for index in 0..self.slots.len() {
            let slot = self.slots[index].as_ref();
            let Some(slot) = slot.filter(|s| s.is_chosen()) else {
                continue;
            };
            if slot.min_rtt <= near || (slot.role == Role::Near && slot.exchanges <= TRIED) {
                missing = missing.saturating_sub(1);
            } else if slot.role == Role::Near {
                self.drop_slot(index, now, true);
            }
        }
        while missing > 0 {
            let random = self.rng.next();
            let Some(candidate) = self.candidates.draw_near(now, random) else {
                break;
            };
            self.choose(candidate, Role::Near, now);
            missing -= 1;
        }
        if missing > 0 && now >= self.next_want_near {
            self.next_want_near = now + WANT_PAUSE;
            self.emit(Event::WantNear(missing));
        }
    }

    /// Where do those near us stand?
    pub(super) fn agree_nearby(&mut self, now: RawTime, period: Span, readings: &Readings) {
        if self.config.near == 0 {
            return;
        }
        let slots = readings.slots().iter();
        let slots = slots.filter_map(|index| self.slots[usize::from(*index)].as_ref());
        // Nobody, if all are.
        let near = nearness(slots.map(|slot| slot.min_rtt)).unwrap_or(Span::ZERO);
        let view = self.clock.view;
        let reach = REACH * view.sigma.as_nanos_f64();
        let specified = self.config.oscillator.wander;
        let wander = self.wander_limit();
        let local = self.clock.vicinity.apart(now, &view.line);
        let mut others = consensus::Sample::new();
        for slot in self.slots.iter_mut().flatten() {
            // A neighbour that happens to be near is as good.
            let counts = slot.is_chosen() && slot.reachable() && slot.is_ready();
            if !counts || slot.min_rtt > near {
                continue;
            }
            if slot.role == Role::Near {
                slot.expect_wander(wander, specified);
            }
            let reading = slot.reading(&view.line, now, &self.config);
            // Who is of quite another opinion of the network's clock is no help.
            let reading = reading.filter(|r| r.offset.abs() <= reach);
            if let Some(reading) = reading {
                others.push(reading.offset + f64::from(slot.local) - local);
            }
        }
        let share = period.as_nanos_f64() / self.poll_period().as_nanos_f64();
        let others = others.values().iter().copied();
        let vicinity = &mut self.clock.vicinity;
        vicinity.draw((now, period), &view.line, others, share, reach);
    }
}

/// The longest round trip that is near, where round trips to neighbours are like these; none if all
/// are.
fn nearness(trips: impl Iterator<Item = Span>) -> Option<Span> {
    let known = trips.filter(|trip| *trip != Span::MAX);
    let mut trips: consensus::Sample = known.map(Span::as_nanos_f64).collect();
    let typical = Span::from_nanos_f64(trips.lower_median()?);
    (typical >= FAR).then(|| typical / NEARER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Rate, VirtualTime};

    const SECOND: Span = Span::from_secs(1);

    fn at(second: i64) -> RawTime {
        RawTime::from_nanos(0) + SECOND * second
    }

    fn line() -> VirtualLine {
        VirtualLine::new(at(0), VirtualTime::from_nanos(0), Rate::from_ppm(7.0))
    }

    #[test]
    fn neighbours_are_near_or_far_by_their_round_trips() {
        let far = [1, 40, 80, 80].map(Span::from_millis);
        assert_eq!(nearness(far.into_iter()), Some(Span::from_millis(5)));
        let lan = [90, 100, 110].map(Span::from_micros);
        assert_eq!(nearness(lan.into_iter()), None);
        assert_eq!(nearness([Span::MAX].into_iter()), None);
    }

    /// Eight in a ring see the network's clock from up to 400 µs before to 400 µs behind where
    /// it is, each hears the two beside it, and another who says `lie`: what all are shown after a
    /// while.
    fn ring(lie: Option<f64>) -> Vec<f64> {
        let own: Vec<f64> = (0..8).map(|n| 400e3 - 800e3 / 7.0 * f64::from(n)).collect();
        let mut all = vec![Vicinity::default(); 8];
        for second in 0..600 {
            let now = at(second);
            let shown: Vec<f64> = (0..8)
                .map(|n| own[n] + all[n].apart(now, &line()))
                .collect();
            for (n, vicinity) in all.iter_mut().enumerate() {
                let beside = [n + 1, n + 7, n + 3, n + 5].map(|m| shown[m % 8] - shown[n]);
                let others = beside.into_iter().chain(lie);
                vicinity.draw((now, SECOND), &line(), others, 1.0, 1e6);
                vicinity.follow(now, &line());
            }
        }
        let now = at(600);
        (0..8)
            .map(|n| own[n] + all[n].apart(now, &line()))
            .collect()
    }

    fn spread(shown: &[f64]) -> f64 {
        let most = shown.iter().copied().fold(f64::MIN, f64::max);
        most - shown.iter().copied().fold(f64::MAX, f64::min)
    }

    #[test]
    fn those_near_agree_where_they_are_on_average() {
        let shown = ring(None);
        assert!(spread(&shown) < 10e3, "{shown:?}");
        let mean = shown.iter().sum::<f64>() / 8.0;
        assert!(mean.abs() < 20e3, "{mean}");
    }

    #[test]
    fn a_liar_among_five_keeps_nobody_apart() {
        for lie in [-1e6, 1e6] {
            assert!(spread(&ring(Some(lie))) < 20e3);
        }
    }

    #[test]
    fn nobody_is_drawn_beyond_its_reach_and_who_is_alone_comes_back() {
        let mut vicinity = Vicinity::default();
        for second in 0..100 {
            let others = [5e6, 5e6, 5e6].into_iter();
            vicinity.draw((at(second), SECOND), &line(), others, 1.0, 1e5);
        }
        let apart = vicinity.apart(at(100), &line());
        assert!((0.99e5..=1.01e5).contains(&apart), "{apart}");
        for second in 100..100 + LASTING as i64 {
            vicinity.draw((at(second), SECOND), &line(), std::iter::empty(), 1.0, 1e5);
        }
        let left = vicinity.apart(at(100 + LASTING as i64), &line()) / apart;
        assert!((0.3..0.45).contains(&left), "{left}");
    }

    #[test]
    fn users_are_told_a_wider_bound() {
        let mut vicinity = Vicinity::default();
        vicinity.draw((at(0), SECOND), &line(), [3_000.0; 3].into_iter(), 1.0, 1e6);
        let mut view = super::super::clock::Clockwork::new(line(), at(0), Rate::ZERO).view;
        view.bound = Span::from_nanos(500);
        let shown = vicinity.shown(&view);
        assert_eq!(
            (shown.local, shown.bound),
            (3_000.0, Span::from_nanos(3_500))
        );
        assert_eq!(Vicinity::default().shown(&view), view);
        // It holds where the shift is on its way to, too.
        vicinity.draw((at(0), SECOND), &line(), [9_000.0; 3].into_iter(), 1.0, 1e6);
        let shown = vicinity.shown(&view);
        let later = vicinity.apart(at(1), &line());
        assert!(later > 4_000.0, "{later}");
        assert_eq!(shown.bound, Span::from_nanos(500 + later.ceil() as i64));
    }
}

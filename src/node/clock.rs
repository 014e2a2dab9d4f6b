//! The virtual clock of a node: its line, its state, its bounds.

use serde::{Deserialize, Serialize};

use super::anchor::Anchor;
use super::promise::Keeper;
use super::round::STREAK;
use super::vicinity::Vicinity;
use crate::consensus::{Window, tolerated_liars};
use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::wire::ClockState;

/// Sigmas of a normal error that it stays within in 99.9 % of all cases.
pub const SIGMAS_99_9: f64 = 3.290_526_731_491_894;

/// The virtual clock as others may use it until the next round: plain data, cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClockView {
    /// The clock itself, over the node's raw clock.
    pub line: VirtualLine,
    /// Of that, what we agreed on with the nodes near us, ns: without it, it would be the network's
    /// clock as this node alone sees it.
    #[serde(default)]
    pub local: f64,
    /// Its state.
    pub state: ClockState,
    /// When the bound was worked out.
    pub as_of: RawTime,
    /// Guaranteed bound at that time; [`Span::MAX`] if none is known.
    pub bound: Span,
    /// How fast the bound grows from then on.
    pub bound_growth: Rate,
    /// Statistical bound at that time: 99.9 % of errors are smaller; [`Span::MAX`] if unknown.
    pub statistical: Span,
    /// How fast that grows from then on.
    pub statistical_growth: Rate,
    /// Expected error as of the last round that corrected the clock, one sigma; [`Span::MAX`] if
    /// unknown.
    pub sigma: Span,
    /// Neighbours whose intervals made the guaranteed bound.
    pub sampled: u16,
    /// Liars among them that it tolerates.
    pub liars: u16,
    /// The probability that more of them lie, if each does with
    /// [`NodeConfig::assumed_liars`](super::NodeConfig::assumed_liars).
    pub liar_risk: f64,
    /// Neighbours heard of late.
    pub heard: u16,
    /// Neighbours used in the last round.
    pub used: u16,
    /// What the last round made of the neighbours: the agreed clock minus ours, ns.
    pub last_offset: f64,
}

impl ClockView {
    /// The guaranteed bound at `raw`, or `None` if none is known.
    pub fn bound_at(&self, raw: RawTime) -> Option<Span> {
        if self.bound == Span::MAX {
            return None;
        }
        let growth = self.bound_growth.over((raw - self.as_of).abs());
        Some(self.bound + Span::from_nanos_f64(growth.ceil()))
    }

    /// The statistical bound at `raw`, which 99.9 % of errors stay within: never wider than the
    /// guaranteed one, and `None` where that is.
    pub fn statistical_at(&self, raw: RawTime) -> Option<Span> {
        let guaranteed = self.bound_at(raw)?;
        if self.statistical == Span::MAX {
            return Some(guaranteed);
        }
        let growth = self.statistical_growth.over((raw - self.as_of).abs());
        Some(guaranteed.min(self.statistical + Span::from_nanos_f64(growth.ceil())))
    }

    /// The expected error at `raw`, one sigma of what [`statistical_at`](Self::statistical_at)
    /// says.
    pub fn sigma_at(&self, raw: RawTime) -> Option<Span> {
        let bound = self.statistical_at(raw)?;
        Some(Span::from_nanos_f64(bound.as_nanos_f64() / SIGMAS_99_9))
    }
}

/// The statistical bound of a clock whose error had the standard deviation `sigma` when it was
/// last corrected, `alone` ago, besides `doubt` ns, and how fast it grows until `ahead` from now.
///
/// A frequency that walks by `wander` per √s is off by `wander·√t` after `t`; a phase that runs
/// with that all the time gathers more than the walk's own `wander·t^(3/2)/√3`.
fn statistical(sigma: Span, doubt: f64, wander: f64, alone: Span, ahead: Span) -> (Span, Rate) {
    if sigma == Span::MAX {
        return (Span::MAX, Rate::ZERO);
    }
    let walked = wander * (alone + ahead).as_secs_f64().max(0.0).sqrt();
    let growth = Rate::from_fraction(SIGMAS_99_9 * walked);
    let now = SIGMAS_99_9 * sigma.as_nanos_f64() + doubt + growth.over(alone);
    (Span::from_nanos_f64(now.ceil()), growth)
}

/// How far the lasting frequency may go.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Leash {
    /// The typical oscillator around us, against ours.
    pub(super) tied: f64,
    /// How far from it, as a fraction.
    pub(super) length: f64,
}

/// Since when more neighbours are missing than may lie: the network can be where they are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Missing {
    /// As many were heard at once.
    most: usize,
    /// When that was last so, but for a few.
    complete: RawTime,
    /// When it last was so at all.
    all: RawTime,
    looked: RawTime,
}

impl Missing {
    /// Who is not heard for so long has left the network.
    const GONE: Span = Span::from_secs(600);
    /// Those who meet again know so many times sooner where they are than they were apart.
    const SOONER: i64 = 8;

    const fn new(now: RawTime) -> Self {
        Self {
            most: 0,
            complete: now,
            all: now,
            looked: now,
        }
    }

    /// So many neighbours are heard at `now`.
    pub(super) fn heard(&mut self, now: RawTime, neighbours: usize) {
        if neighbours >= self.most || now - self.all > Self::GONE {
            (self.most, self.all) = (neighbours, now);
        }
        if neighbours + tolerated_liars(self.most + 1) >= self.most {
            let known = self.complete + (now - self.looked) * Self::SOONER;
            self.complete = now.min(known);
        }
        self.looked = now;
    }

    /// How long they have been missing.
    fn since(&self, now: RawTime) -> Span {
        (now - self.complete).max(Span::ZERO)
    }
}

/// The parts of a node that move its clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Clockwork {
    pub(super) view: ClockView,
    /// Rounds in a row in which joining was as good as done, or the majority was elsewhere.
    pub(super) streak: u8,
    /// Rounds in a row in which more neighbours were elsewhere than can be lying, so that who is
    /// here may be.
    pub(super) beset: u8,
    /// How far apart the others seemed to be in the last round of joining, ns.
    pub(super) scatter: f64,
    /// Rounds since the clock became synchronized.
    pub(super) settled_rounds: u32,
    /// How well it was known then: ns, and as a fraction.
    pub(super) entered_with: (f64, f64),
    /// What others were told of the clock.
    pub(super) promise: Keeper,
    /// When the first neighbour of this join was heard.
    pub(super) joining_since: Option<RawTime>,
    /// When frequencies were first known in this join.
    pub(super) knowing_since: Option<RawTime>,
    pub(super) leash: Option<Leash>,
    /// What the last round with fresh readings guaranteed.
    pub(super) known: Option<Known>,
    /// When the clock was last corrected.
    pub(super) corrected: RawTime,
    /// How far it then stayed from where it should have been, ns.
    pub(super) pending: f64,
    /// How far off it may be by what the others disagree, ns.
    pub(super) doubt: f64,
    /// Those without whom the network may have gone elsewhere.
    pub(super) missing: Missing,
    /// What keeps its frequency near that of the typical oscillator.
    pub(super) anchor: Anchor,
    /// Frequency of true time against our raw clock, where we are a reference; and `None` within
    /// while that is not known.
    pub(super) truth: Option<Option<Rate>>,
    /// What the nodes near us agree on.
    pub(super) vicinity: Vicinity,
}

/// Where the network's clock is, as far as readings guarantee it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Known {
    /// When they were taken.
    pub(super) at: RawTime,
    /// Ours then, without slews: what the window is relative to.
    pub(super) line: VirtualLine,
    pub(super) window: Window,
    /// How fast either end of it moves outwards, as a fraction.
    pub(super) growth: f64,
    /// The same while no reading follows.
    pub(super) carried: f64,
}

impl Known {
    /// How far a clock on `line` can be off at `at`, ns.
    fn bound(&self, line: &VirtualLine, at: RawTime) -> f64 {
        let ((ours, part), (known, known_part)) = (line.at_exact(at), self.line.at_exact(at));
        let moved = (ours - known).as_nanos_f64() + (part - known_part);
        let grown = self.growth.max(self.carried) * (at - self.at).as_nanos_f64();
        (self.window.upper - moved).max(moved - self.window.lower) + grown
    }
}

impl Clockwork {
    pub(super) fn new(line: VirtualLine, now: RawTime, max_correction: Rate) -> Self {
        Self {
            view: ClockView {
                line,
                local: 0.0,
                state: ClockState::Unsynchronized,
                as_of: now,
                bound: Span::MAX,
                bound_growth: Rate::ZERO,
                statistical: Span::MAX,
                statistical_growth: Rate::ZERO,
                sigma: Span::MAX,
                sampled: 0,
                liars: 0,
                liar_risk: 0.0,
                heard: 0,
                used: 0,
                last_offset: 0.0,
            },
            streak: 0,
            beset: 0,
            scatter: f64::INFINITY,
            settled_rounds: 0,
            promise: Keeper::new(now, &line, max_correction, Span::from_secs(1)),
            entered_with: (0.0, 0.0),
            joining_since: None,
            knowing_since: None,
            leash: None,
            known: None,
            corrected: now,
            pending: 0.0,
            doubt: 0.0,
            missing: Missing::new(now),
            anchor: Anchor::default(),
            truth: None,
            vicinity: Vicinity::default(),
        }
    }

    /// Publish the bound at `now` as what is known guarantees it, until `next` and for some time
    /// after.
    pub(super) fn publish_bound(&mut self, now: RawTime, next: RawTime) {
        let view = &mut self.view;
        view.as_of = now;
        let Some(known) = &self.known else {
            view.bound = Span::MAX;
            return;
        };
        let bound = |at: RawTime| known.bound(&view.line, at);
        let (_, slewed) = view.line.slew();
        let later = [slewed, next];
        let slopes = later
            .into_iter()
            .filter(|at| *at > now)
            .map(|at| (bound(at) - bound(now)) / (at - now).as_nanos_f64());
        view.bound_growth =
            Rate::from_fraction(slopes.fold(known.growth.max(known.carried), f64::max));
        view.bound = Span::from_nanos_f64(bound(now).ceil());
    }

    /// Work out the statistical bound as of the last round, the next being `ahead` of it.
    pub(super) fn publish_statistical(&mut self, wander: f64, ahead: Span) {
        let view = &mut self.view;
        let alone = (view.as_of - self.corrected).max(Span::ZERO);
        (view.statistical, view.statistical_growth) = if view.bound == Span::MAX {
            (Span::MAX, Rate::ZERO)
        } else {
            let away = self.missing.since(view.as_of).as_secs_f64();
            // Both parts of a network wander away from each other.
            let parted = 1e9 * wander * away.powf(1.5) * (2f64 / 3.0).sqrt();
            let sigma = view.sigma.as_nanos_f64().hypot(parted);
            let sigma = if view.sigma == Span::MAX {
                Span::MAX
            } else {
                Span::from_nanos_f64(sigma)
            };
            statistical(sigma, self.doubt + self.pending, wander, alone, ahead)
        };
    }

    /// Whether others should take the neighbours' place: joining has taken so long that it must be
    /// their fault, or more of them are elsewhere than can be lying.
    pub(super) fn in_vain(&self, now: RawTime) -> bool {
        /// A network with milliseconds of jitter takes its time as well.
        const PATIENCE: Span = Span::from_secs(120);
        match self.view.state {
            ClockState::Joining => self
                .joining_since
                .is_some_and(|since| now - since > PATIENCE),
            ClockState::Synchronized => self.beset >= STREAK,
            _ => false,
        }
    }

    /// What users are shown.
    pub(super) fn shown(&self) -> ClockView {
        self.vicinity.shown(&self.view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::VirtualTime;

    fn view(statistical: Span) -> ClockView {
        let now = RawTime::from_nanos(0);
        let line = VirtualLine::new(now, VirtualTime::from_nanos(0), Rate::ZERO);
        ClockView {
            bound: Span::from_nanos(1_000),
            bound_growth: Rate::from_ppm(2.0),
            statistical,
            statistical_growth: Rate::from_fraction(1e-7),
            ..Clockwork::new(line, now, Rate::from_ppm(1.0)).view
        }
    }

    #[test]
    fn both_bounds_grow_and_the_statistical_one_stays_within_the_other() {
        let later = RawTime::from_nanos(1_000_000_000);
        let known = view(Span::from_nanos(300));
        assert_eq!(known.bound_at(later), Some(Span::from_nanos(3_000)));
        assert_eq!(known.statistical_at(later), Some(Span::from_nanos(400)));
        let wide = view(Span::from_nanos(5_000));
        assert_eq!(wide.statistical_at(later), Some(Span::from_nanos(3_000)));
        let unknown = view(Span::MAX);
        assert_eq!(unknown.statistical_at(later), Some(Span::from_nanos(3_000)));
        let none = ClockView {
            bound: Span::MAX,
            ..known
        };
        assert_eq!(
            (none.statistical_at(later), none.sigma_at(later)),
            (None, None)
        );
    }

    #[test]
    fn one_sigma_is_what_the_bound_is_made_of() {
        let (bound, growth) = statistical(Span::from_nanos(100), 0.0, 0.0, Span::ZERO, Span::ZERO);
        assert_eq!((bound, growth), (Span::from_nanos(330), Rate::ZERO));
        let sigma = view(bound).sigma_at(RawTime::from_nanos(0));
        assert_eq!(sigma, Some(Span::from_nanos(100)));
    }

    #[test]
    fn more_than_may_lie_are_missed_until_they_are_given_up() {
        let at = |s: i64| RawTime::from_nanos(0) + Span::from_secs(s);
        let mut missing = Missing::new(at(0));
        missing.heard(at(1), 7);
        // Of eight clocks two may lie.
        missing.heard(at(50), 5);
        assert_eq!(missing.since(at(50)), Span::ZERO);
        missing.heard(at(60), 4);
        missing.heard(at(90), 4);
        assert_eq!(missing.since(at(100)), Span::from_secs(50));
        assert_eq!(missing.since(at(108)), Span::from_secs(58));
        missing.heard(at(108), 4);
        missing.heard(at(112), 5);
        assert_eq!(missing.since(at(112)), Span::from_secs(30));
        missing.heard(at(120), 5);
        assert_eq!(missing.since(at(120)), Span::ZERO);
        missing.heard(at(700), 3);
        assert_eq!(missing.since(at(700)), Span::ZERO);
    }

    #[test]
    fn a_clock_that_is_alone_counts_its_wander() {
        // 1e-9 per √s for 99 s and one more: 1e-8, 3.29 sigma of it over 99 s are 3,257.6 ns.
        let (bound, growth) = statistical(
            Span::ZERO,
            100.0,
            1e-9,
            Span::from_secs(99),
            Span::from_secs(1),
        );
        assert_eq!(bound, Span::from_nanos(3_358));
        assert!((growth.as_fraction() - 3.290_5e-8).abs() < 1e-12);
        let (unknown, _) = statistical(Span::MAX, 0.0, 1e-9, Span::from_secs(99), Span::ZERO);
        assert_eq!(unknown, Span::MAX);
    }
}

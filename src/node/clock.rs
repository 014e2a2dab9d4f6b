//! The virtual clock of a node: its line, its state, its bound.

use super::promise::Keeper;
use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::wire::ClockState;

/// The virtual clock as others may use it until the next round: plain data, cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockView {
    /// The clock itself, over the node's raw clock.
    pub line: VirtualLine,
    /// Its state.
    pub state: ClockState,
    /// When the bound was worked out.
    pub as_of: RawTime,
    /// Guaranteed bound at that time; [`Span::MAX`] if none is known.
    pub bound: Span,
    /// How fast the bound grows from then on.
    pub bound_growth: Rate,
    /// Expected error, one sigma; [`Span::MAX`] if unknown.
    pub sigma: Span,
    /// Liars that the bound tolerates.
    pub liars: u16,
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
}

/// The parts of a node that move its clock.
#[derive(Debug, Clone)]
pub(super) struct Clockwork {
    pub(super) view: ClockView,
    /// Rounds in a row in which joining was as good as done, or the majority was elsewhere.
    pub(super) streak: u8,
    /// Rounds since the clock became synchronized.
    pub(super) settled_rounds: u32,
    /// How well it was known then: ns, and as a fraction.
    pub(super) entered_with: (f64, f64),
    /// What others were told of the clock.
    pub(super) promise: Keeper,
    /// When the first neighbour of this join was heard.
    pub(super) joining_since: Option<RawTime>,
    /// Where the frequency's leash is tied: the typical oscillator around us, against ours.
    pub(super) leash: Option<f64>,
    /// The last round with fresh readings, the bound then, and how fast it grew.
    pub(super) last_fresh: RawTime,
    pub(super) fresh_bound: Span,
    pub(super) fresh_growth: Rate,
}

impl Clockwork {
    pub(super) fn new(line: VirtualLine, now: RawTime, max_correction: Rate) -> Self {
        Self {
            view: ClockView {
                line,
                state: ClockState::Unsynchronized,
                as_of: now,
                bound: Span::MAX,
                bound_growth: Rate::ZERO,
                sigma: Span::MAX,
                liars: 0,
                heard: 0,
                used: 0,
                last_offset: 0.0,
            },
            streak: 0,
            settled_rounds: 0,
            promise: Keeper::new(now, max_correction, Span::from_secs(1)),
            entered_with: (0.0, 0.0),
            joining_since: None,
            leash: None,
            last_fresh: now,
            fresh_bound: Span::MAX,
            fresh_growth: Rate::ZERO,
        }
    }

    /// Whether joining has taken so long that it must be the neighbours' fault.
    pub(super) fn joins_in_vain(&self, now: RawTime) -> bool {
        /// A network with milliseconds of jitter takes its time as well.
        const PATIENCE: Span = Span::from_secs(120);
        let joining = self.view.state == ClockState::Joining;
        joining
            && self
                .joining_since
                .is_some_and(|since| now - since > PATIENCE)
    }

    pub(super) const fn view(&self) -> ClockView {
        self.view
    }
}

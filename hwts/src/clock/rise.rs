//! How fast a steered clock ran between two cross-reads, and whether that changed.

use super::CrossRead;

/// A change of the mean rate beyond this between two reads is a step: twice what a kernel's loop
/// can slew.
const STEP_RATE: f64 = 1e-3;
/// The kernel's tick allows ±10 %.
const MAX_RATE: f64 = 0.1;

/// What both clocks gained between two cross-reads, ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rise {
    pub(super) raw: f64,
    pub(super) clock: f64,
    noise: f64,
}

/// By how much a rate changed, as a fraction.
pub(super) struct Change {
    at_least: f64,
    /// Surely no more than this.
    pub(super) at_most: f64,
}

impl Rise {
    /// What is known without any reading: the kernel's frequency range, and a little.
    pub(super) const NOMINAL: Self = Self {
        raw: 1.0,
        clock: 1.0,
        noise: 6e-4,
    };

    pub(super) fn between(from: CrossRead, to: CrossRead) -> Self {
        Self {
            raw: to.a.saturating_sub(from.a).max(1) as f64,
            clock: to.b.saturating_sub(from.b) as f64,
            noise: (from.error + to.error) as f64,
        }
    }

    pub(super) fn slope(self) -> f64 {
        self.clock / self.raw
    }

    pub(super) fn change_since(self, before: Self) -> Change {
        let noise = self.noise / self.raw + before.noise / before.raw;
        let change = (self.slope() - before.slope()).abs();
        Change {
            at_least: (change - noise).max(0.0),
            at_most: change + noise,
        }
    }

    /// Whether no slew explains this: it differs from nominal by more than the kernel can, or from
    /// the rate before by more than clocks that are kept in time do.
    pub(super) fn jumped(self, before: Option<Self>) -> bool {
        self.change_since(Self::NOMINAL).at_least > MAX_RATE
            || before.is_some_and(|before| self.change_since(before).at_least > STEP_RATE)
    }
}

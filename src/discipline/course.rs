//! The rate that makes the clock meet the virtual clock.

use super::clock::ClockTime;
use super::filter::ClockFilter;
use crate::time::{Rate, RawTime, Span, VirtualLine};

/// No virtual clock runs this far from nominal; a line that does is garbage.
const MAX_LINE_RATE: f64 = 0.05;

/// Where the clock is and what it would have to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Course {
    /// The clock minus what it should show, in ns.
    pub offset: f64,
    /// The command that makes it run with the virtual clock's lasting rate.
    pub steady: Rate,
    /// What has to be added until the horizon, relative to nominal, to follow the virtual
    /// clock's own slew and to take out phase; within the limit.
    pub slew: Rate,
}

/// How far ahead to aim and how hard to pull.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aim {
    /// The next update is expected so much later.
    pub horizon: Span,
    /// Share of the offset taken out by then.
    pub gain: f64,
    /// Largest slew, either way.
    pub max_slew: Rate,
}

impl Course {
    /// From the state of the clock and the line it should follow, `shift` ahead of it. None if
    /// the numbers make no sense.
    pub(super) fn plot(
        clock: &ClockFilter,
        line: &VirtualLine,
        shift: Span,
        aim: &Aim,
    ) -> Option<Self> {
        let now = clock.raw();
        let (target, fraction) = shown(line, now, shift);
        let (reading, phase) = clock.reading();
        let offset = (reading - target).as_nanos_f64() + (phase - fraction);

        let (later, later_fraction) = shown(line, now + aim.horizon, shift);
        let gained = (later - target - aim.horizon).as_nanos_f64() + (later_fraction - fraction);
        let horizon = aim.horizon.as_nanos_f64();
        let lasting = line.rate().as_fraction();
        let wanted = gained / horizon - lasting - aim.gain * offset / horizon;
        let slew = Rate::from_fraction(wanted).clamp_abs(aim.max_slew);
        let steady =
            Rate::from_fraction((1.0 + lasting) / (1.0 + clock.base().as_fraction()) - 1.0);

        let sane = lasting.abs() < MAX_LINE_RATE
            && offset.is_finite()
            && slew.as_fraction().is_finite()
            && steady.as_fraction().is_finite();
        sane.then_some(Self {
            offset,
            steady,
            slew,
        })
    }
}

/// What a clock `shift` ahead of the line shows at `raw`, and the nanoseconds beyond that.
fn shown(line: &VirtualLine, raw: RawTime, shift: Span) -> (ClockTime, f64) {
    let (at, fraction) = line.at_exact(raw);
    (ClockTime::from_nanos(at.as_nanos()) + shift, fraction)
}

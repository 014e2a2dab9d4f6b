//! What an experiment makes a node tell others instead of the truth.

use crate::time::{Rate, RawTime, Span, VirtualTime};
use crate::wire::Message;

/// A drifting lie starts anew from zero after this, so that it stays within reason.
const DRIFT_PERIOD: f64 = 1e12;

/// A node that lies announces a clock that is off by `offset` and runs away by `drift`. Its own
/// clock is not touched.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lie {
    /// Offset of the announced clock.
    pub offset: Span,
    /// Drift of the announced clock.
    pub drift: Rate,
}

impl Lie {
    /// Whether there is anything to lie about.
    pub fn is_told(&self) -> bool {
        *self != Self::default()
    }

    /// How far the announced clock is off when the true one shows `truth`.
    pub fn at(&self, truth: VirtualTime) -> Span {
        let running = (truth - VirtualTime::from_nanos(0)).as_nanos_f64() % DRIFT_PERIOD;
        self.offset + Span::from_nanos_f64(self.drift.as_fraction() * running)
    }

    /// Put the lie into `message`, which is about to be sent at `now`.
    pub fn tell(&self, now: RawTime, message: &mut Message) {
        let line = message.line;
        message.line = line
            .with_rate(now, line.rate() + self.drift)
            .stepped(now, self.at(line.at(now)).as_nanos_f64());
    }
}

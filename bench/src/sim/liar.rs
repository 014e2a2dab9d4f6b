//! Nodes that lie, alone or together.

use parisync::node::Lie;
use parisync::time::{RawTime, Span};
use parisync::wire::{ClockState, Message, Tier};
use serde::{Deserialize, Serialize};

use crate::units::{Fraction, Nanos};

/// How some nodes lie; all of them tell the same lie. Their own clocks follow the protocol.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deceit {
    /// How many nodes lie so.
    pub count: usize,
    /// The announced clock is off by this.
    pub offset: Nanos,
    /// The announced clock runs away by this, further and further.
    pub drift: Fraction,
    /// The announced frequency is off by this, while the announced time stays near the truth.
    pub pull: Fraction,
    /// Two faces: hosts with odd numbers are told the opposite offset.
    pub two_faced: bool,
    /// They claim to be synchronized, to a nanosecond, and the root of every tree, whatever they are.
    pub posing: bool,
    /// They hold every packet back for this long after it was stamped.
    pub delay: Nanos,
    /// Until then they are honest, and believed.
    pub after: Nanos,
}

impl Deceit {
    /// By how much the clock told to host `to` is off from the liar's own when that shows `truth`.
    pub fn shift(&self, to: usize, truth: parisync::time::VirtualTime) -> f64 {
        let offset = if self.two_faced && to % 2 == 1 {
            -self.offset.0
        } else {
            self.offset.0
        };
        offset + self.running().at(truth).as_nanos_f64()
    }

    /// Put the lie into `message`, which is about to be sent to host `to` at `raw`.
    pub fn tell(&self, raw: RawTime, to: usize, message: &mut Message) {
        if self.posing {
            message.state = ClockState::Synchronized;
            message.bound = Span::from_nanos(1);
            message.tier = Tier {
                level: 1,
                root: [0; 3],
            };
        }
        let line = message.line;
        let shift = self.shift(to, line.at(raw));
        let rate = line.rate() + self.drift.rate() + self.pull.rate();
        message.line = line.with_rate(raw, rate).stepped(raw, shift);
    }

    fn running(&self) -> Lie {
        Lie {
            offset: Span::ZERO,
            drift: self.drift.rate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parisync::time::{Rate, VirtualLine, VirtualTime};

    fn told(deceit: &Deceit, to: usize) -> Message {
        let origin = RawTime::from_nanos(0);
        let mut message = Message {
            seq: 0,
            wants_reply: false,
            state: ClockState::Joining,
            last_tx: None,
            last_rx: None,
            prior_rx: None,
            line: VirtualLine::new(origin, VirtualTime::from_nanos(0), Rate::ZERO),
            bound: Span::MAX,
            tier: Tier::NONE,
            promise: parisync::wire::Promise::NONE,
            local: Span::ZERO,
            excess: parisync::wire::Excess::UNKNOWN,
        };
        deceit.tell(RawTime::from_nanos(1_000_000_000), to, &mut message);
        message
    }

    #[test]
    fn each_kind_of_lie_arrives() {
        let second = RawTime::from_nanos(1_000_000_000);
        let at = |message: &Message| message.line.at(second).as_nanos();
        let split = Deceit {
            offset: Nanos(300.0),
            two_faced: true,
            posing: true,
            ..Deceit::default()
        };
        assert_eq!(at(&told(&split, 2)), 1_000_000_300);
        assert_eq!(at(&told(&split, 3)), 999_999_700);
        assert_eq!(told(&split, 3).state, ClockState::Synchronized);
        let drifting = Deceit {
            drift: Fraction(200e-6),
            ..Deceit::default()
        };
        let message = told(&drifting, 0);
        // One second into its drift, and running away.
        assert_eq!(at(&message), 1_000_200_000);
        assert!((message.line.rate().as_ppm() - 200.0).abs() < 1e-9);
        assert_eq!(message.state, ClockState::Joining);
        let pulling = Deceit {
            pull: Fraction(40e-9),
            ..Deceit::default()
        };
        let message = told(&pulling, 0);
        assert_eq!(at(&message), 1_000_000_000);
        assert_eq!(message.line.rate(), Rate::from_fraction(40e-9));
    }
}

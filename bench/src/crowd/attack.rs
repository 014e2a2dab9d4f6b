//! What malicious hosts do. They all collude, know the honest clocks exactly, and need no clocks
//! of their own.

use parisync::time::{Rate, RawTime, Span, VirtualLine};
use parisync::wire::{ClockState, Excess, Message, Promise, Tier};
use serde::{Deserialize, Serialize};

use super::clock::Segment;
use super::event::is_among;
use super::identity::scatter;

/// An attack that all malicious hosts join in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// They answer like honest hosts with good clocks
    #[default]
    None,
    /// All are off by one second, the same for everybody
    Far,
    /// All are ahead by as much as honest clocks still are
    Push,
    /// Two faces: ahead for one half of the honest hosts, behind for the other
    Split,
    /// Slightly ahead and slightly fast, always near enough to be believed
    Drag,
    /// Their clocks are right, but they hold every answer back
    Delay,
    /// They repeat for ever what was true at the beginning
    Replay,
    /// As push, and they are all that one honest host in a hundred finds, wherever it looks half
    /// of the time
    Eclipse,
    /// As split, from few blocks of addresses, three identities for each host
    Sybil,
    /// As push, each of them leaving every minute and coming back under another name
    JoinLeave,
}

/// Where the honest clocks are, against what they would show if they were right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Honest {
    /// Median, ns.
    pub(super) median: f64,
    /// A robust standard deviation, ns.
    pub(super) spread: f64,
    /// How fast the median moves, as a fraction.
    pub(super) rate: f64,
    /// When that was, true time in ns.
    pub(super) at: i64,
}

/// How far they go beyond honest clocks, in their standard deviations, and at least so many ns.
const BELIEVABLE: (f64, f64) = (3.0, 50.0);

/// Less conspicuous.
const SLIGHTLY: f64 = 1.0;

/// What a dragger's clock runs too fast.
const FAST: f64 = 0.2e-6;

/// How much too slow they say the common clock is, to have it follow them: as much as can be said.
const EXCESS: f64 = 100e-6;

/// Constant far: so far, ns.
const FAR: f64 = 1e9;

/// Share of a round trip that answers are held back by.
const HELD: f64 = 0.3;

/// Seconds that a changing identity stays.
const STAY: f64 = 60.0;

/// Of the honest hosts this share is eclipsed, and so much of what it looks up leads to liars.
const ECLIPSED: (f64, f64) = (0.01, 0.5);

/// Identities that each Sybil has.
const SYBILS: f64 = 3.0;

impl Attack {
    /// Seconds after which a malicious host comes back under another name, if it does.
    pub(super) fn stay(self) -> Option<f64> {
        (self == Self::JoinLeave).then_some(STAY)
    }

    /// Whether they share few blocks of addresses.
    pub(super) fn is_crowded(self) -> bool {
        self == Self::Sybil
    }

    /// How likely a draw of honest host `victim` ends at a malicious one in place of whom it would
    /// have found, if they own `malicious` of all.
    pub(super) fn poisons(self, victim: u32, malicious: f64) -> f64 {
        match self {
            Self::Eclipse if is_among(victim, 5, ECLIPSED.0) => ECLIPSED.1,
            Self::Sybil => {
                // Of all identities they have more than their share.
                let ids = SYBILS * malicious / (SYBILS * malicious + 1.0 - malicious);
                (ids - malicious) / (1.0 - malicious)
            }
            _ => 0.0,
        }
    }

    /// How long an answer is held back after a round trip of `trip` ns.
    pub(super) fn holds(self, trip: f64) -> f64 {
        match self {
            Self::Delay => HELD * trip,
            _ => 0.0,
        }
    }

    /// What the clock that malicious hosts show to `victim` is off by at true time `at`, ns.
    pub(super) fn shows(self, victim: u32, at: i64, honest: &Honest) -> f64 {
        let truth = honest.median + honest.rate * (at - honest.at) as f64;
        let near = (BELIEVABLE.0 * honest.spread).max(BELIEVABLE.1);
        match self {
            Self::None | Self::Delay => truth,
            Self::Far => truth + FAR,
            Self::Push | Self::Eclipse | Self::JoinLeave => truth + near,
            Self::Split | Self::Sybil if scatter(u64::from(victim)) & 1 == 1 => truth + near,
            Self::Split | Self::Sybil => truth - near,
            Self::Drag => truth + SLIGHTLY * near / BELIEVABLE.0,
            Self::Replay => 0.0,
        }
    }

    /// What a malicious host whose raw clock is `clock` says to `victim` at true time `at`.
    /// `epoch`: what a right clock shows at true time zero.
    pub(super) fn says(
        self,
        clock: &Segment,
        victim: u32,
        at: i64,
        honest: &Honest,
        epoch: i64,
    ) -> Message {
        let error = self.shows(victim, at, honest);
        let fast = match self {
            Self::Drag => FAST,
            // What was right at the beginning runs at its own frequency, not the network's.
            Self::Replay => -honest.rate,
            _ => 0.0,
        };
        let raw = RawTime::from_nanos(clock.read(at) as i64);
        let virtual_now = parisync::time::VirtualTime::from_nanos(epoch + at);
        let rate = (1.0 + honest.rate + fast) / (1.0 + clock.rate) - 1.0;
        let line = VirtualLine::new(raw, virtual_now, Rate::from_fraction(rate));
        // Those near are told as much more as they may believe.
        let (local, excess) = match self {
            Self::None | Self::Delay | Self::Replay => (0.0, Excess::UNKNOWN),
            _ => {
                let local = BELIEVABLE.0 * honest.spread * error.signum();
                (local, Excess::new(-error.signum() * EXCESS))
            }
        };
        Message {
            seq: 0,
            wants_reply: false,
            state: ClockState::Synchronized,
            last_tx: None,
            last_rx: None,
            prior_rx: None,
            line: line.stepped(raw, error),
            bound: Span::from_nanos(1),
            tier: Tier::NONE,
            promise: Promise {
                slack: Span::from_nanos(1),
                rate: Rate::ZERO,
                hold: Span::from_secs(3_600),
                wander: Some(1e-12),
            },
            local: Span::from_nanos_f64(local),
            excess,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Segment = Segment {
        begin: 0,
        start: 5e9,
        rate: 20e-6,
    };
    const HONEST: Honest = Honest {
        median: 1_000.0,
        spread: 100.0,
        rate: 0.0,
        at: 0,
    };

    fn error(attack: Attack, victim: u32, at: i64) -> f64 {
        let message = attack.says(&CLOCK, victim, at, &HONEST, 0);
        // One second later by its own clock.
        let raw = CLOCK.read(at + 1_000_000_000);
        let shown = message.line.at(RawTime::from_nanos(raw as i64));
        shown.as_nanos() as f64 - (at + 1_000_000_000) as f64
    }

    #[test]
    fn each_lies_by_as_much_as_it_says() {
        let at = 10_000_000_000;
        let near = |a: f64, b: f64| (a - b).abs() < 3.0;
        assert!(near(error(Attack::None, 1, at), 1_000.0));
        assert!(near(error(Attack::Push, 1, at), 1_300.0));
        assert!(near(error(Attack::Far, 1, at), 1e9 + 1_000.0));
        assert!(near(error(Attack::Drag, 1, at), 1_300.0));
        let faces: Vec<f64> = (0..20).map(|v| error(Attack::Split, v, at)).collect();
        assert!(faces.iter().any(|e| near(*e, 1_300.0)));
        assert!(faces.iter().any(|e| near(*e, 700.0)));
    }
}

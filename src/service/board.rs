//! Where the core publishes the virtual clock for all other threads: a seqlock of plain words.

use hwts::sync::{SeqReader, SeqWriter, seqlock};

use crate::node::ClockView;
use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use crate::wire::ClockState;

const WORDS: usize = 16;

/// The writing end, owned by the core.
#[derive(Debug)]
pub struct Board {
    writer: SeqWriter<WORDS>,
    last: ClockView,
}

/// A reading end; clone one for each thread.
#[derive(Debug, Clone)]
pub struct BoardReader(SeqReader<WORDS>);

impl Board {
    /// A board that shows `view`, and its first reader.
    pub fn new(view: ClockView) -> (Self, BoardReader) {
        let (writer, reader) = seqlock(to_words(&view));
        (Self { writer, last: view }, BoardReader(reader))
    }

    /// Show `view`, if it is not what is shown already. Returns whether it was news.
    pub fn publish(&mut self, view: ClockView) -> bool {
        let news = view != self.last;
        if news {
            self.writer.write(to_words(&view));
            self.last = view;
        }
        news
    }
}

impl BoardReader {
    /// The virtual clock as last published.
    pub fn read(&self) -> ClockView {
        from_words(self.0.read())
    }
}

fn to_words(view: &ClockView) -> [u64; WORDS] {
    let (origin, epoch, fraction) = view.line.origin();
    let (slew, slew_until) = view.line.slew();
    // A round samples at most 64 neighbours.
    let packed = u64::from(state_code(view.state))
        | u64::from(view.sampled as u8) << 8
        | u64::from(view.liars) << 16
        | u64::from(view.heard) << 32
        | u64::from(view.used) << 48;
    [
        origin.as_nanos() as u64,
        epoch.as_nanos() as u64,
        fraction.to_bits(),
        view.line.rate().as_fraction().to_bits(),
        slew.as_fraction().to_bits(),
        slew_until.as_nanos() as u64,
        packed,
        view.as_of.as_nanos() as u64,
        view.bound.as_nanos() as u64,
        view.bound_growth.as_fraction().to_bits(),
        view.statistical.as_nanos() as u64,
        view.statistical_growth.as_fraction().to_bits(),
        view.liar_risk.to_bits(),
        view.sigma.as_nanos() as u64,
        view.last_offset.to_bits(),
        view.local.to_bits(),
    ]
}

fn from_words(words: [u64; WORDS]) -> ClockView {
    let [
        origin,
        epoch,
        fraction,
        rate,
        slew,
        slew_until,
        packed,
        as_of,
        bound,
        growth,
        statistical,
        statistical_growth,
        liar_risk,
        sigma,
        last_offset,
        local,
    ] = words;
    let raw = |word: u64| RawTime::from_nanos(word as i64);
    let rate_of = |word: u64| Rate::from_fraction(f64::from_bits(word));
    ClockView {
        line: VirtualLine::new(
            raw(origin),
            VirtualTime::from_nanos(epoch as i64),
            rate_of(rate),
        )
        .with_fraction(f64::from_bits(fraction))
        .with_slew_until(rate_of(slew), raw(slew_until)),
        state: state_from(packed as u8),
        as_of: raw(as_of),
        bound: Span::from_nanos(bound as i64),
        bound_growth: rate_of(growth),
        statistical: Span::from_nanos(statistical as i64),
        statistical_growth: rate_of(statistical_growth),
        sigma: Span::from_nanos(sigma as i64),
        sampled: u16::from((packed >> 8) as u8),
        liar_risk: f64::from_bits(liar_risk),
        liars: (packed >> 16) as u16,
        heard: (packed >> 32) as u16,
        used: (packed >> 48) as u16,
        last_offset: f64::from_bits(last_offset),
        local: f64::from_bits(local),
    }
}

fn state_code(state: ClockState) -> u8 {
    let code = ClockState::ALL.iter().position(|s| *s == state);
    code.unwrap_or_default() as u8
}

fn state_from(code: u8) -> ClockState {
    // Only codes that `state_code` gave are ever on the board.
    ClockState::ALL
        .get(usize::from(code))
        .copied()
        .unwrap_or(ClockState::Unsynchronized)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let line = VirtualLine::new(
            RawTime::from_nanos(-5),
            VirtualTime::from_nanos(1_800_000_000_123_456_789),
            Rate::from_ppm(-33.25),
        )
        .stepped(RawTime::from_nanos(77), 0.25)
        .with_slew(RawTime::from_nanos(90), 12.5, Span::from_secs(1));
        let view = ClockView {
            line,
            state: ClockState::Holdover,
            as_of: RawTime::from_nanos(90),
            bound: Span::MAX,
            bound_growth: Rate::from_ppm(2.0),
            statistical: Span::from_nanos(56),
            statistical_growth: Rate::from_ppm(0.5),
            sigma: Span::from_nanos(17),
            sampled: 64,
            liars: 5,
            liar_risk: 0.003_25,
            heard: 16,
            used: 11,
            last_offset: -3.5,
            local: 12.25,
        };
        let (mut board, reader) = Board::new(view);
        assert_eq!(reader.read(), view);
        assert!(!board.publish(view));
        let mut next = view;
        next.state = ClockState::Synchronized;
        next.bound = Span::from_nanos(900);
        assert!(board.publish(next));
        assert_eq!(reader.read(), next);
    }
}

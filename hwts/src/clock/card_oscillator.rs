//! The clock of a network card as the raw clock: nobody steers it, and its stamps need no conversion.

use std::collections::VecDeque;

use super::convert::{ConvertError, Converted};
use super::{PhcConverter, PhcError};
use crate::stamp::Domain;
use crate::sync::{SeqReader, SeqWriter, seqlock};

/// Readings before the clock is used, and the pause between them: they give its first rate.
const FIRST: (u32, std::time::Duration) = (5, std::time::Duration::from_millis(110));
/// Pause before a clock that could not be read is opened again, ns.
const RETRY: i64 = 10_000_000_000;
/// What a new reading says better is made up for within so much time at least, ns,
const CATCH_UP: f64 = 2e8;
/// and no faster than this, as a fraction.
const CATCH_UP_RATE: f64 = 50e-6;
/// Off by more than this and [`STEP_RATE`] of the time since the last reading, a clock was stepped, ns.
const STEP: f64 = 20_000.0;
/// The rate at the last reading is known this well; both oscillators wander a little.
const STEP_RATE: f64 = 5e-6;
/// What happened in a pause of readings as long as this is nobody's business: raw time goes on as it
/// did, ns.
const PAUSE: i64 = 5_000_000_000;
/// The rate is off by no more than this a few seconds after a reading, as a fraction.
const RATE_ERROR: f64 = 1e-7;
/// A card's stamps have so many digits, ns.
const DIGITS: i64 = 1;

/// How a card's clock runs over `CLOCK_MONOTONIC_RAW`, from the last reading on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Course {
    /// `CLOCK_MONOTONIC_RAW` at the last reading.
    mono: i64,
    /// The card then; what is beyond is in `phase`, ns.
    card: i64,
    phase: f64,
    /// The card's against `CLOCK_MONOTONIC_RAW`, as a fraction.
    rate: f64,
    /// What was believed before minus this, at the last reading: given up over
    /// [`catch_up`](Self::catch_up), ns.
    lag: f64,
    /// What the readings scatter, ns.
    scatter: i64,
    /// Number of the `/dev/ptp`.
    index: u32,
}

impl Course {
    const WORDS: usize = 7;

    fn words(self) -> [u64; Self::WORDS] {
        [
            self.mono as u64,
            self.card as u64,
            self.phase.to_bits(),
            self.rate.to_bits(),
            self.lag.to_bits(),
            self.scatter as u64,
            u64::from(self.index),
        ]
    }

    const fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [mono, card, phase, rate, lag, scatter, index] = words;
        Self {
            mono: mono as i64,
            card: card as i64,
            phase: f64::from_bits(phase),
            rate: f64::from_bits(rate),
            lag: f64::from_bits(lag),
            scatter: scatter as i64,
            index: index as u32,
        }
    }

    fn catch_up(&self) -> f64 {
        CATCH_UP.max(self.lag.abs() / CATCH_UP_RATE)
    }

    /// The card when `CLOCK_MONOTONIC_RAW` reads `mono`.
    fn at(&self, mono: i64) -> i64 {
        let since = mono - self.mono;
        let beyond = self.phase + self.rate * since as f64 + self.behind(mono);
        self.card + since + beyond.floor() as i64
    }

    /// What of the lag is left then, ns.
    fn behind(&self, mono: i64) -> f64 {
        let passed = (mono - self.mono) as f64;
        self.lag * (1.0 - (passed / self.catch_up()).clamp(0.0, 1.0))
    }

    /// How far [`at`](Self::at) may be off the card then, ns.
    fn error(&self, mono: i64) -> i64 {
        let aged = RATE_ERROR * (mono - self.mono).abs() as f64;
        let beyond = (self.behind(mono).abs() + aged).ceil() as i64;
        self.scatter.saturating_add(beyond)
    }

    /// `next` without a jump from where this one is then; or by how much it would have jumped, if
    /// that is more than any oscillator does and than the scatter of the readings leaves open.
    fn followed_by(&self, next: Self) -> Result<Self, i64> {
        let passed = next.mono - self.mono;
        let jump = next.card.saturating_sub(self.at(next.mono));
        let open = self.scatter.max(next.scatter) as f64;
        let most = open + STEP + STEP_RATE * passed as f64;
        if passed > PAUSE || (jump as f64).abs() > most {
            return Err(jump);
        }
        let lag = -(jump as f64) - next.phase;
        Ok(Self { lag, ..next })
    }
}

/// Finds the card again, whose `/dev/ptp` may have another number by then; says why it cannot.
pub type FindPhc = Box<dyn FnMut() -> Result<u32, String> + Send>;

/// What happened to a [`CardOscillator`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardEvent {
    /// Somebody stepped the card by so many ns.
    Stepped(i64),
    /// It cannot be read.
    Gone(String),
    /// It can be read again.
    Back,
}

/// The clock of a card, which nobody steers: whoever takes the card's stamps keeps this, and others
/// read it through a [`CardReader`].
///
/// Raw time is the card's own, so its stamps are exact to their digits. Everything else, what it is
/// now and stamps of the kernel, goes by a line through readings against `CLOCK_MONOTONIC_RAW`;
/// what a reading changes is made up for gradually. Should somebody step the card all the same, or
/// should it be gone for a while, raw time goes on by that line, as if nothing had been.
pub struct CardOscillator {
    find: FindPhc,
    converter: Option<PhcConverter>,
    /// When to try again to open it.
    retry: i64,
    /// Raw time minus the card: what it was stepped by.
    shift: i64,
    course: Course,
    writer: SeqWriter<{ Course::WORDS }>,
    reader: CardReader,
    asymmetry: i64,
    /// How well it is known by what it was stepped, ns.
    unsure: i64,
    events: VecDeque<CardEvent>,
}

/// Reads a [`CardOscillator`] from any thread.
#[derive(Debug, Clone)]
pub struct CardReader {
    course: SeqReader<{ Course::WORDS }>,
}

impl CardReader {
    /// Number of its `/dev/ptp`.
    pub fn index(&self) -> u32 {
        Course::from_words(self.course.read()).index
    }

    /// What it reads, in ns, when `CLOCK_MONOTONIC_RAW` reads `mono`.
    #[inline]
    pub fn at(&self, mono: i64) -> i64 {
        Course::from_words(self.course.read()).at(mono)
    }

    /// How far [`at`](Self::at) may be off the card then, ns; by how much its readings are late all
    /// together ([`CardOscillator::asymmetry`]) comes on top.
    pub fn error_at(&self, mono: i64) -> i64 {
        Course::from_words(self.course.read()).error(mono)
    }
}

impl std::fmt::Debug for CardOscillator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CardOscillator")
            .field("course", &self.course)
            .field("shift", &self.shift)
            .finish_non_exhaustive()
    }
}

impl CardOscillator {
    /// Opens the card that is found, and reads it for half a second.
    ///
    /// # Errors
    /// Why it is not found, or what [`PhcError`] says.
    pub fn open(mut find: FindPhc) -> Result<Self, String> {
        let index = find()?;
        Self::begin(index, find).map_err(|error| error.to_string())
    }

    fn begin(index: u32, find: FindPhc) -> Result<Self, PhcError> {
        let mut converter = PhcConverter::open(index)?;
        let (readings, pause) = FIRST;
        for _ in 1..readings {
            std::thread::sleep(pause);
            converter.refresh()?;
        }
        let course = course(&converter, index, 0, 0.0);
        let (writer, reader) = seqlock(course.words());
        Ok(Self {
            find,
            asymmetry: converter.asymmetry(),
            converter: Some(converter),
            retry: i64::MIN,
            shift: 0,
            course,
            writer,
            reader: CardReader { course: reader },
            unsure: 0,
            events: VecDeque::new(),
        })
    }

    /// For other threads.
    pub fn reader(&self) -> CardReader {
        self.reader.clone()
    }

    /// Number of its `/dev/ptp`.
    pub const fn index(&self) -> u32 {
        self.course.index
    }

    /// How much faster it runs than `CLOCK_MONOTONIC_RAW`, as a fraction.
    pub const fn rate(&self) -> f64 {
        self.course.rate
    }

    /// How far raw time may be off what this host's other clocks say, ns: half the width of a
    /// reading.
    pub const fn asymmetry(&self) -> i64 {
        self.asymmetry
    }

    /// Reads the card if the last reading is some time ago.
    pub fn refresh(&mut self) {
        let Some(converter) = &mut self.converter else {
            return self.reopen();
        };
        match converter.refresh() {
            Ok(()) => self.follow(),
            Err(fault) => self.fail(&fault),
        }
    }

    /// Raw time at the event that the card stamped with `nanos`.
    ///
    /// # Errors
    /// See [`ConvertError`]; the stamp must then not be used.
    pub fn convert(&mut self, nanos: i64) -> Result<Converted, ConvertError> {
        let converter = self.converter.as_mut().ok_or(ConvertError::Unreadable)?;
        // Whether it was stepped around the stamp; the line itself is not needed.
        let checked = converter.convert(nanos);
        self.follow();
        checked.map(|_| Converted {
            raw: nanos.saturating_add(self.shift),
            error: DIGITS.saturating_add(self.unsure),
        })
    }

    /// `converted` to `CLOCK_MONOTONIC_RAW` as raw time.
    pub fn over(&self, converted: Converted) -> Converted {
        Converted {
            raw: self.course.at(converted.raw),
            error: converted
                .error
                .saturating_add(self.course.error(converted.raw))
                .saturating_add(self.asymmetry),
        }
    }

    /// What happened to it, each once.
    pub fn next_event(&mut self) -> Option<CardEvent> {
        self.events.pop_front()
    }

    /// Takes in the newest reading.
    fn follow(&mut self) {
        let Some(converter) = &self.converter else {
            return;
        };
        self.asymmetry = converter.asymmetry();
        let next = course(converter, self.course.index, self.shift, self.course.rate);
        if next.mono <= self.course.mono {
            return;
        }
        let paused = next.mono - self.course.mono > PAUSE;
        self.course = match self.course.followed_by(next) {
            Ok(course) => course,
            Err(jump) => {
                if !paused {
                    self.events.push_back(CardEvent::Stepped(jump));
                }
                self.shift = self.shift.saturating_sub(jump);
                self.unsure = self.unsure.max(next.scatter);
                let card = next.card.saturating_sub(jump);
                Course {
                    card,
                    phase: 0.0,
                    ..next
                }
            }
        };
        self.writer.write(self.course.words());
    }

    fn fail(&mut self, fault: &PhcError) {
        self.converter = None;
        self.events.push_back(CardEvent::Gone(fault.to_string()));
        self.retry = Domain::MonotonicRaw.now() + RETRY;
    }

    fn reopen(&mut self) {
        let now = Domain::MonotonicRaw.now();
        if now < self.retry {
            return;
        }
        self.retry = now + RETRY;
        // Why it is not there was said.
        let Ok(index) = (self.find)() else { return };
        if let Ok(converter) = PhcConverter::open(index) {
            self.converter = Some(converter);
            self.course.index = index;
            self.events.push_back(CardEvent::Back);
            self.follow();
        }
    }
}

/// How the card runs by its readings, which are `shift` behind raw time; at `usual` while they are too
/// few to say.
fn course(converter: &PhcConverter, index: u32, shift: i64, usual: f64) -> Course {
    let inverse = converter.inverse(usual);
    Course {
        mono: inverse.mono,
        card: inverse.card.saturating_add(shift),
        phase: inverse.phase,
        rate: inverse.rate,
        lag: 0.0,
        scatter: inverse.scatter,
        index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Course = Course {
        mono: 1_000_000_000,
        card: 1_700_000_000_000_000_000,
        phase: 0.25,
        rate: 20e-6,
        lag: 0.0,
        scatter: 40,
        index: 0,
    };

    /// The same card read `seconds` later, `off` ns ahead of what is believed.
    fn later(seconds: i64, off: i64) -> Course {
        let mono = READ.mono + seconds * 1_000_000_000;
        Course {
            mono,
            card: READ.at(mono) + off,
            phase: 0.0,
            ..READ
        }
    }

    #[test]
    fn it_runs_by_its_rate() {
        assert_eq!(READ.at(READ.mono), READ.card);
        assert_eq!(
            READ.at(READ.mono + 1_000_000_000),
            READ.card + 1_000_020_000
        );
        assert_eq!(READ.at(READ.mono - 1_000_000), READ.card - 1_000_020);
        assert_eq!(Course::from_words(READ.words()), READ);
    }

    #[test]
    fn what_a_reading_changes_is_made_up_for_gradually() {
        for off in [700, -700] {
            let next = later(1, off);
            let course = READ.followed_by(next).unwrap();
            assert!((course.at(next.mono) - READ.at(next.mono)).abs() <= 1);
            let mut last = course.at(next.mono);
            for step in 1..=40 {
                let reading = course.at(next.mono + step * 10_000_000);
                assert!((reading - last - 10_000_200).abs() <= 40, "{reading}");
                last = reading;
            }
            let there = next.mono + 400_000_000;
            assert!((course.at(there) - next.at(there)).abs() <= 1);
        }
        // Ten microseconds take as long as they must.
        let course = READ.followed_by(later(1, 10_000)).unwrap();
        let after = |ns: i64| course.at(course.mono + ns) - READ.at(course.mono + ns);
        assert!((after(100_000_000) - 5_000).abs() <= 2);
        assert!((after(200_000_000) - 10_000).abs() <= 2);
        let course = READ.followed_by(later(1, 18_000)).unwrap();
        let after = |ns: i64| course.at(course.mono + ns) - READ.at(course.mono + ns);
        assert!((after(200_000_000) - 10_000).abs() <= 2);
    }

    #[test]
    fn a_step_is_told_from_drift() {
        for jump in [50_000, -50_000, 50_000_000, -READ.card] {
            assert_eq!(READ.followed_by(later(1, jump)), Err(jump));
        }
        // In some seconds an oscillator may gain a little.
        assert!(READ.followed_by(later(4, 30_000)).is_ok());
        assert_eq!(READ.followed_by(later(0, 30_000)), Err(30_000));
        // Whatever it was after a pause, raw time does not know.
        assert_eq!(READ.followed_by(later(60, 30_000)), Err(30_000));
    }

    #[test]
    fn what_is_not_known_is_told() {
        assert_eq!(READ.error(READ.mono), 40);
        assert_eq!(READ.error(READ.mono + 1_000_000_000), 140);
        let course = READ.followed_by(later(1, 10_000)).unwrap();
        assert!((10_039..=10_042).contains(&course.error(course.mono)));
        assert_eq!(course.error(course.mono + 1_000_000_000), 140);
    }

    #[test]
    fn a_missing_card_is_an_error() {
        let missing = CardOscillator::open(Box::new(|| Ok(4_000_000)));
        assert!(missing.is_err_and(|why| why.contains("ptp4000000")));
        let unknown = CardOscillator::open(Box::new(|| Err("nobody knows".to_owned())));
        assert!(unknown.is_err_and(|why| why == "nobody knows"));
    }
}

//! What a node steers, on which raw clock, and from what time it starts.

use hwts::Domain;
use hwts::clock::{CardOscillator, Oscillator, OscillatorSpec, RawClock, VirtualClock};

use super::steer::Steered;
use crate::discipline::{FindCard, HostClock, Settings, tai_minus_utc};
use crate::time::{Rate, Span, VirtualTime};

/// How bad a virtual oscillator is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flaws {
    /// Initial offset.
    pub offset: Span,
    /// Frequency error.
    pub drift: Rate,
    /// Random walk of the frequency, fraction per √s.
    pub wander: f64,
    /// Seed of the random walk.
    pub seed: u64,
}

/// The clocks of a node.
#[derive(Debug)]
pub struct Clockface {
    /// Its raw clock.
    pub raw: RawClock,
    /// If that is a card's: what follows it.
    pub card: Option<CardOscillator>,
    /// What its virtual clock starts from.
    pub start: VirtualTime,
    /// What it steers, if anything.
    pub steered: Option<Steered>,
}

impl Clockface {
    /// This host's oscillator, and nothing to steer.
    pub fn measuring() -> Self {
        Self {
            raw: RawClock::Monotonic,
            card: None,
            start: realtime(),
            steered: None,
        }
    }

    /// The same with the oscillator of `card`, which nobody steers.
    pub fn over(self, card: CardOscillator) -> Self {
        Self {
            raw: RawClock::Card(card.reader()),
            card: Some(card),
            ..self
        }
    }

    /// This host's oscillator and system clock.
    pub fn system(settings: Settings) -> Self {
        let settings = Settings {
            shown_minus_virtual: -tai_minus_utc(),
            ..settings
        };
        Self {
            steered: Some(Steered {
                name: "system".to_owned(),
                clock: HostClock::system(),
                settings,
                reader: None,
            }),
            ..Self::measuring()
        }
    }

    /// This host's oscillator and the clock of a network card, which `find` opens and that is
    /// called `name`.
    ///
    /// # Errors
    /// What `find` says.
    pub fn card(name: String, find: FindCard, settings: Settings) -> Result<Self, String> {
        Ok(Self {
            steered: Some(Steered {
                name,
                clock: HostClock::card(find)?,
                settings,
                reader: None,
            }),
            ..Self::measuring()
        })
    }

    /// A virtual oscillator with `flaws` over this host's, and a clock of our own over it.
    pub fn flawed(flaws: &Flaws, settings: Settings) -> Self {
        let raw = RawClock::from(Oscillator::new(OscillatorSpec {
            start: Domain::MonotonicRaw.now(),
            offset: flaws.offset.as_nanos(),
            ppm: flaws.drift.as_ppm(),
            walk: flaws.wander,
            seed: flaws.seed,
        }));
        let start = realtime() + flaws.offset;
        let clock = VirtualClock::new(raw.clone(), start.as_nanos());
        Self {
            raw,
            card: None,
            start,
            steered: Some(Steered {
                name: "virtual".to_owned(),
                reader: Some(clock.reader()),
                clock: HostClock::virtual_clock(clock),
                settings,
            }),
        }
    }
}

/// `CLOCK_REALTIME` on the scale of the virtual clock.
fn realtime() -> VirtualTime {
    VirtualTime::from_nanos(Domain::Realtime.now()) + tai_minus_utc()
}

//! Stamps of whatever clock on the raw timescale.

use super::{
    CardEvent, CardOscillator, ConvertError, Converted, PhcConverter, PhcError, StampConverter,
};
use crate::stamp::{Domain, Source, Stamp};

/// A card that stamped further than this from when the kernel did was not that card, or is out of
/// its mind, ns.
const PLAUSIBLE: i64 = 100_000_000;
/// Pause before a card's clock that could not be opened is tried again, ns.
const RETRY: i64 = 10_000_000_000;

/// Converts stamps of the kernel and of any number of cards to raw time: `CLOCK_MONOTONIC_RAW`, or the
/// clock of a card that nobody steers.
///
/// Each card's clock is related to the raw clock by readings of its own, so cards need not agree.
/// The raw time that comes out is as the first card sees it, up to half the width of a reading off
/// ([`asymmetry`](Self::asymmetry)): its own stamps do not know the difference, stamps of the kernel
/// and of other cards are given it as an error.
#[derive(Debug)]
pub struct Timebase {
    /// The card whose clock is raw time, if one is.
    own: Option<CardOscillator>,
    realtime: StampConverter,
    cards: Vec<Card>,
}

#[derive(Debug)]
struct Card {
    phc: u32,
    converter: Option<PhcConverter>,
    /// When to try again to open it.
    retry: i64,
    /// Why it cannot be read, not reported yet.
    fault: Option<PhcError>,
}

impl Default for Timebase {
    fn default() -> Self {
        Self::new()
    }
}

impl Timebase {
    /// Knows the kernel's stamps only; cards are opened as they are needed.
    pub fn new() -> Self {
        Self {
            own: None,
            realtime: StampConverter::new(Domain::Realtime),
            cards: Vec::new(),
        }
    }

    /// Raw time is that of `card`.
    pub fn over(card: CardOscillator) -> Self {
        Self {
            own: Some(card),
            ..Self::new()
        }
    }

    /// Opens `/dev/ptp` number `phc` before its first stamp comes, as long as there is the
    /// permission to. Whether it could be; why not says [`next_fault`](Self::next_fault).
    pub fn open(&mut self, phc: u32) -> bool {
        if self.is_own(phc) {
            return true;
        }
        let at = self.card(phc);
        self.reopen(at)
    }

    /// Compares clocks. Call it around every wait for packets.
    pub fn refresh(&mut self) {
        self.realtime.refresh();
        if let Some(own) = &mut self.own {
            own.refresh();
        }
        for card in &mut self.cards {
            if let Some(converter) = &mut card.converter
                && let Err(fault) = converter.refresh()
            {
                card.fail(fault);
            }
        }
    }

    /// How far raw times may be off all together, ns; 0 without cards.
    pub fn asymmetry(&self) -> i64 {
        self.own
            .as_ref()
            .map_or_else(|| self.unseen(), CardOscillator::asymmetry)
    }

    /// What happened to the card that is raw time, each once.
    pub fn next_event(&mut self) -> Option<CardEvent> {
        self.own.as_mut()?.next_event()
    }

    /// Why a card's clock cannot be read: once each time it fails.
    pub fn next_fault(&mut self) -> Option<PhcError> {
        self.cards.iter_mut().find_map(|card| card.fault.take())
    }

    /// The raw instant of `stamp`, and where it was taken. If it is a card's that is of no use, that
    /// of the kernel `beside` it.
    ///
    /// # Errors
    /// See [`ConvertError`]; the stamps must then not be used.
    pub fn convert(
        &mut self,
        stamp: Stamp,
        beside: Option<Stamp>,
    ) -> Result<(Converted, Source), ConvertError> {
        let Domain::Phc(phc) = stamp.domain else {
            return Ok((self.of_kernel(stamp)?, stamp.source));
        };
        let beside = beside.map(|kernel| self.of_kernel(kernel));
        let card = match &mut self.own {
            Some(own) if own.index() == phc => own.convert(stamp.nanos),
            _ => self.of_card(phc, stamp.nanos),
        };
        match (card, beside) {
            (Ok(card), Some(Ok(kernel))) if card.raw.abs_diff(kernel.raw) > PLAUSIBLE as u64 => {
                Ok((kernel, Source::Kernel))
            }
            (Ok(card), _) => Ok((card, stamp.source)),
            (Err(_), Some(kernel)) => Ok((kernel?, Source::Kernel)),
            (Err(e), None) => Err(e),
        }
    }

    fn of_kernel(&mut self, stamp: Stamp) -> Result<Converted, ConvertError> {
        let converted = self.realtime.convert(stamp)?;
        Ok(self.over_own(Converted {
            error: converted.error.saturating_add(self.unseen()),
            ..converted
        }))
    }

    /// What was converted to `CLOCK_MONOTONIC_RAW` as raw time.
    fn over_own(&self, converted: Converted) -> Converted {
        let own = self.own.as_ref();
        own.map_or(converted, |own| own.over(converted))
    }

    /// How far raw time may be off as the first of the cards sees it, ns: nothing where it is a card's
    /// own.
    fn unseen(&self) -> i64 {
        if self.own.is_some() {
            return 0;
        }
        let first = self.cards.iter().find_map(|card| card.converter.as_ref());
        first.map_or(0, PhcConverter::asymmetry)
    }

    fn is_own(&self, phc: u32) -> bool {
        self.own.as_ref().is_some_and(|own| own.index() == phc)
    }

    fn of_card(&mut self, phc: u32, nanos: i64) -> Result<Converted, ConvertError> {
        let at = self.card(phc);
        if self.cards[at].converter.is_none() && !self.reopen(at) {
            return Err(ConvertError::Unreadable);
        }
        let first = self.cards.iter().position(|card| card.converter.is_some());
        let other = if first == Some(at) && self.own.is_none() {
            0
        } else {
            let own = self.cards[at].converter.as_ref();
            self.unseen() + own.map_or(0, PhcConverter::asymmetry)
        };
        let converter = self.cards[at].converter.as_mut();
        let converted = converter.ok_or(ConvertError::Unreadable)?.convert(nanos)?;
        Ok(self.over_own(Converted {
            error: converted.error.saturating_add(other),
            ..converted
        }))
    }

    fn card(&mut self, phc: u32) -> usize {
        let known = self.cards.iter().position(|card| card.phc == phc);
        known.unwrap_or_else(|| {
            self.cards.push(Card {
                phc,
                converter: None,
                retry: i64::MIN,
                fault: None,
            });
            self.cards.len() - 1
        })
    }

    fn reopen(&mut self, at: usize) -> bool {
        let card = &mut self.cards[at];
        if card.converter.is_none() && Domain::MonotonicRaw.now() >= card.retry {
            match PhcConverter::open(card.phc) {
                Ok(converter) => card.converter = Some(converter),
                Err(fault) => card.fail(fault),
            }
        }
        card.converter.is_some()
    }
}

impl Card {
    fn fail(&mut self, fault: PhcError) {
        // Not permitted today is not permitted in ten seconds: say it once.
        if self.retry == i64::MIN || self.converter.is_some() {
            self.fault = Some(fault);
        }
        self.converter = None;
        self.retry = Domain::MonotonicRaw.now() + RETRY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: u32 = 4_000_000;

    fn stamp(domain: Domain, nanos: i64) -> Stamp {
        Stamp {
            nanos,
            domain,
            source: match domain {
                Domain::Phc(_) => Source::Hardware,
                _ => Source::Kernel,
            },
        }
    }

    #[test]
    fn without_its_card_a_stamp_gives_way_to_the_kernels() {
        let mut base = Timebase::new();
        let kernel = stamp(Domain::Realtime, Domain::Realtime.now());
        let card = stamp(Domain::Phc(MISSING), 5);
        let (converted, source) = base.convert(card, Some(kernel)).unwrap();
        assert_eq!(source, Source::Kernel);
        assert_eq!(base.convert(kernel, None), Ok((converted, Source::Kernel)));
        assert_eq!(base.convert(card, None), Err(ConvertError::Unreadable));
        assert!(matches!(base.next_fault(), Some(PhcError::Missing(_))));
        assert!(base.next_fault().is_none());
        assert!(!base.open(MISSING));
        assert_eq!(base.asymmetry(), 0);
    }
}

//! One card, and what is wanted of it.

use super::note::CardFallback;
use crate::stamp::{Domain, Source, Stamp};
use crate::transport::tx::Losses;

/// What is wanted of one card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardWish {
    /// The interface.
    pub interface: String,
    /// Use its stamps; otherwise the kernel's.
    pub hardware: bool,
    /// Added to its transmit stamps, ns: from where it stamps to the wire.
    pub tx_compensation: i64,
    /// Taken off its receive stamps, ns: from the wire to where it stamps.
    pub rx_compensation: i64,
    /// Stamps asked of it at once at most; none: found out.
    pub in_flight: Option<u32>,
}

/// A card whose stamps are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Number of its interface.
    pub index: u32,
    /// Its interface.
    pub interface: String,
    /// Its clock, N of `/dev/ptpN`.
    pub phc: u32,
    /// Why its stamps are not used at the moment.
    pub fallback: Option<CardFallback>,
    /// Stamps asked of it at once at most.
    pub in_flight: u32,
    pub(super) tx_compensation: i64,
    pub(super) rx_compensation: i64,
    pub(super) tx_losses: Losses,
    pub(super) rx_losses: Losses,
    pub(super) next_trial: i64,
}

impl Card {
    pub(super) const fn stamp(&self, nanos: i64) -> Stamp {
        Stamp {
            nanos,
            domain: Domain::Phc(self.phc),
            source: Source::Hardware,
        }
    }
}

//! How packets and their stamps become samples: what a node asks of whoever matches them.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::link::OneWay;
use crate::time::{RawTime, Span};
use crate::wire::{Message, PacketStamp, StampSource};

/// Makes samples of packets and their stamps.
pub trait Matching: Clone + Debug + Serialize + DeserializeOwned {
    /// Nothing was sent yet. `first_seq` should be random, so that a restart is not mistaken for a
    /// continuation.
    fn new(first_seq: u32) -> Self;

    /// A packet is about to leave: its number.
    fn send(&mut self) -> u32;

    /// The transmit stamp of packet `seq` is there.
    fn stamp(&mut self, seq: u32, at: RawTime, error: Span, source: StampSource);

    /// What the next packet says of the departure of a previous one: the last whose stamp came, if
    /// it was one of the last few.
    fn last_tx(&self) -> Option<PacketStamp>;

    /// What the next packet says of the arrival of the last one.
    fn last_rx(&self) -> Option<PacketStamp>;

    /// What it says of the one before that.
    fn prior_rx(&self) -> Option<PacketStamp>;

    /// A packet arrived: remember it, and tell which samples it completes. An exchange may rest on
    /// when a packet was made if that is when it left to within `tolerance` (one sigma, ns).
    fn receive(
        &mut self,
        message: &Message,
        at: RawTime,
        error: Span,
        source: StampSource,
        tolerance: f64,
    ) -> Samples;
}

/// For surroundings that deal in whole exchanges: there is nothing to match.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unmatched;

impl Matching for Unmatched {
    fn new(_: u32) -> Self {
        Self
    }

    fn send(&mut self) -> u32 {
        0
    }

    fn stamp(&mut self, _: u32, _: RawTime, _: Span, _: StampSource) {}

    fn last_tx(&self) -> Option<PacketStamp> {
        None
    }

    fn last_rx(&self) -> Option<PacketStamp> {
        None
    }

    fn prior_rx(&self) -> Option<PacketStamp> {
        None
    }

    fn receive(&mut self, _: &Message, _: RawTime, _: Span, _: StampSource, _: f64) -> Samples {
        Samples::default()
    }
}

/// The samples that one packet completes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Samples {
    /// Packets of ours that reached the peer.
    pub(super) forward: [Option<OneWay>; 2],
    /// A packet of the peer reached us.
    pub(super) reverse: Option<OneWay>,
    /// Two packets, one each way, as close together as there are.
    pub(super) exchanges: [Option<(OneWay, OneWay)>; 2],
}

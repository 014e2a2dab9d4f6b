//! For surroundings that deal in whole exchanges rather than packets.

use super::matching::Samples;
use super::{LinkId, Node, Size};
use crate::consensus::Combine;
use crate::link::{LinkEstimator, OneWay};
use crate::topology::NodeId;
use crate::wire::{Message, StampSource};

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// Whom to exchange packets with next, in place of [`Node::poll_transmit`]: the surroundings
    /// make the exchange and tell of it ([`Node::exchanged`]).
    pub fn poll_exchange(&mut self) -> Option<(NodeId, LinkId)> {
        while let Some(index) = self.outbox.pop_front() {
            if let Some(slot) = self.slots[usize::from(index)].as_mut() {
                (slot.queued, slot.request) = (false, false);
                if slot.up {
                    self.totals.sent += 1;
                    let generation = slot.generation;
                    let link = LinkId {
                        slot: index,
                        generation,
                    };
                    return Some((slot.peer(), link));
                }
            }
        }
        None
    }

    /// An exchange on `link` is complete: a packet that left at `forward.at`, and the answer to it,
    /// `heard`, that came at `reverse.at`. For surroundings that deal in whole exchanges
    /// ([`Node::poll_exchange`]); the node takes in what it would have learnt from both packets and
    /// their stamps.
    pub fn exchanged(
        &mut self,
        link: LinkId,
        heard: &Message,
        (forward, reverse): (OneWay, OneWay),
    ) {
        let index = usize::from(link.slot);
        let Some(Some(slot)) = self.slots.get_mut(index) else {
            return;
        };
        if slot.generation != link.generation || !slot.up {
            return;
        }
        self.totals.received += 1;
        let before = slot.exchanges;
        let samples = Samples {
            forward: [Some(forward), None],
            reverse: Some(reverse),
            exchanges: [Some((forward, reverse)), None],
        };
        let measured = slot.hear(heard, reverse.at, StampSource::Kernel, &samples);
        slot.silent = 0;
        self.totals.exchanges += u64::from(slot.exchanges - before);
        // Only the first answer after a silence is news to the candidates.
        if before == 0 {
            let peer = slot.peer();
            self.candidates.answered(&peer);
        }
        self.observe(index, &measured);
    }
}

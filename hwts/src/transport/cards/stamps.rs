//! Which card stamps a packet, and how well it does.

use std::net::SocketAddr;

use super::{CardFallback, CardNote, Cards, MOST_CARDS, TRIAL_PAUSE};
use crate::nic;
use crate::stamp::{Domain, Stamp};
use crate::transport::cmsg::Control;
use crate::transport::tx::Losses;

impl Cards {
    /// The card to wait for when a packet leaves for `to` while so many of its stamps are
    /// `awaited`; and whether it must not be asked, since it has no register free.
    pub(in crate::transport) fn choose(
        &mut self,
        to: SocketAddr,
        awaited: &[u32; MOST_CARDS],
        now: i64,
    ) -> (Option<u8>, bool) {
        if self.cards.is_empty() {
            return (None, false);
        }
        let Some(at) = self.route(to, now) else {
            return (None, false);
        };
        let card = &mut self.cards[at];
        if card.fallback.is_some() {
            if now < card.next_trial {
                return (None, false);
            }
            card.next_trial = now + TRIAL_PAUSE;
        }
        if awaited[at] >= card.in_flight {
            return (None, true);
        }
        (Some(at as u8), false)
    }

    fn route(&mut self, to: SocketAddr, now: i64) -> Option<usize> {
        let ip = to.ip().to_canonical();
        if let Some(known) = self.by_address.find(ip, now) {
            return known.map(usize::from);
        }
        let interface = self.routes.interface_to(to).ok();
        let card = interface.and_then(|interface| self.of_interface(interface));
        self.by_address.learn(ip, card.map(|at| at as u8), now);
        card
    }

    /// The card's stamp of a received packet, if it is to be used.
    pub(in crate::transport) fn received(&mut self, control: &Control) -> Option<Stamp> {
        if self.cards.is_empty() {
            return None;
        }
        // The kernel knows the card a packet came by as far as its driver polls for packets; else
        // the interface that took it in leads there.
        let at = [control.card, control.interface]
            .into_iter()
            .flatten()
            .find_map(|interface| self.of_interface(interface))?;
        let card = &mut self.cards[at];
        let Some(nanos) = control.hardware else {
            if card.fallback.is_none() && card.rx_losses.add(1, Domain::MonotonicRaw.now()) {
                self.fall(at, CardFallback::RxStopped);
            }
            return None;
        };
        card.rx_losses = Losses::default();
        match card.fallback {
            // A card that stamps now and then is no use, and no news.
            Some(CardFallback::RxStopped) if Domain::MonotonicRaw.now() >= card.next_trial => {
                self.recover(at);
            }
            Some(_) => return None,
            None => {}
        }
        let card = &self.cards[at];
        Some(card.stamp(nanos.saturating_sub(card.rx_compensation)))
    }

    /// Card number `at` stamped a sent packet.
    pub(in crate::transport) fn sent(&mut self, at: u8, nanos: i64) -> Option<Stamp> {
        let card = self.cards.get_mut(usize::from(at))?;
        card.tx_losses = Losses::default();
        if card.fallback == Some(CardFallback::TxStopped) {
            self.recover(usize::from(at));
        }
        let card = self.cards.get(usize::from(at))?;
        Some(card.stamp(nanos.saturating_add(card.tx_compensation)))
    }

    /// The stamp of a packet that card number `at` was asked for never came; `crowded` if it was
    /// still to stamp others then.
    pub(in crate::transport) fn missed(&mut self, at: u8, crowded: bool, now: i64) {
        let at = usize::from(at);
        let Some(card) = self
            .cards
            .get_mut(at)
            .filter(|card| card.fallback.is_none())
        else {
            return;
        };
        let stopped = card.tx_losses.add(1, now);
        if crowded && card.in_flight > 1 {
            card.in_flight = 1;
            let interface = card.interface.clone();
            self.note(CardNote::FewRegisters {
                interface,
                in_flight: 1,
            });
        }
        if stopped {
            self.fall(at, CardFallback::TxStopped);
        }
    }

    fn fall(&mut self, at: usize, why: CardFallback) {
        let card = &mut self.cards[at];
        card.fallback = Some(why);
        card.next_trial = Domain::MonotonicRaw.now() + TRIAL_PAUSE;
        let interface = card.interface.clone();
        // Somebody may have turned it off.
        let refused = nic::abilities(&interface)
            .ok()
            .and_then(|abilities| nic::turn_on(&interface, &abilities, self.port).err());
        self.note(match refused {
            Some(refused) => CardNote::Refused {
                interface,
                why: refused,
            },
            None => CardNote::Fallback { interface, why },
        });
    }

    fn recover(&mut self, at: usize) {
        let card = &mut self.cards[at];
        card.fallback = None;
        (card.tx_losses, card.rx_losses) = (Losses::default(), Losses::default());
        let (interface, phc) = (card.interface.clone(), card.phc);
        self.note(CardNote::Stamping { interface, phc });
    }
}

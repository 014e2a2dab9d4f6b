//! The network cards whose stamps are used: which packet goes by which, and how well they stamp.

mod by_address;
mod card;
mod note;
mod stamps;
#[cfg(test)]
mod tests;

pub use card::{Card, CardWish};
pub use note::{CardFallback, CardNote};

use std::collections::VecDeque;
use std::io;

use super::tx::Losses;
use crate::netlink::{self, Link, LinkChange, LinkWatch, Routes};
use crate::nic;
use crate::stamp::Domain;
use by_address::ByAddress;

/// Cards used at most.
pub(in crate::transport) const MOST_CARDS: usize = 16;
/// Probes in flight for which a card is asked for a stamp, until it turns out to have fewer
/// registers.
const IN_FLIGHT: u32 = 4;
/// Pause between looks at the interfaces, ns.
const WATCH_PAUSE: i64 = 250_000_000;
/// Pause between looks at all devices: somebody may have turned stamping on, or a card's clock may
/// have appeared late, ns.
const REVIEW_PAUSE: i64 = 30_000_000_000;
/// Pause between attempts with a card that stopped stamping, ns.
const TRIAL_PAUSE: i64 = 60_000_000_000;
/// Notes kept for a caller who does not ask for them.
const MOST_NOTES: usize = 32;

/// All cards, and what leads to them.
#[derive(Debug)]
pub(super) struct Cards {
    cards: Vec<Card>,
    wishes: Vec<CardWish>,
    links: Vec<Link>,
    /// Which card stamps for an interface, as far as asked.
    by_interface: Vec<(u32, Option<u8>)>,
    routes: Routes,
    by_address: ByAddress,
    watch: LinkWatch,
    next_watch: i64,
    next_review: i64,
    /// Interfaces that were refused, so that it is said once.
    refused: Vec<u32>,
    /// The UDP port that packets come to.
    port: u16,
    notes: VecDeque<CardNote>,
}

impl Cards {
    /// Looks at all interfaces and has their cards stamp packets to UDP `port`, where they can.
    pub(super) fn open(wishes: Vec<CardWish>, port: u16) -> io::Result<Self> {
        // First listen, then look, so that nothing falls between.
        let watch = LinkWatch::open()?;
        let mut cards = Self {
            cards: Vec::with_capacity(MOST_CARDS),
            wishes,
            links: netlink::links()?,
            by_interface: Vec::with_capacity(64),
            routes: Routes::open()?,
            by_address: ByAddress::new(),
            watch,
            next_watch: 0,
            next_review: Domain::MonotonicRaw.now() + REVIEW_PAUSE,
            refused: Vec::new(),
            port,
            notes: VecDeque::with_capacity(MOST_NOTES),
        };
        cards.adopt();
        Ok(cards)
    }

    pub(super) fn cards(&self) -> &[Card] {
        &self.cards
    }

    pub(super) fn next_note(&mut self) -> Option<CardNote> {
        self.notes.pop_front()
    }

    /// Takes in what happened to the interfaces, at most a few times a second.
    pub(super) fn attend(&mut self, now: i64) {
        if now < self.next_watch {
            return;
        }
        self.next_watch = now + WATCH_PAUSE;
        let (watch, links) = (&mut self.watch, &mut self.links);
        let mut changed = false;
        let complete = watch.poll(|change| changed |= apply(links, change));
        if !complete && let Ok(all) = netlink::links() {
            (*links, changed) = (all, true);
        }
        if changed || now >= self.next_review {
            self.next_review = now + REVIEW_PAUSE;
            self.by_interface.clear();
            self.by_address.forget();
            self.follow();
            self.adopt();
        }
    }

    /// Cards whose interface was renamed or went away.
    fn follow(&mut self) {
        for card in std::mem::take(&mut self.cards) {
            match self.links.iter().find(|link| link.index == card.index) {
                Some(link) if link.name == card.interface => self.cards.push(card),
                Some(link) => {
                    let to = link.name.clone();
                    let from = card.interface.clone();
                    self.cards.push(Card {
                        interface: to.clone(),
                        ..card
                    });
                    self.note(CardNote::Renamed { from, to });
                }
                None => self.note(CardNote::Gone {
                    interface: card.interface,
                }),
            }
        }
    }

    /// Has every card stamp that can and is up; those that do already are looked at again, since
    /// some forget it when their link goes down.
    fn adopt(&mut self) {
        let links = &self.links;
        self.refused
            .retain(|index| links.iter().any(|link| link.index == *index));
        let devices: Vec<(u32, String)> = self
            .links
            .iter()
            .filter(|link| link.up && !link.loopback)
            .filter(|link| nic::physical(&self.links, link.index).is_ok_and(|p| p == *link))
            .map(|link| (link.index, link.name.clone()))
            .collect();
        for (index, interface) in devices {
            let wish = self.wish(&interface);
            let Some(abilities) = wish
                .hardware
                .then(|| nic::abilities(&interface).ok())
                .flatten()
                .filter(|abilities| abilities.no_hardware().is_none())
            else {
                continue;
            };
            // Some drivers make a new clock when they reset the card.
            self.cards
                .retain(|card| card.index != index || Some(card.phc) == abilities.phc);
            let known = self.cards.iter().any(|card| card.index == index);
            match (
                nic::turn_on(&interface, &abilities, self.port),
                abilities.phc,
            ) {
                (Ok(_), Some(phc)) if !known && self.cards.len() < MOST_CARDS => {
                    self.cards.push(Card {
                        index,
                        interface: interface.clone(),
                        phc,
                        fallback: None,
                        in_flight: wish.in_flight.unwrap_or(IN_FLIGHT),
                        tx_compensation: wish.tx_compensation,
                        rx_compensation: wish.rx_compensation,
                        tx_losses: Losses::default(),
                        rx_losses: Losses::default(),
                        next_trial: 0,
                    });
                    self.refused.retain(|refused| *refused != index);
                    self.note(CardNote::Stamping { interface, phc });
                }
                (Ok(_), _) => {}
                (Err(why), _) => {
                    self.cards.retain(|card| card.index != index);
                    if !self.refused.contains(&index) {
                        self.refused.push(index);
                        self.note(CardNote::Refused { interface, why });
                    }
                }
            }
        }
    }

    fn wish(&self, interface: &str) -> CardWish {
        let wish = self.wishes.iter().find(|wish| wish.interface == interface);
        wish.cloned().unwrap_or(CardWish {
            interface: interface.to_owned(),
            hardware: true,
            tx_compensation: 0,
            rx_compensation: 0,
            in_flight: None,
        })
    }

    fn note(&mut self, note: CardNote) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push_back(note);
        }
    }

    /// The card that stamps packets of interface number `interface`, which may stand on others.
    fn of_interface(&mut self, interface: u32) -> Option<usize> {
        let known = self.by_interface.iter().find(|(i, _)| *i == interface);
        let card = match known {
            Some((_, card)) => *card,
            None => {
                let device = nic::physical(&self.links, interface).map(|link| link.index);
                let card = self.cards.iter().position(|card| device == Ok(card.index));
                let card = card.map(|at| at as u8);
                if self.by_interface.len() < 64 {
                    self.by_interface.push((interface, card));
                }
                card
            }
        };
        card.map(usize::from)
    }
}

/// Takes a change in; whether anything is different now.
fn apply(links: &mut Vec<Link>, change: LinkChange) -> bool {
    match change {
        LinkChange::Gone(index) => {
            let before = links.len();
            links.retain(|link| link.index != index);
            links.len() != before
        }
        LinkChange::Changed(new) => match links.iter_mut().find(|link| link.index == new.index) {
            Some(link) if *link == new => false,
            Some(link) => {
                *link = new;
                true
            }
            None => {
                links.push(new);
                true
            }
        },
    }
}

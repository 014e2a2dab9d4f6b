//! The network cards whose stamps are used: which packet goes by which, and how well they stamp.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::cmsg::Control;
use super::tx::Losses;
use crate::netlink::{self, Link, LinkChange, LinkWatch, Routes};
use crate::nic::{self, NotStamping};
use crate::stamp::{Domain, Source, Stamp};

/// Cards used at most.
pub(super) const MOST_CARDS: usize = 16;
/// Probes in flight for which a card is asked for a stamp, until it turns out to have fewer
/// registers.
const IN_FLIGHT: u32 = 4;
/// Routes remembered, a power of two, and for how long, ns.
const ROUTES: usize = 256;
const ROUTE_AGE: i64 = 30_000_000_000;
/// Pause between looks at the interfaces, ns.
const WATCH_PAUSE: i64 = 250_000_000;
/// Pause between looks at all devices: somebody may have turned stamping on, or a card's clock may
/// have appeared late, ns.
const REVIEW_PAUSE: i64 = 30_000_000_000;
/// Pause between attempts with a card that stopped stamping, ns.
const TRIAL_PAUSE: i64 = 60_000_000_000;
/// Notes kept for a caller who does not ask for them.
const MOST_NOTES: usize = 32;

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
    tx_compensation: i64,
    rx_compensation: i64,
    tx_losses: Losses,
    rx_losses: Losses,
    next_trial: i64,
}

/// Why the stamps of a card are not used, and the kernel's are instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardFallback {
    /// Its transmit stamps stopped coming.
    TxStopped,
    /// Its receive stamps stopped coming.
    RxStopped,
}

impl fmt::Display for CardFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TxStopped => "its hardware stopped stamping sent packets",
            Self::RxStopped => "its hardware stopped stamping received packets",
        })
    }
}

/// What happened to a card, to be told to people.
#[derive(Debug)]
pub enum CardNote {
    /// Packets of this interface are stamped by its card.
    Stamping {
        /// The interface.
        interface: String,
        /// Its clock, N of `/dev/ptpN`.
        phc: u32,
    },
    /// The interface has stamping hardware that is of no use to us.
    Refused {
        /// The interface.
        interface: String,
        /// Why.
        why: NotStamping,
    },
    /// The kernel's stamps are used instead.
    Fallback {
        /// The interface.
        interface: String,
        /// Why.
        why: CardFallback,
    },
    /// It has fewer registers for transmit stamps than were asked for at once.
    FewRegisters {
        /// The interface.
        interface: String,
        /// Stamps asked of it at once from now on.
        in_flight: u32,
    },
    /// The interface has a new name.
    Renamed {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// The interface is gone.
    Gone {
        /// Its name.
        interface: String,
    },
}

impl fmt::Display for CardNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stamping { interface, phc } => {
                write!(f, "{interface}: hardware stamps by /dev/ptp{phc}")
            }
            Self::Refused { interface, why } => write!(f, "{interface}: kernel stamps, {why}"),
            Self::Fallback { interface, why } => write!(f, "{interface}: kernel stamps, {why}"),
            Self::FewRegisters {
                interface,
                in_flight,
            } => write!(
                f,
                "{interface}: transmit stamps got lost, no more than {in_flight} at once are \
                 asked for now"
            ),
            Self::Renamed { from, to } => write!(f, "{from} is called {to} now"),
            Self::Gone { interface } => write!(f, "{interface} is gone"),
        }
    }
}

/// All cards, and what leads to them.
#[derive(Debug)]
pub(super) struct Cards {
    cards: Vec<Card>,
    wishes: Vec<CardWish>,
    links: Vec<Link>,
    /// Which card stamps for an interface, as far as asked.
    by_interface: Vec<(u32, Option<u8>)>,
    routes: Routes,
    by_address: Box<[Route; ROUTES]>,
    watch: LinkWatch,
    next_watch: i64,
    next_review: i64,
    /// Interfaces that were refused, so that it is said once.
    refused: Vec<u32>,
    /// The UDP port that packets come to.
    port: u16,
    notes: VecDeque<CardNote>,
}

/// The card by which packets to an address leave.
#[derive(Debug, Clone, Copy)]
struct Route {
    to: IpAddr,
    card: Option<u8>,
    until: i64,
}

const NOWHERE: Route = Route {
    to: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    card: None,
    until: i64::MIN,
};

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
            by_address: Box::new([NOWHERE; ROUTES]),
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
            self.by_address.fill(NOWHERE);
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

    /// The card to wait for when a packet leaves for `to` while so many of its stamps are
    /// `awaited`; and whether it must not be asked, since it has no register free.
    pub(super) fn choose(
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
        let place = place(ip);
        let known = self.by_address[place];
        if known.to == ip && now < known.until {
            return known.card.map(usize::from);
        }
        let interface = self.routes.interface_to(to).ok();
        let card = interface.and_then(|interface| self.of_interface(interface));
        self.by_address[place] = Route {
            to: ip,
            card: card.map(|at| at as u8),
            until: now + ROUTE_AGE,
        };
        card
    }

    /// The card's stamp of a received packet, if it is to be used.
    pub(super) fn received(&mut self, control: &Control) -> Option<Stamp> {
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
    pub(super) fn sent(&mut self, at: u8, nanos: i64) -> Option<Stamp> {
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
    pub(super) fn missed(&mut self, at: u8, crowded: bool, now: i64) {
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

impl Card {
    const fn stamp(&self, nanos: i64) -> Stamp {
        Stamp {
            nanos,
            domain: Domain::Phc(self.phc),
            source: Source::Hardware,
        }
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

fn place(ip: IpAddr) -> usize {
    let fold = |octets: &[u8]| {
        octets.iter().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31) + usize::from(*byte)
        })
    };
    let sum = match ip {
        IpAddr::V4(ip) => fold(&ip.octets()),
        IpAddr::V6(ip) => fold(&ip.octets()),
    };
    sum % ROUTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards() -> Cards {
        let mut cards = Cards::open(Vec::new(), 4_711).unwrap();
        cards.cards.clear();
        cards.notes.clear();
        let link = |index: u32, name: &str| Link {
            index,
            name: name.to_owned(),
            up: true,
            ..Link::default()
        };
        let vlan = Link {
            kind: Some("vlan".to_owned()),
            lower: Some(70_002),
            ..link(70_003, "test0.7")
        };
        cards.links = vec![link(70_002, "test0"), vlan, link(70_004, "test1")];
        cards.by_interface.clear();
        cards.cards.push(Card {
            index: 70_002,
            interface: "test0".to_owned(),
            phc: 3,
            fallback: None,
            in_flight: IN_FLIGHT,
            tx_compensation: 100,
            rx_compensation: 30,
            tx_losses: Losses::default(),
            rx_losses: Losses::default(),
            next_trial: 0,
        });
        cards
    }

    fn scoped(interface: u32) -> SocketAddr {
        format!("[fe80::1%{interface}]:9").parse().unwrap()
    }

    const FREE: [u32; MOST_CARDS] = [0; MOST_CARDS];

    #[test]
    fn packets_find_their_card_through_what_stands_on_it() {
        let mut cards = cards();
        assert_eq!(cards.choose(scoped(70_002), &FREE, 0), (Some(0), false));
        let mut vlan = cards;
        vlan.by_address.fill(NOWHERE);
        assert_eq!(vlan.choose(scoped(70_003), &FREE, 0), (Some(0), false));
        vlan.by_address.fill(NOWHERE);
        assert_eq!(vlan.choose(scoped(70_004), &FREE, 0), (None, false));
        let mut full = FREE;
        full[0] = IN_FLIGHT;
        vlan.by_address.fill(NOWHERE);
        assert_eq!(vlan.choose(scoped(70_002), &full, 0), (None, true));
    }

    #[test]
    fn stamps_are_those_of_the_card_and_compensated() {
        let mut cards = cards();
        let from = |card, interface| Control {
            hardware: Some(1_000),
            card,
            interface,
            ..Control::default()
        };
        let stamp = |nanos| {
            Some(Stamp {
                nanos,
                domain: Domain::Phc(3),
                source: Source::Hardware,
            })
        };
        assert_eq!(cards.received(&from(Some(70_002), None)), stamp(970));
        // The kernel names a device that has no card: the interface leads to it.
        assert_eq!(
            cards.received(&from(Some(70_004), Some(70_003))),
            stamp(970)
        );
        assert_eq!(cards.received(&from(None, Some(70_004))), None);
        assert_eq!(cards.sent(0, 1_000), stamp(1_100));
        assert_eq!(cards.sent(9, 1_000), None);
    }

    #[test]
    fn a_card_that_stops_is_left_alone_tried_again_and_taken_back() {
        let mut cards = cards();
        let later = 20_000_000_000;
        for k in 0..20 {
            cards.missed(0, k == 3, k * 1_000_000_000);
        }
        assert_eq!(cards.cards[0].fallback, Some(CardFallback::TxStopped));
        assert_eq!(cards.cards[0].in_flight, 1);
        let notes: Vec<String> = std::iter::from_fn(|| cards.next_note())
            .map(|note| note.to_string())
            .collect();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("no more than 1") && notes[1].contains("kernel stamps"));
        let received = Control {
            hardware: Some(1),
            card: Some(70_002),
            ..Control::default()
        };
        // One direction by the card and one by the kernel would not fit together.
        assert_eq!(cards.received(&received), None);
        cards.cards[0].next_trial = later;
        assert_eq!(
            cards.choose(scoped(70_002), &FREE, later - 1),
            (None, false)
        );
        assert_eq!(cards.choose(scoped(70_002), &FREE, later), (Some(0), false));
        assert_eq!(
            cards.choose(scoped(70_002), &FREE, later + 1),
            (None, false)
        );
        assert!(cards.sent(0, 5).is_some());
        assert_eq!(cards.cards[0].fallback, None);
        assert!(matches!(cards.next_note(), Some(CardNote::Stamping { .. })));
    }

    #[test]
    fn interfaces_that_change_or_go_are_followed() {
        let mut cards = cards();
        let mut link = cards.links[0].clone();
        assert!(!apply(&mut cards.links, LinkChange::Changed(link.clone())));
        link.name = "uplink".to_owned();
        assert!(apply(&mut cards.links, LinkChange::Changed(link)));
        cards.follow();
        assert_eq!(cards.cards()[0].interface, "uplink");
        assert!(matches!(cards.next_note(), Some(CardNote::Renamed { .. })));
        assert!(apply(&mut cards.links, LinkChange::Gone(70_002)));
        assert!(!apply(&mut cards.links, LinkChange::Gone(70_002)));
        cards.follow();
        assert!(cards.cards().is_empty());
        assert!(matches!(cards.next_note(), Some(CardNote::Gone { .. })));
    }

    #[test]
    fn addresses_spread_over_the_table() {
        let places: std::collections::HashSet<usize> = (0..200_u8)
            .map(|k| place(IpAddr::from([10, 0, 0, k])))
            .collect();
        assert_eq!(places.len(), 200);
    }
}

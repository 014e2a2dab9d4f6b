//! The protocol machine of one node in a link structure, sans-io.
//!
//! [`Overlay`] sends requests, repeats them and lets them time out, runs iterative lookups over
//! disjoint paths and calls for upkeep; a [`LinkStructure`] knows the table and the geometry.
//! Messages, timeouts and the time come in; messages and events go out. No socket, no clock, no
//! thread, own random numbers from a seed; for a seed and a sequence of inputs it always does the
//! same. Who carries the messages has to know who sent them: senders are authenticated and their
//! keys belong to their identities ([`position`]).

mod any;
mod contact;
mod event;
mod key;
mod lookup;
mod message;
pub mod position;
mod requests;
mod structure;
#[cfg(test)]
pub(in crate::topology) mod testing;
mod waits;

pub use crate::rng::Rng;
pub use any::{AnyStructure, Structure};
pub(in crate::topology) use contact::admits;
pub use contact::{Contact, Place, Referral};
pub use event::{Event, Traffic};
pub use key::Key;
pub use lookup::{Found, LookupKind, MAX_PATHS, Outcome};
pub use message::{Answer, Body, MAX_REFERRALS, MAX_ZONES, Message, Query};
pub use structure::{Actions, LinkStructure};
pub use waits::Waits;

use std::collections::VecDeque;

use lookup::{For, Lookup, Step};
use requests::{Overdue, Pending, Purpose, Requests};
use structure::Action;

use crate::time::{RawTime, Span};

/// Requests under way at most.
const REQUESTS: usize = 64;
/// Of those, to see whether somebody we heard of is there.
const PROBES: usize = 8;
/// Lookups under way at most.
const LOOKUPS: usize = 24;
/// Messages and events that wait to be taken at most.
const WAITING: usize = 256;
/// Keys of contacts that failed of late; hearsay does not bring them back at once.
const FAILED: usize = 16;
/// Nodes with the shortest round trips that are remembered.
const NEAR: usize = 8;
/// Structures ask who is nearest to a key from so many contacts per path.
const SEEDS: usize = 4;

/// One node of a link structure.
#[derive(Debug)]
pub struct Overlay<A, L> {
    own: Key,
    links: L,
    waits: Waits,
    rng: Rng,
    requests: Requests<A>,
    lookups: Vec<Lookup<A>>,
    next_lookup: u32,
    outbox: VecDeque<(Contact<A>, Message<A>)>,
    events: VecDeque<Event<A>>,
    failed: VecDeque<Key>,
    near: Vec<(Contact<A>, Span)>,
    pause: Span,
    next_upkeep: RawTime,
    joined: bool,
    traffic: Traffic,
}

impl<A: Place, L: LinkStructure<A>> Overlay<A, L> {
    /// A node with this key and this empty table, which does nothing yet. `seed` decides all its
    /// random choices; between daemons it must not be guessable.
    pub fn new(own: Key, links: L, waits: Waits, now: RawTime, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let first = waits.hasty.as_nanos_f64() * rng.unit();
        Self {
            own,
            links,
            waits,
            rng,
            requests: Requests::new(REQUESTS),
            lookups: Vec::new(),
            next_lookup: 0,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            failed: VecDeque::new(),
            near: Vec::new(),
            pause: waits.hasty,
            next_upkeep: now + Span::from_nanos_f64(first),
            joined: false,
            traffic: Traffic::default(),
        }
    }

    /// This node's key.
    pub const fn key(&self) -> Key {
        self.own
    }

    /// The table.
    pub const fn links(&self) -> &L {
        &self.links
    }

    /// Totals since start.
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The nodes that answered fastest of late, the nearest first, with their round-trip times.
    pub fn near(&self) -> &[(Contact<A>, Span)] {
        &self.near
    }

    /// Whether this node has its place in the structure.
    pub fn is_member(&self) -> bool {
        self.links.is_member()
    }

    /// Be the first node of a network.
    pub fn found(&mut self) {
        self.links.found();
        self.check_joined();
    }

    /// Join, or join again, the network that `contact` belongs to.
    pub fn join(&mut self, now: RawTime, contact: Contact<A>) {
        if contact.key != self.own {
            self.act(now, |links, actions| links.join(now, contact, actions));
        }
    }

    /// Look up `target`; [`Event::Done`] tells the outcome under the number returned. `None` if
    /// too many lookups are under way.
    pub fn lookup(&mut self, now: RawTime, target: Key, kind: LookupKind) -> Option<u32> {
        let number = self.begin(now, target, For::Owner, kind, None)?;
        self.advance(now, number);
        Some(number)
    }

    /// Somebody else found that `contact` has gone.
    pub fn peer_gone(&mut self, now: RawTime, contact: Contact<A>) {
        self.given_up(now, contact, false);
    }

    /// See whether `contact` is there: [`Event::Gone`] if not, [`Event::There`] if so.
    pub fn check(&mut self, now: RawTime, contact: Contact<A>) {
        self.ask(now, contact, Query::Ping, Purpose::Check);
    }

    /// `from` says `message`. Its key has been checked, and it can be reached where it says.
    pub fn receive(&mut self, now: RawTime, from: Contact<A>, message: Message<A>) {
        if from.key == self.own {
            return;
        }
        self.traffic.received += 1;
        match message.body {
            Body::Query(query) => self.answer(now, from, message.number, &query),
            Body::Answer(answer) => self.answered(now, from, message.number, &answer),
        }
    }

    /// Do what is due at `now`.
    pub fn handle_timeout(&mut self, now: RawTime) {
        while let Some(overdue) = self.requests.overdue(now, self.waits.patience) {
            match overdue {
                Overdue::Repeat(number, to, query, purpose) => {
                    self.send(to, number, Body::Query(query));
                    if let Purpose::Lookup(lookup) = purpose {
                        if let Some(lookup) = self.running(lookup) {
                            lookup.late(&to);
                        }
                        self.advance(now, lookup);
                    }
                }
                Overdue::Failed(contact, purpose) => {
                    self.traffic.unanswered += 1;
                    self.given_up(now, contact, purpose == Purpose::Check);
                }
            }
        }
        if self.next_upkeep <= now {
            if !self.links.is_member() {
                self.pause = self.waits.hasty;
            }
            let jitter = 0.75 + 0.5 * self.rng.unit();
            self.next_upkeep = now + Span::from_nanos_f64(self.pause.as_nanos_f64() * jitter);
            self.pause =
                Span::from_nanos_f64(self.pause.as_nanos_f64() * 1.25).min(self.waits.upkeep);
            let mut rng = self.rng.clone();
            self.act(now, |links, actions| links.upkeep(now, &mut rng, actions));
            self.rng = rng;
        }
    }

    /// When [`Overlay::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> RawTime {
        let requests = self.requests.next_due();
        requests.map_or(self.next_upkeep, |due| due.min(self.next_upkeep))
    }

    /// The next message to send, if any. Ask until there is none, after every other input.
    pub fn poll_transmit(&mut self) -> Option<(Contact<A>, Message<A>)> {
        self.outbox.pop_front()
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<Event<A>> {
        self.events.pop_front()
    }

    fn answer(&mut self, now: RawTime, from: Contact<A>, number: u64, query: &Query) {
        let answer = match query {
            Query::Ping => Answer::Pong,
            Query::Find(target) => {
                let mut nearer = Vec::new();
                self.links.nearest(*target, MAX_REFERRALS, &mut nearer);
                nearer.retain(|r| r.contact.key != from.key);
                let seat = self.links.seat(*target);
                Answer::Found { seat, nearer }
            }
            _ => {
                let mut actions = Actions::new();
                let answer = self.links.answer(now, from, query, &mut actions);
                self.perform(now, actions);
                answer
            }
        };
        self.send(from, number, Body::Answer(answer));
        self.consider(now, &from.into());
    }

    fn answered(&mut self, now: RawTime, from: Contact<A>, number: u64, answer: &Answer<A>) {
        let Some(request) = self.requests.take(number, &from) else {
            return;
        };
        // The table keeps the address that was asked and answered.
        let from = request.to;
        // After a repetition, which of the two was answered is not known: the longer is safe.
        let rtt = now - request.sent;
        self.failed.retain(|key| *key != from.key);
        self.links.alive(now, from);
        self.remember_near(from, rtt);
        if let (Purpose::Lookup(number), Answer::Found { seat, nearer }) = (request.purpose, answer)
        {
            let own = self.own;
            if let Some(index) = self.lookups.iter().position(|l| l.number == number) {
                let links = &self.links;
                self.lookups[index].answered(links, &from, rtt, *seat, nearer, own);
                self.advance(now, number);
            }
        } else if request.purpose == Purpose::Check {
            self.tell(Event::There(from));
        } else if request.purpose == Purpose::Structure {
            self.act(now, |links, actions| {
                links.answered(now, from, &request.query, answer, actions);
            });
        }
        match answer {
            Answer::Pong => {}
            Answer::Found { nearer, .. }
            | Answer::Zones {
                neighbours: nearer, ..
            } => {
                nearer.iter().for_each(|r| self.consider(now, r));
            }
            Answer::Contacts(contacts) => {
                contacts
                    .iter()
                    .for_each(|c| self.consider(now, &(*c).into()));
            }
            Answer::Ring {
                predecessor,
                successors,
            } => {
                let all = predecessor.iter().chain(successors);
                all.for_each(|c| self.consider(now, &(*c).into()));
            }
        }
        self.check_joined();
    }

    /// We heard of somebody: if the table has use for it, see whether it is there.
    fn consider(&mut self, now: RawTime, referral: &Referral<A>) {
        let contact = referral.contact;
        if contact.key != self.own
            && self.requests.probes() < PROBES
            && !self.requests.is_full()
            && !self.failed.contains(&contact.key)
            && self.links.wants(referral)
            && !self.requests.is_asked(&contact)
        {
            self.ask(now, contact, Query::Ping, Purpose::Probe);
        }
    }

    fn remember_near(&mut self, contact: Contact<A>, rtt: Span) {
        if let Some(known) = self.near.iter_mut().find(|(c, _)| c.key == contact.key) {
            // What is far today may have been far before: forget slowly.
            known.1 = rtt.min(known.1 + known.1 / 8);
        } else if self.near.len() < NEAR {
            self.near.push((contact, rtt));
        } else if let Some(last) = self.near.last_mut()
            && rtt < last.1
        {
            *last = (contact, rtt);
        }
        self.near.sort_by_key(|(_, rtt)| *rtt);
    }

    fn given_up(&mut self, now: RawTime, contact: Contact<A>, checked: bool) {
        self.requests.give_up(&contact);
        self.near.retain(|(near, _)| near.key != contact.key);
        if !self.failed.contains(&contact.key) {
            self.failed.truncate(FAILED - 1);
            self.failed.push_front(contact.key);
        }
        let mut known = false;
        self.links
            .links(&mut |link| known |= link.key == contact.key);
        if known {
            // Where one has gone others may have: look after the table more often for a while.
            self.pause = (self.pause / 2).max(self.waits.hasty);
            self.next_upkeep = self.next_upkeep.min(now + self.pause);
        }
        if known || checked {
            self.tell(Event::Gone(contact));
        }
        self.act(now, |links, actions| links.failed(now, contact, actions));
        self.lookups.iter_mut().for_each(|l| l.failed(&contact));
        let running: Vec<_> = self.lookups.iter().map(|l| l.number).collect();
        running.into_iter().for_each(|n| self.advance(now, n));
    }

    /// Lets the structure do something, and does what it wants done.
    fn act(&mut self, now: RawTime, what: impl FnOnce(&mut L, &mut Actions<A>)) {
        let mut actions = Actions::new();
        what(&mut self.links, &mut actions);
        self.perform(now, actions);
    }

    fn perform(&mut self, now: RawTime, actions: Actions<A>) {
        for action in actions.wanted {
            match action {
                Action::Ask(contact, query) => {
                    self.ask(now, contact, query, Purpose::Structure);
                }
                Action::Lookup {
                    purpose,
                    target,
                    via,
                    width,
                } => {
                    let kind = LookupKind {
                        width,
                        ..LookupKind::OWNER
                    };
                    let whose = For::Structure(purpose);
                    if let Some(number) = self.begin(now, target, whose, kind, via) {
                        self.advance(now, number);
                    }
                }
            }
        }
        self.check_joined();
    }

    fn begin(
        &mut self,
        now: RawTime,
        target: Key,
        whose: For,
        kind: LookupKind,
        via: Option<Contact<A>>,
    ) -> Option<u32> {
        if self.lookups.len() >= LOOKUPS {
            return None;
        }
        self.next_lookup = self.next_lookup.wrapping_add(1);
        let mut lookup = Lookup::new(self.next_lookup, target, whose, kind, now);
        let mut first = Vec::new();
        match via {
            Some(contact) => first.push(contact.into()),
            None => {
                let count = SEEDS * usize::from(kind.paths.max(1));
                self.links.nearest(target, count, &mut first);
            }
        }
        lookup.seed(&self.links, &first);
        self.lookups.push(lookup);
        Some(self.next_lookup)
    }

    fn running(&mut self, number: u32) -> Option<&mut Lookup<A>> {
        self.lookups.iter_mut().find(|l| l.number == number)
    }

    /// Asks whoever the lookup wants asked; ends it when it has nobody left to ask.
    fn advance(&mut self, now: RawTime, number: u32) {
        loop {
            let Some(index) = self.lookups.iter().position(|l| l.number == number) else {
                return;
            };
            match self.lookups[index].step(&self.links, &mut self.rng) {
                Step::Wait => return,
                Step::Ask(contact) => {
                    let query = Query::Find(self.lookups[index].target);
                    if !self.ask(now, contact, query, Purpose::Lookup(number)) {
                        self.lookups[index].failed(&contact);
                    }
                }
                Step::Done => {
                    let lookup = self.lookups.swap_remove(index);
                    match lookup.whose {
                        For::Owner => {
                            let outcome = lookup.outcome(&self.links, now);
                            self.tell(Event::Done(outcome));
                        }
                        For::Structure(purpose) => {
                            let found = lookup.answered_nearest(&self.links);
                            self.act(now, |links, actions| {
                                links.looked_up(now, purpose, lookup.target, &found, actions);
                            });
                        }
                    }
                    return;
                }
            }
        }
    }

    fn ask(&mut self, now: RawTime, to: Contact<A>, query: Query, purpose: Purpose) -> bool {
        if self.requests.is_full() || to.key == self.own {
            return false;
        }
        let number = self.rng.next();
        self.requests.begin(Pending {
            number,
            to,
            query: query.clone(),
            purpose,
            sent: now,
            due: now + self.waits.patience,
            repeated: false,
        });
        self.send(to, number, Body::Query(query));
        true
    }

    fn send(&mut self, to: Contact<A>, number: u64, body: Body<A>) {
        // Whoever does not fetch messages loses the latest; queries are repeated.
        if self.outbox.len() < WAITING {
            self.traffic.sent += 1;
            self.outbox.push_back((to, Message { number, body }));
        }
    }

    fn check_joined(&mut self) {
        if !self.joined && self.links.is_member() {
            self.joined = true;
            self.tell(Event::Joined);
        }
    }

    fn tell(&mut self, event: Event<A>) {
        if self.events.len() >= WAITING {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

//! All of the engine but the socket and the thread: datagrams and the time in, datagrams out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use super::codec::{self, Claimed, Cookie, OverlayParseError, Realm, Sender, Unverified};
use super::endpoint::Endpoint;
use super::gate::{Gate, Verdict};
use super::told::Told;
use crate::engine::contacts::{Contacts, Who};
use crate::engine::outbox::Outbox;
use crate::engine::{PeerAddress, PeerEvent, random};
use crate::time::{RawTime, Span};
use crate::topology::draw::{Drawn, Sampler};
use crate::topology::overlay::{
    AnyStructure, Body, Contact, Event, Key, LinkStructure, Message, Overlay, Query, Traffic, Waits,
};
use crate::topology::{Candidate, FoundBy, NodeId};

/// Queries of ours that are remembered until they are answered, at most.
const SENT: usize = 160;
/// How long a bootstrap address has to answer.
const HELLO: Duration = Duration::from_secs(2);
/// How long after that an answer still counts.
const LATE: Duration = Duration::from_secs(15);
/// Pause between attempts to get a place through a contact that answered.
const JOIN_EVERY: Duration = Duration::from_secs(3);
/// Draws after joining.
const FIRST_DRAWS: usize = 16;
/// Pause between draws that nobody asked for, so that the peers known change.
const DRAW_EVERY: Duration = Duration::from_secs(300);
/// Disjoint paths of a draw.
const PATHS: u8 = 3;
/// A network of about this size or less is told to the node as it is linked: there is nobody else
/// to be drawn.
const SMALL: f64 = 64.0;
/// Pause between looks at the links of such a network.
const LINKS_EVERY: Duration = Duration::from_secs(1);

/// Who this node is in the structure.
pub(super) struct Me {
    pub(super) key: SigningKey,
    pub(super) id: NodeId,
    pub(super) solution: u32,
    pub(super) place: Key,
    pub(super) time_port: u16,
}

struct Sent {
    number: u64,
    to: SocketAddr,
    query: Query,
    /// The bootstrap address of this index was asked who it is, and must be this node if any.
    hello: Option<(usize, Option<NodeId>)>,
    due: Instant,
    /// It has been sent again with a cookie.
    again: bool,
    /// It was not answered in time.
    late: bool,
}

/// What is told of itself now and then.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) known: usize,
    pub(super) links: usize,
    pub(super) nodes: f64,
    pub(super) member: bool,
    pub(super) lookups: u64,
    pub(super) failing: usize,
    pub(super) refused: u64,
    pub(super) foreign: Option<OverlayParseError>,
    pub(super) traffic: Traffic,
}

pub(super) struct Core {
    start: Instant,
    realm: Realm,
    me: Me,
    overlay: Overlay<Endpoint, AnyStructure<Endpoint>>,
    sampler: Sampler,
    gate: Gate,
    contacts: Contacts<NodeId>,
    /// How many bootstrap addresses there are, and which of them are our own.
    own: Vec<bool>,
    /// Whoever answered at a bootstrap address last.
    door: Option<Contact<Endpoint>>,
    sent: VecDeque<Sent>,
    out: VecDeque<(SocketAddr, Vec<u8>)>,
    told: Told,
    outbox: Outbox,
    next_join: Instant,
    next_draw: Instant,
    next_links: Instant,
    lookups: u64,
    refused: u64,
    foreign: Option<OverlayParseError>,
}

impl Core {
    /// `secrets`: for cookies and for draws.
    pub(super) fn new(
        now: Instant,
        realm: Realm,
        me: Me,
        bootstrap: &[PeerAddress],
        outbox: Outbox,
        secrets: [[u8; 32]; 2],
    ) -> Self {
        let raw = RawTime::from_nanos(0);
        let seed = u64::from_le_bytes(std::array::from_fn(|i| secrets[1][i] ^ secrets[0][31 - i]));
        let structure = AnyStructure::new(realm.structure, me.place);
        let mut overlay = Overlay::new(me.place, structure, Waits::default(), raw, seed);
        if bootstrap.is_empty() {
            overlay.found();
        }
        Self {
            start: now,
            overlay,
            sampler: Sampler::new(secrets[1], PATHS),
            gate: Gate::new(secrets[0], raw),
            contacts: Contacts::new(now, bootstrap.iter().map(|peer| peer.id)),
            own: vec![false; bootstrap.len()],
            door: None,
            sent: VecDeque::new(),
            out: VecDeque::new(),
            told: Told::default(),
            outbox,
            next_join: now,
            next_draw: now,
            next_links: now,
            lookups: 0,
            refused: 0,
            foreign: None,
            realm,
            me,
        }
    }

    /// The bootstrap address of this index leads there.
    pub(super) fn resolved(&mut self, now: Instant, index: usize, addr: SocketAddr) {
        self.contacts.resolved(now, index, addr);
        if let Some(own) = self.own.get_mut(index) {
            *own = false;
        }
    }

    /// So many draws are wanted.
    pub(super) fn sample(&mut self, now: Instant, count: usize) {
        self.sampler.want(count);
        self.advance(now);
    }

    /// A datagram arrived.
    pub(super) fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if let Err(error) = self.take(now, from, bytes) {
            self.refused += 1;
            if error == OverlayParseError::Structure && self.foreign.is_none() {
                tracing::warn!("{from} sends a datagram {error}");
                self.foreign = Some(error);
            }
        }
        self.advance(now);
    }

    fn take(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), OverlayParseError> {
        match codec::parse_overlay(bytes, &self.realm)? {
            Unverified::Cookie { number, cookie } => {
                self.repeat(now, from, number, cookie);
                Ok(())
            }
            Unverified::Message(claimed) if claimed.is_query() => self.query(now, from, claimed),
            Unverified::Message(claimed) => self.answer(now, from, claimed),
        }
    }

    fn query(
        &mut self,
        now: Instant,
        from: SocketAddr,
        claimed: Claimed<'_>,
    ) -> Result<(), OverlayParseError> {
        let raw = self.raw(now);
        match self.gate.query(raw, from, &claimed.from, &claimed.cookie) {
            Verdict::Drop => {}
            Verdict::Tell(cookie) => {
                let number = claimed.message.number;
                let bytes = codec::encode_cookie(&self.realm, number, &cookie);
                self.out.push_back((from, bytes));
            }
            Verdict::Take => {
                let contact = claimed.verify(&self.realm.network, from, None)?;
                if claimed.from == self.me.id {
                    self.met_ourselves(now, claimed.message.number);
                } else {
                    self.overlay.receive(raw, contact, claimed.message);
                }
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        claimed: Claimed<'_>,
    ) -> Result<(), OverlayParseError> {
        let number = claimed.message.number;
        let asked = |sent: &Sent| sent.number == number && sent.to == from;
        let Some(index) = self.sent.iter().position(asked) else {
            // Late, or never asked for: its signature is not worth looking at.
            return Ok(());
        };
        let contact = claimed.verify(&self.realm.network, from, Some(&self.me.id))?;
        self.gate.keep(from, claimed.cookie);
        let hello = self.sent.remove(index).and_then(|sent| sent.hello);
        match hello {
            Some((index, Some(expected))) if expected != claimed.from => {
                self.contacts.failed(now, index);
            }
            Some((index, _)) => {
                self.contacts.reached(now, index, claimed.from);
                self.door = Some(contact);
                self.next_join = now + JOIN_EVERY;
                self.overlay.join(self.raw(now), contact);
            }
            None => self
                .overlay
                .receive(self.raw(now), contact, claimed.message),
        }
        Ok(())
    }

    fn met_ourselves(&mut self, now: Instant, number: u64) {
        let asked = |sent: &Sent| sent.number == number;
        let hello = self.sent.iter().find(|sent| asked(sent));
        let Some((index, _)) = hello.and_then(|sent| sent.hello) else {
            return;
        };
        self.sent.retain(|sent| sent.number != number);
        self.contacts.ourselves(now, index);
        if let Some(own) = self.own.get_mut(index) {
            *own = true;
        }
        // The only bootstrap node there is begins the network.
        if self.own.iter().all(|own| *own) {
            self.overlay.found();
        }
    }

    /// A query must be asked again, with this cookie.
    fn repeat(&mut self, now: Instant, from: SocketAddr, number: u64, cookie: Cookie) {
        let asked = |sent: &&mut Sent| sent.number == number && sent.to == from && !sent.again;
        let Some(sent) = self.sent.iter_mut().find(asked) else {
            return;
        };
        sent.again = true;
        sent.due = sent.due.max(now + HELLO);
        let query = sent.query.clone();
        self.gate.keep(from, cookie);
        self.send_query(from, number, query);
    }

    fn send_query(&mut self, to: SocketAddr, number: u64, query: Query) {
        let body = Body::Query(query);
        let cookie = self.gate.kept(&to);
        let bytes = self.encode(&cookie, &Message { number, body }, None);
        self.out.push_back((to, bytes));
    }

    fn encode(
        &self,
        cookie: &Cookie,
        message: &Message<Endpoint>,
        asker: Option<&NodeId>,
    ) -> Vec<u8> {
        let sender = Sender {
            key: &self.me.key,
            solution: self.me.solution,
            time_port: self.me.time_port,
        };
        codec::encode(&self.realm, &sender, cookie, message, asker)
    }

    fn remember(&mut self, sent: Sent) {
        self.sent.retain(|other| other.number != sent.number);
        if self.sent.len() >= SENT {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) {
        let raw = self.raw(now);
        for (index, addr, who) in self.contacts.due(now) {
            let number = random::number();
            let expected = match who {
                Who::Expected(id) => Some(id),
                Who::Answered(_) | Who::Unknown => None,
            };
            self.remember(Sent {
                number,
                to: addr,
                query: Query::Ping,
                hello: Some((index, expected)),
                due: now + HELLO,
                again: false,
                late: false,
            });
            self.send_query(addr, number, Query::Ping);
        }
        while let Some(place) = self.sent.iter().position(|sent| sent.due <= now) {
            let late = &mut self.sent[place];
            match late.hello {
                // A busy host's answer is welcome later, too.
                Some((index, _)) if !late.late => {
                    late.late = true;
                    late.due = now + LATE;
                    self.contacts.failed(now, index);
                }
                _ => drop(self.sent.remove(place)),
            }
        }
        if self.overlay.next_timeout() <= raw {
            self.overlay.handle_timeout(raw);
        }
        if !self.overlay.is_member() {
            if let Some(door) = self.door
                && self.next_join <= now
            {
                self.next_join = now + JOIN_EVERY;
                self.overlay.join(raw, door);
            }
        } else if self.next_draw <= now {
            let first = self.told.len() < FIRST_DRAWS / 2;
            self.sampler.want(if first { FIRST_DRAWS } else { 1 });
            let wait = if first { HELLO } else { DRAW_EVERY };
            self.next_draw = now + random::spread(wait);
        }
        if self.next_links <= now {
            self.next_links = now + LINKS_EVERY;
            self.tell_links(raw);
            self.tell_near();
        }
        for contact in self.told.due(raw) {
            self.overlay.check(raw, contact);
        }
        self.advance(now);
    }

    /// Who answers soonest may be near; the node finds out.
    fn tell_near(&mut self) {
        for (contact, _) in self.overlay.near() {
            if !self.told.has(contact) {
                let near = Candidate {
                    found_by: FoundBy::Near,
                    ..contact.at.candidate()
                };
                self.outbox.push(PeerEvent::Found(near));
            }
        }
    }

    /// In a small network everybody linked is worth telling.
    fn tell_links(&mut self, now: RawTime) {
        if self.overlay.links().estimate() > SMALL {
            return;
        }
        let mut links = Vec::new();
        self.overlay
            .links()
            .links(&mut |contact| links.push(*contact));
        for contact in links {
            if !self.told.has(&contact) {
                self.tell(now, contact);
            }
        }
    }

    fn tell(&mut self, now: RawTime, contact: Contact<Endpoint>) {
        self.told.add(now, contact);
        self.outbox.push(PeerEvent::Found(contact.at.candidate()));
    }

    /// Takes what the overlay has to say and makes datagrams of what it sends.
    fn advance(&mut self, now: Instant) {
        let raw = self.raw(now);
        if self.overlay.is_member() {
            self.sampler.advance(raw, &mut self.overlay);
        }
        while let Some(event) = self.overlay.poll_event() {
            match event {
                Event::Done(outcome) => {
                    self.lookups += 1;
                    if let Drawn::Taken(found) = self.sampler.ended(&outcome) {
                        self.tell(raw, found.contact);
                    }
                    self.sampler.advance(raw, &mut self.overlay);
                }
                Event::Gone(contact) => {
                    if self.told.gone(&contact) {
                        self.outbox.push(PeerEvent::Lost(contact.at.id));
                    }
                    if self.told.is_empty() {
                        self.contacts.alone(now);
                    }
                }
                Event::There(contact) => {
                    if self.told.has(&contact) && !self.told.seen(raw, &contact) {
                        self.tell(raw, contact);
                    }
                }
                Event::Joined => tracing::info!("in the {} network", self.realm.structure.name()),
            }
        }
        while let Some((to, message)) = self.overlay.poll_transmit() {
            match message.body {
                Body::Query(query) => {
                    self.remember(Sent {
                        number: message.number,
                        to: to.at.addr,
                        query: query.clone(),
                        hello: None,
                        due: now + HELLO,
                        again: false,
                        late: false,
                    });
                    self.send_query(to.at.addr, message.number, query);
                }
                Body::Answer(_) => {
                    let cookie = self.gate.cookie(raw, to.at.addr, &to.at.id);
                    let bytes = self.encode(&cookie, &message, Some(&to.at.id));
                    self.out.push_back((to.at.addr, bytes));
                }
            }
        }
    }

    /// The next datagram to send.
    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.out.pop_front()
    }

    /// When [`Core::tick`] has something to do.
    pub(super) fn next_due(&self) -> Instant {
        let overlay = self.overlay.next_timeout().as_nanos().max(0) as u64;
        let mut due = (self.start + Duration::from_nanos(overlay)).min(self.next_links);
        due = self
            .contacts
            .next_due()
            .map_or(due, |contact| due.min(contact));
        due = self
            .sent
            .iter()
            .map(|sent| sent.due)
            .fold(due, Instant::min);
        if self.overlay.is_member() {
            due.min(self.next_draw)
        } else {
            due.min(self.next_join.max(self.next_links))
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut keys = Vec::new();
        self.overlay
            .links()
            .links(&mut |contact| keys.push(contact.key));
        keys.sort_unstable();
        keys.dedup();
        Snapshot {
            known: self.told.len(),
            links: keys.len(),
            nodes: self.overlay.links().estimate(),
            member: self.overlay.is_member(),
            lookups: self.lookups,
            failing: self.contacts.failing(),
            refused: self.refused,
            foreign: self.foreign,
            traffic: self.overlay.traffic(),
        }
    }

    fn raw(&self, now: Instant) -> RawTime {
        RawTime::from_nanos(0) + Span::from(now.saturating_duration_since(self.start))
    }
}

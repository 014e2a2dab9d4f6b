//! A network of link structures at message level: every message is an event, none is free.

use parisync::time::{RawTime, Span};
use parisync::topology::draw::{Neighbourhood, NeighbourhoodConfig, Role, Sampler};
use parisync::topology::overlay::{
    Answer, AnyStructure, Body, Contact, Event, Key, LinkStructure, LookupKind, MAX_REFERRALS,
    Message, Outcome, Overlay, Place, Query, Referral, Rng, Structure, Traffic, Waits,
};

use crate::sim::queue::Queue;

/// A simulated node's address: its number, and its address block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Host {
    /// Which node.
    pub number: u32,
    /// The address block it is in.
    pub block: u32,
}

impl Place for Host {
    fn block(&self) -> Option<u64> {
        Some(u64::from(self.block))
    }
}

/// One node's machine.
pub type Machine = Overlay<Host, AnyStructure<Host>>;

/// Least and largest delay of a message, one way; each pair of nodes has its own in between.
const DELAY: (Span, Span) = (Span::from_millis(5), Span::from_millis(100));
/// How often a node that is not in yet tries again, through somebody else.
const TRY_AGAIN: Span = Span::from_secs(10);

struct Node {
    machine: Box<Machine>,
    contact: Contact<Host>,
    timer: RawTime,
    /// When to try to join again, until it is in.
    joining: Option<RawTime>,
}

enum What {
    Deliver(u32, Contact<Host>, Box<Message<Host>>),
    Timer(u32),
}

/// The network.
pub struct Network {
    structure: fn(Key) -> AnyStructure<Host>,
    waits: Waits,
    now: RawTime,
    queue: Queue<What>,
    nodes: Vec<Option<Node>>,
    living: Vec<u32>,
    /// Where each living node is in `living`.
    places: Vec<u32>,
    rng: Rng,
    loss: f64,
    events: u64,
    done: Vec<(u32, Outcome<Host>)>,
    past: Traffic,
    /// Nodes that lie about who is where, all in league.
    colluders: Vec<Contact<Host>>,
}

impl Network {
    /// An empty network of nodes with `structure`.
    pub fn new(structure: fn(Key) -> AnyStructure<Host>, seed: u64) -> Self {
        Self {
            structure,
            waits: Waits::default(),
            now: RawTime::from_nanos(0),
            queue: Queue::new(),
            nodes: Vec::new(),
            living: Vec::new(),
            places: Vec::new(),
            rng: Rng::new(seed),
            loss: 0.0,
            events: 0,
            done: Vec::new(),
            past: Traffic::default(),
            colluders: Vec::new(),
        }
    }

    /// An empty network of this structure in its usual size.
    pub fn of(structure: Structure, seed: u64) -> Self {
        Self::new(usual(structure), seed)
    }

    /// The share of messages lost from now on.
    pub const fn lose(&mut self, share: f64) {
        self.loss = share;
    }

    /// Simulated time.
    pub const fn now(&self) -> RawTime {
        self.now
    }

    /// Messages and timeouts handled so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The nodes that live.
    pub fn living(&self) -> &[u32] {
        &self.living
    }

    /// A living node's machine.
    pub fn machine(&self, number: u32) -> Option<&Machine> {
        let node = self.nodes.get(number as usize)?.as_ref()?;
        Some(&node.machine)
    }

    /// A living node, at random.
    pub fn anybody(&mut self) -> u32 {
        self.living[self.rng.below(self.living.len())]
    }

    /// A random key.
    pub const fn random_key(&mut self) -> Key {
        Key(self.rng.next())
    }

    /// Grows to `count` living nodes, `pause` apart, each joining through a random one.
    pub fn grow(&mut self, count: usize, pause: Span) {
        while self.living.len() < count {
            let key = self.random_key();
            let block = (self.rng.next() >> 40) as u32;
            self.enter(key, block);
            self.run(pause);
        }
    }

    /// A node with this key in this address block joins through a random living node.
    pub fn enter(&mut self, key: Key, block: u32) -> u32 {
        let number = self.nodes.len() as u32;
        let contact = Contact {
            key,
            at: Host { number, block },
        };
        let seed = self.rng.next();
        let links = (self.structure)(key);
        let machine = Box::new(Overlay::new(key, links, self.waits, self.now, seed));
        self.nodes.push(Some(Node {
            machine,
            contact,
            timer: RawTime::from_nanos(i64::MAX),
            joining: Some(self.now),
        }));
        self.places.push(self.living.len() as u32);
        self.living.push(number);
        if self.living.len() == 1 {
            self.with(number, |machine, _| machine.found());
        }
        self.settle(number);
        number
    }

    /// A node goes without a word.
    pub fn kill(&mut self, number: u32) {
        let Some(node) = self.nodes[number as usize].take() else {
            return;
        };
        add(&mut self.past, node.machine.traffic());
        let place = self.places[number as usize] as usize;
        self.living.swap_remove(place);
        if let Some(moved) = self.living.get(place) {
            self.places[*moved as usize] = place as u32;
        }
    }

    /// Half of the nodes, or another share, go at once.
    pub fn kill_share(&mut self, share: f64) {
        let going = (self.living.len() as f64 * share) as usize;
        for _ in 0..going {
            let number = self.anybody();
            self.kill(number);
        }
    }

    /// Runs for `span`.
    pub fn run(&mut self, span: Span) {
        let until = self.now + span;
        while let Some((at, what)) = self.queue.pop(until.as_nanos()) {
            self.now = RawTime::from_nanos(at);
            self.events += 1;
            match what {
                What::Deliver(to, from, message) if self.is_bad(to) => {
                    self.mislead(to, from, *message);
                }
                What::Deliver(to, from, message) => {
                    self.with(to, |machine, now| machine.receive(now, from, *message));
                }
                What::Timer(number) => {
                    if let Some(node) = self.nodes[number as usize].as_mut()
                        && node.timer == self.now
                    {
                        node.timer = RawTime::from_nanos(i64::MAX);
                        self.with(number, |machine, now| machine.handle_timeout(now));
                    }
                }
            }
        }
        self.now = until;
    }

    /// Runs for `span` while `per_minute` of the nodes are replaced each minute, at random times.
    pub fn churn(&mut self, per_minute: f64, span: Span) {
        let until = self.now + span;
        let pause = 60e9 / (per_minute * self.living.len() as f64).max(1e-9);
        loop {
            let wait = Span::from_nanos_f64(-pause * (1.0 - self.rng.unit()).ln());
            if self.now + wait > until {
                break;
            }
            self.run(wait);
            let number = self.anybody();
            self.kill(number);
            let key = self.random_key();
            let block = (self.rng.next() >> 40) as u32;
            self.enter(key, block);
        }
        self.run(until - self.now);
    }

    /// Starts a lookup at `number`; [`Network::take_done`] has it when it is done.
    pub fn lookup(&mut self, number: u32, target: Key, kind: LookupKind) -> Option<u32> {
        let mut begun = None;
        self.with(number, |machine, now| {
            begun = machine.lookup(now, target, kind);
        });
        begun
    }

    /// Lookups that have ended, with who began them.
    pub fn take_done(&mut self) -> Vec<(u32, Outcome<Host>)> {
        std::mem::take(&mut self.done)
    }

    /// Who is in charge of `target`, in truth: among the living that have their place.
    pub fn owner(&self, target: Key) -> Option<Contact<Host>> {
        let living = self.living.iter();
        let nodes = living.filter_map(|n| self.nodes[*n as usize].as_ref());
        let members = nodes.filter(|node| node.machine.is_member());
        let far = |node: &&Node| {
            let links = node.machine.links();
            links.ownership(target, links.seat(target))
        };
        members.min_by_key(far).map(|node| node.contact)
    }

    /// What all nodes sent and received so far, the dead included.
    pub fn traffic(&self) -> Traffic {
        let mut total = self.past;
        for node in self.nodes.iter().flatten() {
            add(&mut total, node.machine.traffic());
        }
        total
    }

    /// From now on these living nodes lie: whoever is looked up is one of them.
    pub fn corrupt(&mut self, numbers: &[u32]) {
        let node = |number: &u32| self.nodes.get(*number as usize)?.as_ref();
        self.colluders = numbers.iter().filter_map(node).map(|n| n.contact).collect();
        self.colluders.sort_unstable_by_key(|c| c.at.number);
    }

    /// Whether a node lies.
    pub fn is_bad(&self, number: u32) -> bool {
        let number = |c: &Contact<Host>| c.at.number.cmp(&number);
        self.colluders.binary_search_by(number).is_ok()
    }

    /// What a liar answers: to a lookup the nearest of its kind and nobody else, in CAN with a
    /// zone that fits; to everything else what an honest node would.
    fn mislead(&mut self, number: u32, from: Contact<Host>, message: Message<Host>) {
        let Body::Query(Query::Find(target)) = message.body else {
            self.with(number, |machine, now| machine.receive(now, from, message));
            return;
        };
        let Some(Some(node)) = self.nodes.get(number as usize) else {
            return;
        };
        let links = node.machine.links();
        let is_can = matches!(links, AnyStructure::Can(_));
        // Everybody may call any zone its own; keys it cannot choose.
        let fake = Key(target.0 & !0xffff_ffff | 0x8000_0000);
        let seat = |key: Key| if is_can { fake } else { key };
        let mut best: Vec<_> = self
            .colluders
            .iter()
            .map(|c| (links.ownership(target, c.key), *c))
            .collect();
        best.sort_unstable_by_key(|(far, c)| (*far, c.key));
        let nearer = best
            .into_iter()
            .take(MAX_REFERRALS)
            .map(|(_, contact)| Referral {
                contact,
                seat: seat(contact.key),
            });
        let answer = Answer::Found {
            seat: seat(node.contact.key),
            nearer: nearer.collect(),
        };
        let (liar, number) = (node.contact, message.number);
        let body = Body::Answer(answer);
        let at = self.now + delay(liar.key, from.key);
        let message = Box::new(Message { number, body });
        let what = What::Deliver(from.at.number, liar, message);
        self.queue.push(at.as_nanos(), what);
    }

    /// Lets each of `who` draw its neighbours until they are complete or `limit` is over; who
    /// they are, and how many lookups it took.
    pub fn draw(
        &mut self,
        who: &[u32],
        config: NeighbourhoodConfig,
        paths: u8,
        limit: Span,
    ) -> (Vec<Vec<Contact<Host>>>, u64) {
        let mut hoods: Vec<_> = who
            .iter()
            .map(|number| {
                let secret = std::array::from_fn(|_| self.rng.next() as u8);
                let sampler = Sampler::new(secret, paths);
                (*number, Neighbourhood::new(config, sampler, self.now))
            })
            .collect();
        let (mut lookups, until) = (0, self.now + limit);
        let wanted = config.slow + config.fresh;
        while self.now < until {
            let mut complete = true;
            for (number, hood) in &mut hoods {
                if hood.members().len() < wanted {
                    complete = false;
                    self.with(*number, |machine, now| hood.advance(now, machine));
                }
            }
            if complete {
                break;
            }
            self.run(Span::from_millis(250));
            for (number, outcome) in self.take_done() {
                lookups += 1;
                if let Some((_, hood)) = hoods.iter_mut().find(|(n, _)| *n == number) {
                    hood.ended(self.now, &outcome);
                }
            }
        }
        let members = |hood: &Neighbourhood<Host>| {
            let drawn = hood.members().iter().filter(|m| m.role != Role::Near);
            drawn.map(|m| m.contact).collect()
        };
        (
            hoods.iter().map(|(_, hood)| members(hood)).collect(),
            lookups,
        )
    }

    fn with(&mut self, number: u32, what: impl FnOnce(&mut Machine, RawTime)) {
        if let Some(node) = self.nodes[number as usize].as_mut() {
            what(&mut node.machine, self.now);
            self.settle(number);
        }
    }

    /// Sends what a node has to send and plans its next timeout.
    fn settle(&mut self, number: u32) {
        let now = self.now;
        let Some(node) = self.nodes[number as usize].as_mut() else {
            return;
        };
        if node.machine.is_member() {
            node.joining = None;
        } else if node.joining.is_none_or(|at| at <= now) && self.living.len() > 1 {
            node.joining = Some(now + TRY_AGAIN);
            // Through whoever was there first, if it is in: as real nodes know an address.
            let other = self.living[self.rng.below(self.living.len())];
            if let Some(Some(other)) = self.nodes.get(other as usize)
                && other.machine.is_member()
            {
                let contact = other.contact;
                if let Some(node) = self.nodes[number as usize].as_mut() {
                    node.machine.join(now, contact);
                }
            } else if let Some(node) = self.nodes[number as usize].as_mut() {
                node.joining = Some(now + TRY_AGAIN / 10);
            }
        }
        let Some(node) = self.nodes[number as usize].as_mut() else {
            return;
        };
        let from = node.contact;
        while let Some((to, message)) = node.machine.poll_transmit() {
            if self.rng.unit() >= self.loss {
                let at = now + delay(from.key, to.key);
                let what = What::Deliver(to.at.number, from, Box::new(message));
                self.queue.push(at.as_nanos(), what);
            }
        }
        while let Some(event) = node.machine.poll_event() {
            if let Event::Done(outcome) = event {
                self.done.push((number, outcome));
            }
        }
        let due = node.machine.next_timeout().max(now);
        if due < node.timer {
            node.timer = due;
            self.queue.push(due.as_nanos(), What::Timer(number));
        }
    }
}

/// The structure of this name, in its usual size.
pub fn usual(structure: Structure) -> fn(Key) -> AnyStructure<Host> {
    match structure {
        Structure::Kademlia => |key| AnyStructure::new(Structure::Kademlia, key),
        Structure::Chord => |key| AnyStructure::new(Structure::Chord, key),
        Structure::Pastry => |key| AnyStructure::new(Structure::Pastry, key),
        Structure::Can => |key| AnyStructure::new(Structure::Can, key),
    }
}

fn delay(a: Key, b: Key) -> Span {
    let unit = (a.0 ^ b.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let share = unit as f64 / (1u64 << 24) as f64;
    DELAY.0 + Span::from_nanos_f64((DELAY.1 - DELAY.0).as_nanos_f64() * share)
}

const fn add(total: &mut Traffic, one: Traffic) {
    total.sent += one.sent;
    total.received += one.received;
    total.unanswered += one.unanswered;
}

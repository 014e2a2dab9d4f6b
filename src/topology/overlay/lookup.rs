//! One iterative lookup, over disjoint paths.

use super::{Contact, Key, LinkStructure, Place, Referral};
use crate::rng::Rng;
use crate::time::{RawTime, Span};

/// Candidates that one lookup remembers at most.
const MOST: usize = 96;
/// Requests of one lookup under way at a time; the paths share them.
const PARALLEL: usize = 3;
/// Paths of a lookup at most.
pub const MAX_PATHS: usize = 8;

/// How to look something up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupKind {
    /// Paths that share no node, so that one liar spoils one path only; 1 to [`MAX_PATHS`].
    pub paths: u8,
    /// A path ends when so many of the nearest that it knows have answered, at least 1.
    pub width: u8,
    /// The outcome is one, at random, of so many nodes nearest to the key. 1: the one in charge.
    /// More even out that some nodes are in charge of more keys than others.
    pub spread: u8,
}

impl LookupKind {
    /// Who is in charge of a key, the shortest way.
    pub const OWNER: Self = Self {
        paths: 1,
        width: 1,
        spread: 1,
    };
}

/// What came of a lookup.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<A> {
    /// The number that [`Overlay::lookup`](super::Overlay::lookup) gave it.
    pub lookup: u32,
    /// The key.
    pub target: Key,
    /// The node that was found; it answered. `None`: nobody else is there.
    pub found: Option<Found<A>>,
    /// This node is nearer to the key than whoever was found.
    pub own: bool,
    /// Of how much of the key space the `spread` nearest nodes are in charge: about
    /// `spread · 2⁶⁴ / n` where nothing is hidden.
    pub extent: u64,
    /// Requests sent, repetitions aside.
    pub asked: u16,
    /// Of those, how many were not answered.
    pub failed: u16,
    /// How long it took.
    pub took: Span,
}

/// The node that a lookup found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<A> {
    /// The node.
    pub contact: Contact<A>,
    /// Where it sits.
    pub seat: Key,
    /// Nodes asked one after the other to get there, itself included.
    pub hops: u8,
    /// Its round-trip time.
    pub rtt: Span,
    /// The paths that named it, one bit each.
    pub named: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Asked,
    /// Asked, and late: it may answer yet, but nobody waits for it.
    Late,
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate<A> {
    referral: Referral<A>,
    rank: u64,
    rtt: Span,
    state: State,
    hops: u8,
    path: u8,
    named: u8,
}

/// Who asked for a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Owner,
    Structure(u8),
}

#[derive(Debug)]
pub(super) struct Lookup<A> {
    pub(super) number: u32,
    pub(super) target: Key,
    pub(super) whose: For,
    kind: LookupKind,
    started: RawTime,
    candidates: Vec<Candidate<A>>,
    /// The one of the nearest that is to be the outcome, once that is drawn.
    chosen: Option<Key>,
    asked: u16,
    failed: u16,
}

/// What a lookup does next.
#[derive(Debug)]
pub(super) enum Step<A> {
    Ask(Contact<A>),
    Wait,
    Done,
}

impl<A: Place> Lookup<A> {
    pub(super) fn new(
        number: u32,
        target: Key,
        whose: For,
        kind: LookupKind,
        started: RawTime,
    ) -> Self {
        let kind = LookupKind {
            paths: kind.paths.clamp(1, MAX_PATHS as u8),
            width: kind.width.max(1),
            spread: kind.spread.max(1),
        };
        Self {
            number,
            target,
            whose,
            kind,
            started,
            candidates: Vec::new(),
            chosen: None,
            asked: 0,
            failed: 0,
        }
    }

    /// Deals the first contacts, the nearest first, among the paths.
    pub(super) fn seed<L: LinkStructure<A>>(&mut self, links: &L, first: &[Referral<A>]) {
        for (index, referral) in first.iter().enumerate() {
            let path = (index % usize::from(self.kind.paths)) as u8;
            self.learn(links, *referral, path, 1);
        }
    }

    fn learn<L: LinkStructure<A>>(&mut self, links: &L, new: Referral<A>, path: u8, hops: u8) {
        let known = |c: &&mut Candidate<A>| c.referral.contact.key == new.contact.key;
        let rank = links.progress(self.target, new.seat);
        if let Some(candidate) = self.candidates.iter_mut().find(known) {
            candidate.named |= 1 << path;
            // Who has not said itself where it sits may have moved since it was first heard of.
            if candidate.state == State::New && rank < candidate.rank {
                candidate.referral.seat = new.seat;
                candidate.rank = rank;
            }
            return;
        }
        if self.candidates.len() >= MOST {
            // On a ring the one in charge lies behind the key, where no way leads on.
            let far = |seat| {
                let way = links.progress(self.target, seat);
                way.min(links.ownership(self.target, seat))
            };
            let spare = self.candidates.iter().enumerate();
            let worst = spare
                .filter(|(_, c)| c.state == State::New)
                .map(|(index, c)| (far(c.referral.seat), index))
                .max();
            match worst {
                Some((worst, index)) if worst > far(new.seat) => {
                    self.candidates.swap_remove(index);
                }
                _ => return,
            }
        }
        self.candidates.push(Candidate {
            referral: new,
            rank,
            rtt: Span::MAX,
            state: State::New,
            hops,
            path,
            named: 1 << path,
        });
    }

    /// `from` answered.
    pub(super) fn answered<L: LinkStructure<A>>(
        &mut self,
        links: &L,
        from: &Contact<A>,
        rtt: Span,
        seat: Key,
        nearer: &[Referral<A>],
        own: Key,
    ) {
        let asked = |c: &&mut Candidate<A>| c.referral.contact.key == from.key;
        let Some(candidate) = self.candidates.iter_mut().find(asked) else {
            return;
        };
        candidate.state = State::Answered;
        candidate.rtt = rtt;
        candidate.referral.seat = seat;
        candidate.rank = links.progress(self.target, seat);
        let (path, hops) = (candidate.path, candidate.hops.saturating_add(1));
        for referral in nearer {
            if referral.contact.key != own {
                self.learn(links, *referral, path, hops);
            }
        }
    }

    /// `contact` is late; go on without waiting for it.
    pub(super) fn late(&mut self, contact: &Contact<A>) {
        if let Some(candidate) = self.find(contact.key)
            && candidate.state == State::Asked
        {
            candidate.state = State::Late;
        }
    }

    /// `contact` is not there.
    pub(super) fn failed(&mut self, contact: &Contact<A>) {
        let mut failed = 0;
        if let Some(candidate) = self.find(contact.key)
            && candidate.state != State::Answered
        {
            failed = u16::from(candidate.state != State::New);
            candidate.state = State::Failed;
        }
        self.failed += failed;
    }

    fn find(&mut self, key: Key) -> Option<&mut Candidate<A>> {
        let with_key = |c: &&mut Candidate<A>| c.referral.contact.key == key;
        self.candidates.iter_mut().find(with_key)
    }

    /// What to do next.
    pub(super) fn step<L: LinkStructure<A>>(&mut self, links: &L, rng: &mut Rng) -> Step<A> {
        let paths = usize::from(self.kind.paths);
        let parallel = (PARALLEL / paths).max(1);
        let mut waiting = false;
        for path in 0..paths {
            match self.path_step(path as u8, parallel) {
                Step::Ask(contact) => return Step::Ask(contact),
                Step::Wait => waiting = true,
                Step::Done => {}
            }
        }
        if waiting {
            return Step::Wait;
        }
        self.last_step(links, rng)
    }

    fn path_step(&mut self, path: u8, parallel: usize) -> Step<A> {
        let mut best: Option<usize> = None;
        let mut under_way = 0;
        let mut better = 0;
        for (index, candidate) in self.candidates.iter().enumerate() {
            if candidate.path != path {
                continue;
            }
            under_way += usize::from(candidate.state == State::Asked);
            if candidate.state == State::New
                && best.is_none_or(|b| candidate.rank < self.candidates[b].rank)
            {
                best = Some(index);
            }
        }
        let Some(best) = best else {
            return if under_way > 0 {
                Step::Wait
            } else {
                Step::Done
            };
        };
        let rank = self.candidates[best].rank;
        for candidate in self.candidates.iter().filter(|c| c.path == path) {
            let counts = matches!(candidate.state, State::Answered | State::Asked);
            better += usize::from(counts && candidate.rank <= rank);
        }
        if better < usize::from(self.kind.width) && under_way < parallel {
            return Step::Ask(self.ask(best));
        }
        if under_way > 0 {
            Step::Wait
        } else {
            Step::Done
        }
    }

    fn ask(&mut self, index: usize) -> Contact<A> {
        self.asked = self.asked.saturating_add(1);
        let candidate = &mut self.candidates[index];
        candidate.state = State::Asked;
        candidate.referral.contact
    }

    /// All paths have come to their ends: whoever is to be the outcome must be there.
    fn last_step<L: LinkStructure<A>>(&mut self, links: &L, rng: &mut Rng) -> Step<A> {
        let mut nearest = self.nearest(links);
        nearest.truncate(usize::from(self.kind.spread));
        if nearest.is_empty() {
            return Step::Done;
        }
        let kept = self.chosen.and_then(|key| {
            let is_chosen = |i: &usize| self.candidates[*i].referral.contact.key == key;
            nearest.iter().copied().find(is_chosen)
        });
        let index = kept.unwrap_or_else(|| nearest[rng.below(nearest.len())]);
        self.chosen = Some(self.candidates[index].referral.contact.key);
        match self.candidates[index].state {
            State::Answered => Step::Done,
            State::New => Step::Ask(self.ask(index)),
            State::Asked | State::Late | State::Failed => Step::Wait,
        }
    }

    /// Candidates that are there as far as is known, the one in charge first.
    fn nearest<L: LinkStructure<A>>(&self, links: &L) -> Vec<usize> {
        let mut all: Vec<_> = self
            .candidates
            .iter()
            .enumerate()
            .filter(|(_, c)| c.state != State::Failed)
            .map(|(index, c)| {
                let far = links.ownership(self.target, c.referral.seat);
                // Of two that claim the same, whom more paths name.
                (far, u32::MAX - c.named.count_ones(), index)
            })
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(.., index)| index).collect()
    }

    /// Those that answered, the one in charge first.
    pub(super) fn answered_nearest<L: LinkStructure<A>>(&self, links: &L) -> Vec<Referral<A>> {
        let there = |index: &usize| self.candidates[*index].state == State::Answered;
        let nearest = self.nearest(links).into_iter().filter(there);
        nearest
            .map(|index| self.candidates[index].referral)
            .collect()
    }

    pub(super) fn outcome<L: LinkStructure<A>>(&self, links: &L, now: RawTime) -> Outcome<A> {
        let chosen = |c: &&Candidate<A>| {
            c.state == State::Answered && Some(c.referral.contact.key) == self.chosen
        };
        let found = self.candidates.iter().find(chosen).map(|c| Found {
            contact: c.referral.contact,
            seat: c.referral.seat,
            hops: c.hops,
            rtt: c.rtt,
            named: c.named,
        });
        let far = |seat| links.ownership(self.target, seat);
        let nearest = self.nearest(links);
        let last = nearest
            .iter()
            .take(usize::from(self.kind.spread))
            .next_back();
        let extent = last.map_or(u64::MAX, |i| {
            links.extent(self.target, self.candidates[*i].referral.seat)
        });
        let own = far(links.seat(self.target));
        Outcome {
            lookup: self.number,
            target: self.target,
            own: links.is_member() && found.is_none_or(|f| own < far(f.seat)),
            found,
            extent,
            asked: self.asked,
            failed: self.failed,
            took: now - self.started,
        }
    }
}

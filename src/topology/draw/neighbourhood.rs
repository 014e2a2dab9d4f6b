//! Who the neighbours are, and for how long.

use super::{Drawn, Sampler};
use crate::time::{RawTime, Span};
use crate::topology::overlay::{Contact, Found, LinkStructure, Outcome, Overlay, Place};

/// Draws refused in a row because of their address block, after which the block counts no more: a
/// network may have few of them.
const PATIENCE: u32 = 16;

/// Why a node is a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Drawn, and kept for long, so that its link can be filtered well.
    Slow,
    /// Drawn for this round only, so that who captured the others is found out.
    Fresh,
    /// Among the nearest by round-trip time. It sharpens local agreement and must have no weight
    /// in what the whole network agrees on: anybody can be near.
    Near,
}

/// A neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member<A> {
    /// The node.
    pub contact: Contact<A>,
    /// Why it is one.
    pub role: Role,
    /// Its round-trip time when it was drawn.
    pub rtt: Span,
    /// Since when.
    pub since: RawTime,
}

/// How many neighbours there are and how long they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourhoodConfig {
    /// Slowly rotating.
    pub slow: usize,
    /// Drawn afresh each round.
    pub fresh: usize,
    /// Near ones.
    pub near: usize,
    /// How long a slow one stays.
    pub life: Span,
    /// How long a fresh one stays.
    pub round: Span,
}

impl Default for NeighbourhoodConfig {
    fn default() -> Self {
        Self {
            slow: 8,
            fresh: 8,
            near: 2,
            life: Span::from_secs(1200),
            round: Span::from_secs(60),
        }
    }
}

/// A node's neighbours, renewed bit by bit: at any time one slow member at most is being replaced
/// per `life / slow`, and a member leaves only when its successor is there or it is gone itself.
///
/// Of each address block at most one is drawn. A link serves both its ends, so those who have
/// drawn this node may be used as well; they must not count as drawn.
#[derive(Debug, Clone)]
pub struct Neighbourhood<A> {
    config: NeighbourhoodConfig,
    sampler: Sampler,
    members: Vec<Member<A>>,
    crowded: u32,
    /// Draws of a large fresh sample still missing, and those that came.
    recovering: usize,
    next_slow: RawTime,
}

impl<A: Place> Neighbourhood<A> {
    /// No neighbours yet.
    pub fn new(config: NeighbourhoodConfig, sampler: Sampler, now: RawTime) -> Self {
        Self {
            config,
            sampler,
            members: Vec::new(),
            crowded: 0,
            recovering: 0,
            next_slow: now + config.life,
        }
    }

    /// The neighbours.
    pub fn members(&self) -> &[Member<A>] {
        &self.members
    }

    /// This node has reason to think that it was captured: everybody drawn is given up as fresh
    /// draws come, `count` of them at least, so that most of its neighbours are ones nobody chose.
    pub fn start_over(&mut self, now: RawTime, count: usize) {
        let due = now - self.config.life.max(self.config.round);
        for member in &mut self.members {
            member.since = member.since.min(due);
        }
        self.recovering = count.max(self.config.slow + self.config.fresh);
        self.next_slow = now;
    }

    /// Whether the large sample of [`Neighbourhood::start_over`] is still being drawn.
    pub const fn is_recovering(&self) -> bool {
        self.recovering > 0
    }

    /// `contact` has gone.
    pub fn gone(&mut self, contact: &Contact<A>) {
        self.members.retain(|m| m.contact.key != contact.key);
    }

    /// Renews what is due. Call after every input of `overlay` and when it is due.
    pub fn advance<L: LinkStructure<A>>(&mut self, now: RawTime, overlay: &mut Overlay<A, L>) {
        self.members.retain(|m| m.role != Role::Near);
        let near: Vec<_> = overlay
            .near()
            .iter()
            .filter(|(contact, _)| !self.has(contact))
            .take(self.config.near)
            .map(|(contact, rtt)| Member {
                contact: *contact,
                role: Role::Near,
                rtt: *rtt,
                since: now,
            })
            .collect();
        self.members.extend(near);
        let missing = self.missing(Role::Slow, now) + self.missing(Role::Fresh, now);
        let wanted = missing.max(self.recovering);
        self.sampler
            .want(wanted.saturating_sub(self.sampler.owed()));
        self.sampler.advance(now, overlay);
    }

    /// A lookup has ended. The member that it brought, if any.
    pub fn ended(&mut self, now: RawTime, outcome: &Outcome<A>) -> Option<Member<A>> {
        match self.sampler.ended(outcome) {
            Drawn::Taken(found) => self.take(now, found),
            Drawn::Refused | Drawn::Foreign => None,
        }
    }

    fn take(&mut self, now: RawTime, found: Found<A>) -> Option<Member<A>> {
        if self.is_drawn(&found.contact) || self.is_crowded(&found) {
            return None;
        }
        self.recovering = self.recovering.saturating_sub(1);
        let role = [Role::Slow, Role::Fresh]
            .into_iter()
            .find(|role| self.missing(*role, now) > 0)?;
        let member = Member {
            contact: found.contact,
            role,
            rtt: found.rtt,
            since: now,
        };
        self.members.retain(|m| m.contact.key != found.contact.key);
        if self.count(role) >= self.size(role) {
            self.remove_oldest(role);
        }
        if role == Role::Slow && self.recovering == 0 {
            self.next_slow = now + self.config.life / self.config.slow.max(1) as i64;
        }
        self.members.push(member);
        Some(member)
    }

    fn has(&self, contact: &Contact<A>) -> bool {
        self.members.iter().any(|m| m.contact.key == contact.key)
    }

    fn is_drawn(&self, contact: &Contact<A>) -> bool {
        let drawn = |m: &Member<A>| m.role != Role::Near && m.contact.key == contact.key;
        self.members.iter().any(drawn)
    }

    fn is_crowded(&mut self, found: &Found<A>) -> bool {
        let block = found.contact.at.block();
        let same = |m: &Member<A>| m.role != Role::Near && m.contact.at.block() == block;
        if block.is_some() && self.members.iter().any(same) && self.crowded < PATIENCE {
            self.crowded += 1;
            return true;
        }
        self.crowded = 0;
        false
    }

    const fn size(&self, role: Role) -> usize {
        match role {
            Role::Slow => self.config.slow,
            Role::Fresh => self.config.fresh,
            Role::Near => self.config.near,
        }
    }

    fn count(&self, role: Role) -> usize {
        self.members.iter().filter(|m| m.role == role).count()
    }

    /// Members of this role to be drawn now.
    fn missing(&self, role: Role, now: RawTime) -> usize {
        let empty = self.size(role).saturating_sub(self.count(role));
        let of_role = self.members.iter().filter(|m| m.role == role);
        let due = match role {
            Role::Slow => {
                let old = of_role
                    .filter(|m| now - m.since >= self.config.life)
                    .count();
                // One at a time, unless all are to go.
                let one = usize::from(empty == 0 && now >= self.next_slow);
                if self.recovering > 0 { old } else { one }
            }
            Role::Fresh => of_role
                .filter(|m| now - m.since >= self.config.round)
                .count(),
            Role::Near => 0,
        };
        empty + due
    }

    fn remove_oldest(&mut self, role: Role) {
        let members = self.members.iter().enumerate();
        let oldest = members
            .filter(|(_, m)| m.role == role)
            .min_by_key(|(_, m)| m.since);
        if let Some((index, _)) = oldest {
            self.members.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::overlay::testing::{At, in_block};

    const START: RawTime = RawTime::from_nanos(0);

    fn found(key: u64, block: u64) -> Found<At> {
        let contact = in_block(key, block);
        Found {
            contact,
            seat: contact.key,
            hops: 1,
            rtt: Span::from_millis(1),
            named: 1,
        }
    }

    /// Full since `START`, with the keys and blocks 0 to 15.
    fn full() -> Neighbourhood<At> {
        let sampler = Sampler::new([1; 32], 3);
        let mut hood = Neighbourhood::new(NeighbourhoodConfig::default(), sampler, START);
        for n in 0..16 {
            assert!(hood.take(START, found(n, n)).is_some());
        }
        hood
    }

    fn old(hood: &Neighbourhood<At>) -> usize {
        hood.members()
            .iter()
            .filter(|m| m.contact.key.0 < 16)
            .count()
    }

    #[test]
    fn a_block_has_one_member_unless_there_are_few_blocks() {
        let sampler = Sampler::new([1; 32], 3);
        let mut hood = Neighbourhood::new(NeighbourhoodConfig::default(), sampler, START);
        assert!(hood.take(START, found(1, 7)).is_some());
        let refused = (2..).take_while(|n| hood.take(START, found(*n, 7)).is_none());
        assert_eq!(refused.count(), PATIENCE as usize);
        assert!(hood.take(START, found(1, 8)).is_none(), "it is one already");
    }

    #[test]
    fn the_fresh_part_changes_each_round_and_the_slow_part_one_by_one() {
        let mut hood = full();
        let late = START + Span::from_secs(61);
        let taken = (100..).take_while(|n| hood.take(late, found(*n, *n)).is_some());
        assert_eq!(taken.count(), 8, "the fresh ones");
        let later = START + Span::from_secs(1201);
        let mut slow = 0;
        for n in 200..300 {
            if let Some(member) = hood.take(later, found(n, n)) {
                slow += usize::from(member.role == Role::Slow);
            }
        }
        assert_eq!(slow, 1);
        assert_eq!(old(&hood), 7);
    }

    #[test]
    fn whoever_starts_over_is_rid_of_all_that_were_there() {
        let mut hood = full();
        hood.start_over(START, 48);
        assert!(hood.is_recovering());
        for n in 100..148 {
            assert_eq!(hood.members().len(), 16, "nobody goes before another comes");
            hood.take(START, found(n, n));
        }
        assert_eq!(old(&hood), 0);
        assert!(!hood.is_recovering());
    }
}

//! Whose zone is whose: claims, newcomers, orphans.

use std::cmp::Reverse;

use super::zone::Zone;
use super::{Can, NEIGHBOURS, Neighbour, ORPHAN, Orphan, TURN};
use crate::time::RawTime;
use crate::topology::overlay::{Actions, Answer, Contact, Key, MAX_ZONES, Place, Query};

impl<A: Place> Can<A> {
    /// `from` says that its zones are these. Whether ours have changed.
    pub(super) fn claimed(&mut self, now: RawTime, from: Contact<A>, claims: &[Key]) -> bool {
        self.neighbours.retain(|n| n.contact.key != from.key);
        let claims: Vec<_> = claims
            .iter()
            .filter_map(|code| Zone::from_code(*code))
            .collect();
        let mut changed = false;
        for claim in claims.iter().take(MAX_ZONES) {
            changed |= self.settle(now, from.key, *claim);
            self.orphans.retain(|orphan| !claim.overlaps(orphan.zone));
            if self.touches_own(*claim) && self.neighbours.len() < NEIGHBOURS {
                self.neighbours.push(Neighbour {
                    contact: from,
                    zone: *claim,
                });
            }
        }
        if changed {
            self.trim();
        }
        changed
    }

    /// Another node claims a zone. Where it overlaps ours: the one with the smaller zone is right,
    /// since it knows of a split of which the other has not heard; with the same zone, the one
    /// whose key lies in it, which nobody can choose, then the one with the smaller key.
    fn settle(&mut self, now: RawTime, claimant: Key, claim: Zone) -> bool {
        let Some(index) = self.zones.iter().position(|own| own.overlaps(claim)) else {
            return false;
        };
        let mut own = self.zones[index];
        let (theirs, ours) = (claim.contains(claimant), claim.contains(self.own));
        if own == claim {
            if (ours, Reverse(self.own)) < (theirs, Reverse(claimant)) {
                self.zones.swap_remove(index);
                return true;
            }
            return false;
        }
        if claim.covers(own) || (ours && !theirs) {
            return false;
        }
        // Give the claim away and keep what is left of ours.
        self.zones.swap_remove(index);
        while own != claim {
            let Some([low, high]) = own.halves() else {
                break;
            };
            let (keep, next) = if low.covers(claim) {
                (high, low)
            } else {
                (low, high)
            };
            if self.zones.len() < MAX_ZONES {
                self.zones.push(keep);
            } else {
                self.orphans.push(Orphan {
                    zone: keep,
                    since: now,
                });
            }
            own = next;
        }
        true
    }

    /// Own zones have changed: put halves together, forget who does not touch them any more.
    pub(super) fn trim(&mut self) {
        while let Some(index) = self.zones.iter().position(|zone| {
            zone.sibling()
                .is_some_and(|other| self.zones.contains(&other))
        }) {
            let zone = self.zones.swap_remove(index);
            let sibling = zone.sibling();
            self.zones.retain(|other| Some(*other) != sibling);
            self.zones.extend(zone.parent());
        }
        let (zones, d) = (std::mem::take(&mut self.zones), self.d());
        self.neighbours
            .retain(|n| zones.iter().any(|own| own.touches(n.zone, d)));
        self.zones = zones;
    }

    /// `zone` becomes ours.
    pub(super) fn take_over(&mut self, zone: Option<Zone>, actions: &mut Actions<A>) {
        let Some(zone) = zone.filter(|_| !self.zones.is_empty()) else {
            return;
        };
        let known = |n: &Neighbour<A>| n.zone.overlaps(zone);
        let taken = self.zones.iter().any(|own| own.overlaps(zone));
        if self.zones.len() >= MAX_ZONES || taken || self.neighbours.iter().any(known) {
            return;
        }
        self.zones.push(zone);
        self.trim();
        self.tell(self.contacts(), actions);
        // Whoever else touches it has to be found.
        for face in 0..2 * self.d() {
            let point = zone.beyond(face, self.own.0, self.d());
            self.look_beyond(point, actions);
        }
    }

    /// A newcomer asks for a zone: the half in which its key lies, or a whole one that we have
    /// taken over.
    pub(super) fn admit(&mut self, from: Contact<A>, actions: &mut Actions<A>) -> Answer<A> {
        // It asks again if our answer was lost.
        let has = |n: &&Neighbour<A>| n.contact.key == from.key && n.zone.contains(from.key);
        if let Some(known) = self.neighbours.iter().find(has) {
            let zone = known.zone;
            return self.answer_zones(&[zone], Some(zone), from.key);
        }
        let index = self.zones.iter().position(|zone| zone.contains(from.key));
        let Some(index) = index else {
            return self.answer_zones(&[], None, from.key);
        };
        let granted = if self.zones.len() > 1 {
            self.zones.swap_remove(index)
        } else {
            let Some([low, high]) = self.zones[index].halves() else {
                return self.answer_zones(&[], None, from.key);
            };
            let (granted, kept) = if low.contains(from.key) {
                (low, high)
            } else {
                (high, low)
            };
            self.zones[index] = kept;
            granted
        };
        let answer = self.answer_zones(&[granted], Some(granted), from.key);
        self.tell(self.contacts(), actions);
        self.trim();
        self.neighbours.push(Neighbour {
            contact: from,
            zone: granted,
        });
        answer
    }

    /// Neighbours that would take `orphan` over before us: those with smaller zones.
    fn before_us(&self, orphan: Zone) -> i64 {
        let deepest = |own: &[Zone]| own.iter().map(|z| z.depth()).max().unwrap_or(0);
        let ours = (deepest(&self.zones), self.own);
        let touching = self
            .neighbours
            .iter()
            .filter(|n| n.zone.touches(orphan, self.d()));
        let before = touching.filter(|n| (n.zone.depth(), n.contact.key) > ours);
        before.count() as i64
    }

    pub(super) fn mind_orphans(&mut self, now: RawTime, actions: &mut Actions<A>) {
        let mut due = Vec::new();
        for orphan in &self.orphans {
            let turn = orphan.since + TURN * self.before_us(orphan.zone).min(8);
            if turn <= now && self.touches_own(orphan.zone) {
                due.push(orphan.zone);
            }
        }
        self.orphans
            .retain(|o| !due.contains(&o.zone) && now - o.since < TURN * 16);
        for zone in due {
            // Somebody may have been quicker.
            actions.lookup(ORPHAN, zone.code(), None, 3);
        }
    }

    /// Gives a zone too many to whoever has its other half.
    pub(super) fn give_away(&self, actions: &mut Actions<A>) {
        if self.zones.len() < 2 {
            return;
        }
        for zone in &self.zones {
            let half = |n: &&Neighbour<A>| Some(n.zone) == zone.sibling();
            if let Some(heir) = self.neighbours.iter().find(half) {
                actions.ask(heir.contact, Query::Give(zone.code()));
                return;
            }
        }
    }
}

//! The buckets.

use crate::time::RawTime;
use crate::topology::overlay::{Contact, Key, Place, Referral, admits};

/// One contact and when it answered last, in seconds of the raw clock.
#[derive(Debug, Clone)]
struct Entry<A> {
    contact: Contact<A>,
    heard: u32,
}

/// All buckets in one vector, ordered by distance, so that a bucket is a range of it: a node of a
/// simulated network of 10⁵ pays for the contacts it has and for nothing else.
#[derive(Debug, Clone)]
pub(super) struct Table<A> {
    own: Key,
    bucket: usize,
    entries: Vec<Entry<A>>,
}

/// So many of the nearest tell how densely nodes lie.
const DENSITY: usize = 16;

impl<A: Place> Table<A> {
    pub(super) const fn new(own: Key, bucket: usize) -> Self {
        Self {
            own,
            bucket,
            entries: Vec::new(),
        }
    }

    pub(super) const fn own(&self) -> Key {
        self.own
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Contact<A>> {
        self.entries.iter().map(|entry| entry.contact)
    }

    /// How many buckets there are down to the nearest contact.
    pub(super) fn depth(&self) -> u32 {
        self.entries
            .first()
            .map_or(0, |nearest| nearest.contact.key.common_bits(self.own) + 1)
            .min(64)
    }

    fn distance(&self, contact: &Contact<A>) -> u64 {
        contact.key.xor(self.own)
    }

    fn place(&self, key: Key) -> Result<usize, usize> {
        let distance = key.xor(self.own);
        self.entries
            .binary_search_by_key(&distance, |e| self.distance(&e.contact))
    }

    /// The contacts at the same power of two of distance as `key`.
    fn bucket(&self, key: Key) -> &[Entry<A>] {
        let top = key.xor(self.own).checked_ilog2().unwrap_or(0);
        let low = 1u64 << top;
        let start = self
            .entries
            .partition_point(|e| self.distance(&e.contact) < low);
        let length =
            self.entries[start..].partition_point(|e| self.distance(&e.contact) >> top <= 1);
        &self.entries[start..start + length]
    }

    pub(super) fn wants(&self, contact: &Contact<A>) -> bool {
        let bucket = self.bucket(contact.key);
        contact.key != self.own
            && bucket.len() < self.bucket
            && self.place(contact.key).is_err()
            && admits(
                &contact.at,
                bucket.iter().map(|e| e.contact.at),
                self.entries.iter().map(|e| e.contact.at),
            )
    }

    pub(super) fn alive(&mut self, now: RawTime, contact: Contact<A>) {
        let heard = seconds(now);
        match self.place(contact.key) {
            Ok(index) => self.entries[index] = Entry { contact, heard },
            Err(index) => {
                // Those that have been there for long are the likeliest to stay, so a full
                // bucket takes nobody in.
                if self.wants(&contact) {
                    self.entries.insert(index, Entry { contact, heard });
                }
            }
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Ok(index) = self.place(key) {
            self.entries.remove(index);
        }
    }

    /// Whoever was not heard for the longest, if not since `since`.
    pub(super) fn stalest(&self, since: RawTime) -> Option<Contact<A>> {
        let stalest = self.entries.iter().min_by_key(|e| e.heard)?;
        (stalest.heard <= seconds(since)).then_some(stalest.contact)
    }

    pub(super) fn nearest(&self, target: Key, count: usize, out: &mut Vec<Referral<A>>) {
        let mut all: Vec<_> = self.iter().map(|c| (c.key.xor(target), c)).collect();
        if all.len() > count {
            all.select_nth_unstable_by_key(count, |(far, _)| *far);
            all.truncate(count);
        }
        all.sort_unstable_by_key(|(far, _)| *far);
        out.extend(all.into_iter().map(|(_, contact)| Referral::from(contact)));
    }

    /// The `m`-th nearest lies at about `m · 2⁶⁴ / n`.
    pub(super) fn estimate(&self) -> f64 {
        let nearest = &self.entries[..self.entries.len().min(DENSITY)];
        match nearest.last() {
            Some(last) if nearest.len() == DENSITY => {
                let far = self.distance(&last.contact) as f64;
                DENSITY as f64 * 2f64.powi(64) / far.max(1.0)
            }
            _ => nearest.len() as f64 + 1.0,
        }
    }
}

/// Saturating: a table does not care for what was before the first second or after 136 years.
fn seconds(at: RawTime) -> u32 {
    u32::try_from((at.as_nanos() / 1_000_000_000).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;
    use crate::topology::overlay::testing::{At, contact, in_block};

    const START: RawTime = RawTime::from_nanos(0);

    fn table() -> Table<At> {
        Table::new(Key(0), 3)
    }

    #[test]
    fn a_full_bucket_keeps_who_is_there() {
        let mut table = table();
        for n in 0..10 {
            table.alive(START, contact(1 << 60 | n));
            table.alive(START, contact(1 << 40 | n));
        }
        assert_eq!(table.len(), 6);
        assert!(table.iter().all(|c| c.key.0 & 7 < 3));
        table.remove(Key(1 << 60));
        assert!(table.wants(&contact(1 << 60 | 9)));
        assert!(!table.wants(&contact(1 << 40 | 9)));
        assert!(!table.wants(&contact(0)), "ourselves");
        assert_eq!(table.depth(), 24);
    }

    #[test]
    fn an_address_block_gets_two_places_in_a_bucket_and_ten_in_all() {
        let mut table = table();
        for bit in 0..20 {
            for n in 0..3 {
                table.alive(START, in_block(1 << (30 + bit) | n, 7));
            }
        }
        assert_eq!(table.len(), 10);
        assert!(table.wants(&in_block(1 << 49 | 5, 8)));
    }

    #[test]
    fn the_nearest_come_in_order_and_the_stalest_is_the_stalest() {
        let mut table = table();
        for (age, key) in [1u64 << 60, 1 << 50, 1 << 40, 3].into_iter().enumerate() {
            table.alive(START + Span::from_secs(age as i64), contact(key));
        }
        let mut out = Vec::new();
        table.nearest(Key(1 << 50 | 1), 2, &mut out);
        let keys: Vec<_> = out.iter().map(|r| r.contact.key.0).collect();
        assert_eq!(keys, [1 << 50, 3]);
        assert_eq!(table.stalest(START).unwrap().key, Key(1 << 60));
        table.alive(START + Span::from_secs(9), contact(1 << 60));
        assert!(table.stalest(START).is_none());
        assert_eq!(
            table.stalest(START + Span::from_secs(1)).unwrap().key,
            Key(1 << 50)
        );
    }
}

//! Zones of a torus of several dimensions.

use crate::topology::overlay::Key;

/// Dimensions at most.
pub(super) const MOST_DIMENSIONS: usize = 8;
/// Splits of the space at most: a zone's code has to fit in a key.
const DEEPEST: u32 = 62;

/// A zone: what remains of the space after halving it some times, each time along the next
/// dimension. Its code is the halves chosen (0 the lower, 1 the upper), then a one, then zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Zone(u64);

/// Along one dimension: where it starts and how long it is; 2³² is all of it.
type Side = (u32, u64);

impl Zone {
    /// All of the space.
    pub(super) const WHOLE: Self = Self(1 << 63);

    /// The zone with this code, if it is one.
    pub(super) fn from_code(code: Key) -> Option<Self> {
        let zone = Self(code.0);
        (code.0 != 0 && zone.depth() <= DEEPEST).then_some(zone)
    }

    pub(super) const fn code(self) -> Key {
        Key(self.0)
    }

    /// How often the space was halved; its volume is 2^-depth.
    pub(super) const fn depth(self) -> u32 {
        63 - self.0.trailing_zeros()
    }

    /// Whether the point with this key lies in it.
    pub(super) const fn contains(self, point: Key) -> bool {
        match self.depth() {
            0 => true,
            depth => (self.0 ^ point.0) >> (64 - depth) == 0,
        }
    }

    /// Whether all of `other` lies in it.
    pub(super) const fn covers(self, other: Self) -> bool {
        self.depth() <= other.depth() && self.contains(Key(other.0))
    }

    pub(super) const fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Its halves; `None` if it is too small.
    pub(super) fn halves(self) -> Option<[Self; 2]> {
        let depth = self.depth();
        (depth < DEEPEST).then(|| {
            let (mark, next) = (1u64 << (63 - depth), 1u64 << (62 - depth));
            [Self(self.0 & !mark | next), Self(self.0 | next)]
        })
    }

    /// What it is a half of.
    pub(super) fn parent(self) -> Option<Self> {
        let depth = self.depth();
        (depth > 0).then(|| {
            let (mark, above) = (1u64 << (63 - depth), 1u64 << (64 - depth));
            Self(self.0 & !mark | above)
        })
    }

    /// The other half of its parent.
    pub(super) fn sibling(self) -> Option<Self> {
        let depth = self.depth();
        (depth > 0).then(|| Self(self.0 ^ 1 << (64 - depth)))
    }

    /// The zone of this depth in which `point` lies.
    pub(super) fn around(point: Key, depth: u32) -> Self {
        let mark = 1u64 << (63 - depth.min(DEEPEST));
        Self(point.0 & !(mark - 1) & !mark | mark)
    }

    fn sides(self, dimensions: usize) -> [Side; MOST_DIMENSIONS] {
        let mut sides = [(0, 1u64 << 32); MOST_DIMENSIONS];
        for bit in 0..self.depth() {
            let (low, length) = &mut sides[bit as usize % dimensions];
            *length >>= 1;
            if self.0 >> (63 - bit) & 1 == 1 {
                *low |= *length as u32;
            }
        }
        sides
    }

    /// Whether they share a face: they abut along one dimension and overlap along all others.
    pub(super) fn touches(self, other: Self, dimensions: usize) -> bool {
        let (a, b) = (self.sides(dimensions), other.sides(dimensions));
        let mut abutting = 0;
        for (a, b) in a.iter().zip(&b).take(dimensions) {
            let (from, to) = (b.0.wrapping_sub(a.0), a.0.wrapping_sub(b.0));
            // One starts within the other: sides are halves of halves.
            if u64::from(from) < a.1 || u64::from(to) < b.1 {
                continue;
            }
            if u64::from(from) == a.1 || u64::from(to) == b.1 {
                abutting += 1;
            } else {
                return false;
            }
        }
        abutting == 1
    }

    /// How far `point` is: the sum of the gaps along all dimensions, around the torus.
    pub(super) fn distance(self, point: Key, dimensions: usize) -> u64 {
        let at = coordinates(point, dimensions);
        let sides = self.sides(dimensions);
        let gaps = sides.iter().zip(&at).take(dimensions).map(|(side, at)| {
            let up = u64::from(at.wrapping_sub(side.0));
            if up < side.1 {
                return 0;
            }
            (up - (side.1 - 1)).min(u64::from(side.0.wrapping_sub(*at)))
        });
        gaps.sum()
    }

    /// A point beyond one of its faces: of dimension `face / 2`, the lower one if `face` is even.
    /// `random` says where along the face.
    pub(super) fn beyond(self, face: usize, random: u64, dimensions: usize) -> Key {
        let sides = self.sides(dimensions);
        let mut at = coordinates(Key(random), dimensions);
        for (at, (low, length)) in at.iter_mut().zip(&sides).take(dimensions) {
            *at = low.wrapping_add(*at & (length - 1) as u32);
        }
        let dimension = face / 2 % dimensions;
        let (low, length) = sides[dimension];
        at[dimension] = match face % 2 {
            0 => low.wrapping_sub(1),
            _ => low.wrapping_add(length as u32),
        };
        point(&at, dimensions)
    }
}

/// A key's coordinates: its bits dealt among the dimensions, from the top.
fn coordinates(key: Key, dimensions: usize) -> [u32; MOST_DIMENSIONS] {
    let mut at = [0; MOST_DIMENSIONS];
    for bit in 0..64 {
        let place = bit / dimensions;
        if place < 32 && key.0 >> (63 - bit) & 1 == 1 {
            at[bit % dimensions] |= 1 << (31 - place);
        }
    }
    at
}

fn point(at: &[u32; MOST_DIMENSIONS], dimensions: usize) -> Key {
    let mut key = 0;
    for bit in 0..64 {
        let place = bit / dimensions;
        if place < 32 && at[bit % dimensions] >> (31 - place) & 1 == 1 {
            key |= 1u64 << (63 - bit);
        }
    }
    Key(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(halves: &[u8]) -> Zone {
        halves.iter().fold(Zone::WHOLE, |zone, half| {
            zone.halves().unwrap()[usize::from(*half)]
        })
    }

    #[test]
    fn codes_keep_halves_and_parents_apart() {
        let z = zone(&[1, 0, 1]);
        assert_eq!(z.code(), Key(0b1011 << 60));
        assert_eq!(z.depth(), 3);
        assert_eq!(z.parent(), Some(zone(&[1, 0])));
        assert_eq!(z.sibling(), Some(zone(&[1, 0, 0])));
        assert_eq!(zone(&[1, 0]).halves(), Some([zone(&[1, 0, 0]), z]));
        assert_eq!(Zone::from_code(Key(0)), None);
        assert_eq!(Zone::from_code(Key(1)), None, "too deep");
        assert_eq!(Zone::from_code(z.code()), Some(z));
        assert_eq!(Zone::WHOLE.parent(), None);
        assert_eq!(Zone::around(Key(0b1010 << 60), 3), z);
        assert!(zone(&[1]).covers(z) && z.overlaps(zone(&[1])) && !z.overlaps(zone(&[0])));
    }

    #[test]
    fn neighbours_share_a_face_also_around_the_torus() {
        // In two dimensions: quarters of the square.
        let quarters = [[0, 0], [0, 1], [1, 1], [1, 0]].map(|halves| zone(&halves));
        for (i, a) in quarters.iter().enumerate() {
            for (j, b) in quarters.iter().enumerate() {
                let adjacent = i.abs_diff(j) % 2 == 1;
                assert_eq!(a.touches(*b, 2), adjacent, "{i} {j}");
            }
        }
        // Columns 0 and 3 of four meet at the edge.
        let column = |a, b| zone(&[a, 0, b]);
        assert!(column(0, 0).touches(column(1, 1), 2));
        assert!(!column(0, 0).touches(column(1, 0), 2));
    }

    proptest! {
        #[test]
        fn points_lie_where_they_should(
            key: u64, depth in 0u32..=62, face in 0usize..12, random: u64, dimensions in 2usize..=6,
        ) {
            let zone = Zone::around(Key(key), depth);
            prop_assert!(zone.contains(Key(key)));
            prop_assert_eq!(zone.distance(Key(key), dimensions), 0);
            let beyond = zone.beyond(face, random, dimensions);
            // Split along that dimension, and not finer than keys can tell.
            let split = depth as usize > face / 2 % dimensions;
            if split && depth as usize / dimensions < (64 / dimensions).min(32) - 1 {
                prop_assert!(!zone.contains(beyond));
                // As near as keys can tell: 64 bits are shared by all dimensions.
                let least = 1u64 << (32 - (64 / dimensions).min(32));
                prop_assert!(zone.distance(beyond, dimensions) <= least);
                let next = Zone::around(beyond, depth);
                prop_assert!(zone.touches(next, dimensions) && next.touches(zone, dimensions));
            }
        }

        #[test]
        fn of_zones_that_touch_one_is_nearer_to_a_point_outside(
            key: u64, depth in 6u32..30, target: u64, dimensions in 2usize..=4,
        ) {
            // What greedy routing rests on.
            let zone = Zone::around(Key(key), depth);
            let far = zone.distance(Key(target), dimensions);
            if far > 0 {
                let nearer = (0..2 * dimensions).any(|face| {
                    let beyond = Zone::around(zone.beyond(face, target, dimensions), depth);
                    beyond.distance(Key(target), dimensions) < far
                });
                prop_assert!(nearer);
            }
        }
    }
}

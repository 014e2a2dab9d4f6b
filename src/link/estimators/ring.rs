//! The last N of anything, in fixed memory.

/// The newest `N` items, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Ring<T, const N: usize> {
    items: [T; N],
    start: u16,
    len: u16,
}

impl<T: Copy + Default, const N: usize> Ring<T, N> {
    pub(super) fn new() -> Self {
        Self {
            items: [T::default(); N],
            start: 0,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Adds an item; the oldest gives way if there is no room.
    pub(super) fn push(&mut self, item: T) {
        if self.len() == N {
            self.drop_oldest(1);
        }
        self.items[(usize::from(self.start) + self.len()) % N] = item;
        self.len += 1;
    }

    /// Forgets the `count` oldest.
    pub(super) fn drop_oldest(&mut self, count: usize) {
        let count = count.min(self.len());
        self.start = ((usize::from(self.start) + count) % N) as u16;
        self.len -= count as u16;
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        let end = usize::from(self.start) + self.len();
        let (first, second) = if end <= N {
            (&self.items[usize::from(self.start)..end], &self.items[..0])
        } else {
            (
                &self.items[usize::from(self.start)..],
                &self.items[..end - N],
            )
        };
        first.iter().chain(second)
    }

    pub(super) fn newest(&self) -> Option<&T> {
        self.iter().next_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_in_order() {
        let mut ring = Ring::<u8, 3>::new();
        assert_eq!(ring.newest(), None);
        (1..=5).for_each(|item| ring.push(item));
        assert_eq!(ring.iter().copied().collect::<Vec<_>>(), [3, 4, 5]);
        ring.drop_oldest(2);
        ring.push(6);
        assert_eq!(ring.iter().copied().collect::<Vec<_>>(), [5, 6]);
        assert_eq!(ring.newest(), Some(&6));
        ring.drop_oldest(9);
        assert_eq!(ring.len(), 0);
    }
}

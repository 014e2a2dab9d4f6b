//! The tables behind the sessions: fixed in size, addressed in constant time.

use snow::StatelessTransportState;
use std::collections::HashMap;
use std::net::SocketAddr;

use super::super::noise::Ephemeral;
use super::super::replay::Window;
use crate::time::RawTime;
use crate::topology::NodeId;
use crate::wire::{COOKIE_LEN, HANDSHAKE_DATAGRAM_LEN, NOISE_FINISH_LEN, NOISE_INIT_LEN};

/// A handshake we began.
pub(super) struct Attempt {
    pub(super) addr: SocketAddr,
    pub(super) expect: Option<NodeId>,
    /// The owner asked for it, so it will hear how it went.
    pub(super) asked: bool,
    pub(super) ephemeral: Ephemeral,
    pub(super) init: [u8; NOISE_INIT_LEN],
    pub(super) cookie: [u8; COOKIE_LEN],
    pub(super) phase: Phase,
    pub(super) give_up: RawTime,
    pub(super) send_at: RawTime,
    pub(super) repeats: u32,
    /// Answers that are still worth work before the next repetition.
    pub(super) budget: u8,
    /// Who answered in place of the expected peer.
    pub(super) stranger: Option<NodeId>,
}

/// How far an attempt has come.
pub(super) enum Phase {
    /// Waits for the second message.
    Opening,
    /// Has sent the third message and waits for any sign that it has arrived.
    Finishing(Box<Finishing>),
}

/// What the initiator holds once it has sent the third message.
pub(super) struct Finishing {
    pub(super) transport: StatelessTransportState,
    pub(super) peer: NodeId,
    pub(super) remote_index: u32,
    pub(super) finish: [u8; HANDSHAKE_DATAGRAM_LEN],
}

/// A handshake somebody else began from a proven address.
pub(super) struct Pending {
    pub(super) addr: SocketAddr,
    pub(super) ephemeral: Ephemeral,
    pub(super) init: [u8; NOISE_INIT_LEN],
    pub(super) response: [u8; HANDSHAKE_DATAGRAM_LEN],
    pub(super) created: RawTime,
}

/// Keys shared with a peer.
pub(super) struct Session {
    pub(super) peer: usize,
    pub(super) transport: StatelessTransportState,
    pub(super) remote_index: u32,
    pub(super) sent: u64,
    pub(super) window: Window,
    pub(super) established: RawTime,
    pub(super) last_received: RawTime,
    /// The third message that made this session, if the peer began it: it may come again.
    pub(super) finish: Option<[u8; NOISE_FINISH_LEN]>,
}

impl Session {
    pub(super) const fn is_ours(&self) -> bool {
        self.finish.is_none()
    }
}

/// What a local session index stands for.
pub(super) enum Entry {
    Attempt(Box<Attempt>),
    Pending(Box<Pending>),
    Session(Box<Session>),
}

struct Slot {
    salt: u16,
    entry: Option<Entry>,
}

/// Entries by local index: a slot number in the low half, a random salt in the high half, so that
/// an old index does not hit a new entry and a stranger cannot guess one.
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u16>,
}

impl Slots {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(usize::from(u16::MAX)) as u16;
        Self {
            slots: (0..capacity)
                .map(|_| Slot {
                    salt: 0,
                    entry: None,
                })
                .collect(),
            free: (0..capacity).rev().collect(),
        }
    }

    /// The index the next [`Slots::insert`] with this salt will use.
    pub(super) fn reserve(&self, salt: u16) -> Option<u32> {
        let slot = *self.free.last()?;
        Some(u32::from(salt) << 16 | u32::from(slot))
    }

    /// Puts `entry` at an index just given by [`Slots::reserve`].
    pub(super) fn insert(&mut self, index: u32, entry: Entry) {
        if let Some(slot) = self.free.pop() {
            debug_assert_eq!(u32::from(slot), index & 0xFFFF);
            self.slots[usize::from(slot)] = Slot {
                salt: (index >> 16) as u16,
                entry: Some(entry),
            };
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Entry> {
        let slot = self.slots.get((index & 0xFFFF) as usize)?;
        slot.entry
            .as_ref()
            .filter(|_| u32::from(slot.salt) == index >> 16)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Entry> {
        let slot = self.slots.get_mut((index & 0xFFFF) as usize)?;
        slot.entry
            .as_mut()
            .filter(|_| u32::from(slot.salt) == index >> 16)
    }

    pub(super) fn session(&self, index: u32) -> Option<&Session> {
        match self.get(index) {
            Some(Entry::Session(session)) => Some(session),
            _ => None,
        }
    }

    pub(super) fn session_mut(&mut self, index: u32) -> Option<&mut Session> {
        match self.get_mut(index) {
            Some(Entry::Session(session)) => Some(session),
            _ => None,
        }
    }

    pub(super) fn attempt_mut(&mut self, index: u32) -> Option<&mut Attempt> {
        match self.get_mut(index) {
            Some(Entry::Attempt(attempt)) => Some(attempt),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Entry> {
        self.get(index)?;
        let slot = (index & 0xFFFF) as u16;
        self.free.push(slot);
        self.slots[usize::from(slot)].entry.take()
    }

    /// Replaces the entry at `index` by what `change` makes of it.
    pub(super) fn update(&mut self, index: u32, change: impl FnOnce(Entry) -> Entry) {
        if self.get(index).is_some()
            && let Some(slot) = self.slots.get_mut((index & 0xFFFF) as usize)
        {
            slot.entry = slot.entry.take().map(change);
        }
    }

    /// Every entry with its index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(i, slot)| {
            let index = u32::from(slot.salt) << 16 | i as u32;
            slot.entry.as_ref().map(|entry| (index, entry))
        })
    }

    pub(super) fn attempts(&self) -> impl Iterator<Item = (u32, &Attempt)> {
        self.iter().filter_map(|(index, entry)| match entry {
            Entry::Attempt(attempt) => Some((index, &**attempt)),
            _ => None,
        })
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = (u32, &Pending)> {
        self.iter().filter_map(|(index, entry)| match entry {
            Entry::Pending(pending) => Some((index, &**pending)),
            _ => None,
        })
    }

    /// The index at position `position`, if something is there; for walks that change entries.
    pub(super) fn index_at(&self, position: usize) -> Option<u32> {
        let slot = self.slots.get(position)?;
        slot.entry
            .as_ref()
            .map(|_| u32::from(slot.salt) << 16 | position as u32)
    }

    pub(super) const fn capacity(&self) -> usize {
        self.slots.len()
    }
}

/// A peer with at least one session.
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) addr: SocketAddr,
    pub(super) outbound: bool,
    /// The session we send on.
    pub(super) current: Option<u32>,
    /// The one before, or its twin if both sides opened at once; still received on.
    pub(super) previous: Option<u32>,
    pub(super) last_received: RawTime,
    /// Packets sent since the last sign of the peer, and when the first of them left.
    pub(super) unanswered: u32,
    pub(super) unanswered_since: RawTime,
    /// No handshake of our own accord before this.
    pub(super) next_attempt: RawTime,
}

/// Peers by position and by identity.
pub(super) struct Peers {
    list: Vec<Option<Peer>>,
    by_id: HashMap<NodeId, usize>,
}

impl Peers {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            list: (0..capacity).map(|_| None).collect(),
            by_id: HashMap::with_capacity(capacity),
        }
    }

    pub(super) fn find(&self, id: &NodeId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, position: usize) -> Option<&Peer> {
        self.list.get(position)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut Peer> {
        self.list.get_mut(position)?.as_mut()
    }

    /// Adds a peer; none if the table is full.
    pub(super) fn insert(&mut self, peer: Peer) -> Option<usize> {
        let position = self.list.iter().position(Option::is_none)?;
        self.by_id.insert(peer.id, position);
        self.list[position] = Some(peer);
        Some(position)
    }

    pub(super) fn remove(&mut self, position: usize) -> Option<Peer> {
        let peer = self.list.get_mut(position)?.take()?;
        self.by_id.remove(&peer.id);
        Some(peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Peer)> {
        self.list
            .iter()
            .enumerate()
            .filter_map(|(position, peer)| peer.as_ref().map(|peer| (position, peer)))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.list.len()
    }
}

//! The way from an engine's thread to whoever polls it: bounded, newest news of a peer wins.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PeerEvent;
use crate::topology::NodeId;

/// Both ends of the queue. Older news of the same peer is replaced in place, so a reader that
/// comes late sees the latest state of each peer and memory does not grow with the news. Beyond
/// the capacity the oldest news is dropped.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Mutex<Queue>>);

struct Queue {
    order: VecDeque<Subject>,
    news: HashMap<Subject, PeerEvent>,
    capacity: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Peer(NodeId),
    Address(SocketAddr),
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            order: VecDeque::new(),
            news: HashMap::new(),
            capacity: capacity.max(1),
        })))
    }

    pub(super) fn push(&self, event: PeerEvent) {
        let subject = match &event {
            PeerEvent::Found(candidate) => Subject::Peer(candidate.id),
            PeerEvent::Lost(id) => Subject::Peer(*id),
            PeerEvent::Contact(addr) => Subject::Address(*addr),
        };
        let mut queue = self.lock();
        if queue.news.insert(subject, event).is_some() {
            return;
        }
        queue.order.push_back(subject);
        if queue.order.len() > queue.capacity
            && let Some(oldest) = queue.order.pop_front()
        {
            queue.news.remove(&oldest);
        }
    }

    pub(super) fn pop(&self) -> Option<PeerEvent> {
        let mut queue = self.lock();
        let subject = queue.order.pop_front()?;
        queue.news.remove(&subject)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Candidate, FoundBy};

    fn id(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn found(n: u8, port: u16) -> PeerEvent {
        PeerEvent::Found(Candidate {
            id: id(n),
            addr: ([127, 0, 0, 1], port).into(),
            found_by: FoundBy::Lan,
        })
    }

    #[test]
    fn the_latest_news_of_a_peer_replaces_what_was_not_read() {
        let outbox = Outbox::new(8);
        outbox.push(found(1, 1));
        outbox.push(found(2, 2));
        outbox.push(PeerEvent::Lost(id(1)));
        assert_eq!(outbox.pop(), Some(PeerEvent::Lost(id(1))));
        assert_eq!(outbox.pop(), Some(found(2, 2)));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn it_is_bounded() {
        let outbox = Outbox::new(2);
        (1..=3).for_each(|n| outbox.push(found(n, 1)));
        assert_eq!(outbox.pop(), Some(found(2, 1)));
        assert_eq!(outbox.pop(), Some(found(3, 1)));
        assert_eq!(outbox.pop(), None);
    }
}

//! Several sources as one.

use std::collections::HashMap;

use super::{PeerEvent, PeerSource};
use crate::topology::{Candidate, NodeId};

/// Peers remembered at most; beyond, news passes unfiltered.
const REMEMBERED: usize = 1024;

/// Polls several sources in turn and makes one story of what they say.
///
/// A peer that several sources know is told once, under the address of the source that comes
/// first; it is lost when the last of them has lost it. News that says nothing new is dropped,
/// except that after [`sample`](PeerSource::sample) each peer may be told once more.
#[derive(Default)]
pub struct Sources {
    sources: Vec<Box<dyn PeerSource>>,
    next: usize,
    known: HashMap<NodeId, Known>,
    round: u64,
}

#[derive(Default)]
struct Known {
    /// What each source says, by the source's place.
    claims: Vec<(usize, Candidate)>,
    told: Option<Candidate>,
    round: u64,
}

impl Known {
    /// What to tell of the peer, if that is news.
    fn news(&mut self, round: u64) -> Option<PeerEvent> {
        let (_, best) = self.claims.iter().min_by_key(|(source, _)| *source)?;
        if self.told.as_ref() == Some(best) && self.round == round {
            return None;
        }
        self.told = Some(best.clone());
        self.round = round;
        self.told.clone().map(PeerEvent::Found)
    }
}

impl Sources {
    /// These sources, the most trusted first.
    pub fn new(sources: Vec<Box<dyn PeerSource>>) -> Self {
        Self {
            sources,
            ..Self::default()
        }
    }

    /// One line for each source: its name and how it is doing.
    pub fn lines(&self) -> Vec<String> {
        let sources = self.sources.iter();
        sources
            .map(|source| format!("{}: {}", source.name(), source.health()))
            .collect()
    }

    fn digest(&mut self, source: usize, event: PeerEvent) -> Option<PeerEvent> {
        match event {
            PeerEvent::Contact(_) => Some(event),
            PeerEvent::Found(candidate) => {
                if !self.known.contains_key(&candidate.id) && self.known.len() >= REMEMBERED {
                    return Some(PeerEvent::Found(candidate));
                }
                let known = self.known.entry(candidate.id).or_default();
                known.claims.retain(|(claimant, _)| *claimant != source);
                known.claims.push((source, candidate));
                known.news(self.round)
            }
            PeerEvent::Lost(id) => {
                let Some(known) = self.known.get_mut(&id) else {
                    return Some(event);
                };
                known.claims.retain(|(claimant, _)| *claimant != source);
                if known.claims.is_empty() {
                    self.known.remove(&id);
                    return Some(event);
                }
                let round = known.round;
                known.news(round)
            }
        }
    }
}

impl PeerSource for Sources {
    fn name(&self) -> &'static str {
        "all"
    }

    fn poll(&mut self) -> Option<PeerEvent> {
        let mut silent = 0;
        while silent < self.sources.len() {
            let source = self.next;
            self.next = (source + 1) % self.sources.len();
            match self.sources[source].poll() {
                Some(event) => {
                    silent = 0;
                    if let Some(event) = self.digest(source, event) {
                        return Some(event);
                    }
                }
                None => silent += 1,
            }
        }
        None
    }

    fn sample(&mut self, count: usize) {
        self.round += 1;
        for source in &mut self.sources {
            source.sample(count);
        }
    }

    fn health(&self) -> String {
        self.lines().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Outbox;
    use super::*;
    use crate::topology::FoundBy;

    struct Script(Outbox);

    impl PeerSource for Script {
        fn name(&self) -> &'static str {
            "script"
        }
        fn poll(&mut self) -> Option<PeerEvent> {
            self.0.pop()
        }
        fn sample(&mut self, _: usize) {}
        fn health(&self) -> String {
            "fine".into()
        }
    }

    fn found(n: u8, port: u16, found_by: FoundBy) -> PeerEvent {
        let id = NodeId::from_bytes([n; 32]);
        PeerEvent::Found(Candidate {
            id,
            addr: ([127, 0, 0, 1], port).into(),
            found_by,
        })
    }

    fn pair() -> (Outbox, Outbox, Sources) {
        let (a, b) = (Outbox::new(8), Outbox::new(8));
        let both: Vec<Box<dyn PeerSource>> =
            vec![Box::new(Script(a.clone())), Box::new(Script(b.clone()))];
        (a, b, Sources::new(both))
    }

    #[test]
    fn the_first_source_wins_and_the_last_loses() {
        let (a, b, mut all) = pair();
        let (lan, dht) = (found(1, 1, FoundBy::Lan), found(1, 2, FoundBy::Dht));
        let lost = PeerEvent::Lost(NodeId::from_bytes([1; 32]));
        b.push(dht.clone());
        assert_eq!(all.poll(), Some(dht.clone()));
        a.push(lan.clone());
        assert_eq!(all.poll(), Some(lan.clone()));
        b.push(dht.clone());
        assert_eq!(all.poll(), None, "the better address is known");
        a.push(lost.clone());
        assert_eq!(all.poll(), Some(dht), "the other source still has it");
        b.push(lost.clone());
        assert_eq!(all.poll(), Some(lost));
        assert_eq!(all.poll(), None);
        assert_eq!(all.health(), "script: fine; script: fine");
    }

    #[test]
    fn repeated_news_is_dropped_until_a_sample_is_asked_for() {
        let (a, _b, mut all) = pair();
        let news = found(1, 1, FoundBy::Lan);
        a.push(news.clone());
        assert_eq!(all.poll(), Some(news.clone()));
        a.push(news.clone());
        assert_eq!(all.poll(), None);
        all.sample(1);
        a.push(news.clone());
        assert_eq!(all.poll(), Some(news.clone()));
        a.push(news);
        assert_eq!(all.poll(), None);
    }

    #[test]
    fn contacts_pass_and_no_sources_are_silent() {
        let (a, _b, mut all) = pair();
        let contact = PeerEvent::Contact(([127, 0, 0, 1], 1).into());
        a.push(contact.clone());
        assert_eq!(all.poll(), Some(contact));
        assert_eq!(Sources::default().poll(), None);
    }
}

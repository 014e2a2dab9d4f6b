//! A node lives through a record.

use std::fmt;
use std::io::BufRead;

use super::entry::Entry;
use super::error::RecordError;
use super::reader::{Ending, Reader};
use crate::consensus::Combine;
use crate::export::status::Peer;
use crate::link::LinkEstimator;
use crate::node::{ClockView, LinkId, Node};
use crate::time::RawTime;

/// Whether two clocks are the same to the last bit; zero is not the same as minus zero.
pub fn same(a: &ClockView, b: &ClockView) -> bool {
    // As text, every number has as many digits as tell it from all others.
    let text = |view: &ClockView| serde_json::to_string(view).ok();
    text(a) == text(b)
}

/// Lets `node` live through one entry. Returns the link and number of the message that it wanted to
/// send, if it was asked for one.
///
/// Entries about the record itself do nothing.
pub fn apply<E: LinkEstimator, C: Combine>(
    node: &mut Node<E, C>,
    entry: &Entry,
) -> Option<(LinkId, u32)> {
    match entry {
        Entry::Found { peer } => node.peer_found(peer.clone()),
        Entry::Lost { t, peer } => node.peer_lost(peer, *t),
        Entry::Up {
            t,
            peer,
            addr,
            inbound,
        } => node.session_up(*t, *peer, *addr, *inbound),
        Entry::Down { t, peer } => node.session_down(*t, peer),
        Entry::Failed { t, peer } => node.connect_failed(*t, peer),
        Entry::Moved { peer, addr } => node.peer_moved(peer, *addr),
        Entry::Rx {
            t,
            peer,
            stamp,
            message,
        } => node.receive(*t, peer, message, *stamp),
        Entry::Tx { t, .. } => {
            let transmit = node.poll_transmit(*t)?;
            return Some((transmit.link, transmit.message.seq));
        }
        Entry::Stamp {
            packet: (link, seq),
            stamp,
        } => node.transmitted(*link, *seq, *stamp),
        Entry::Tick { t } => node.handle_timeout(*t),
        Entry::Slept { t, span } => node.slept(*t, *span),
        Entry::Truth { rate } => node.truth(*rate),
        Entry::Clock { .. } | Entry::Gap { .. } | Entry::Sum { .. } | Entry::End { .. } => {}
    }
    None
}

/// Where a replay first left the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The line of the record.
    pub line: u64,
    /// When, on the raw clock.
    pub at: RawTime,
    /// What is different.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// One clock that the node showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// The line of the record.
    pub line: u64,
    /// When, on the raw clock.
    pub at: RawTime,
    /// The clock that was recorded.
    pub recorded: ClockView,
    /// The clock that the node shows in the replay.
    pub view: ClockView,
    /// Every neighbour, as the node sees it in the replay.
    pub peers: Vec<Peer>,
}

/// What a whole replay came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Clocks compared.
    pub rounds: u64,
    /// Lines read.
    pub lines: u64,
    /// Where the replay first left the record.
    pub difference: Option<Difference>,
    /// The first line from which something is missing.
    pub gap: Option<u64>,
    /// How the record ends.
    pub ending: Ending,
}

impl Verdict {
    /// Whether the node did to the last bit what it had done. Nothing is claimed beyond a gap.
    pub fn is_exact(&self) -> bool {
        self.difference.is_none() && self.gap.is_none()
    }
}

/// Lets a fresh node live through a record; yields every clock that was recorded beside the one
/// that the node shows.
#[derive(Debug)]
pub struct Replay<R, E: LinkEstimator, C> {
    reader: Reader<R>,
    node: Node<E, C>,
    rounds: u64,
    difference: Option<Difference>,
    gap: Option<u64>,
}

impl<R: BufRead, E: LinkEstimator, C: Combine> Replay<R, E, C> {
    /// Builds the node that was recorded, with these strategies. Bit by bit the same comes only of
    /// those that the header names.
    pub fn new(reader: Reader<R>, kind: E::Kind, combine: C) -> Self {
        let header = reader.header();
        let config = header.config.clone();
        let node =
            Node::with_strategies(config, header.now, header.line, header.seed, kind, combine);
        Self {
            reader,
            node,
            rounds: 0,
            difference: None,
            gap: None,
        }
    }

    /// The node as it is now.
    pub const fn node(&self) -> &Node<E, C> {
        &self.node
    }

    /// The record.
    pub const fn reader(&self) -> &Reader<R> {
        &self.reader
    }

    /// Takes the next line; the node has lived through it. `None` after the last.
    ///
    /// # Errors
    /// The record is not as it should be.
    pub fn step(&mut self) -> Result<Option<Entry>, RecordError> {
        let Some(entry) = self.reader.next_entry()? else {
            return Ok(None);
        };
        let sent = apply(&mut self.node, &entry);
        match &entry {
            Entry::Tx { t, packet } if *packet != sent => {
                let say = |packet: &Option<(LinkId, u32)>| {
                    packet.map_or("nothing".to_owned(), |(_, seq)| format!("packet {seq}"))
                };
                let what = format!("sent {} where it had sent {}", say(&sent), say(packet));
                self.differs(*t, what);
            }
            Entry::Clock { t, view } => {
                self.rounds += 1;
                let now = self.node.clock();
                if !same(view, &now) {
                    self.differs(*t, clock_difference(view, &now));
                }
            }
            Entry::Gap { .. } => {
                self.gap.get_or_insert(self.reader.line());
            }
            _ => {}
        }
        Ok(Some(entry))
    }

    /// What the replay has come to so far.
    pub fn verdict(&self) -> Verdict {
        Verdict {
            rounds: self.rounds,
            lines: self.reader.line(),
            difference: self.difference.clone(),
            gap: self.gap,
            ending: self.reader.ending().unwrap_or(Ending::Open),
        }
    }

    /// Goes on to the end of the record.
    ///
    /// # Errors
    /// The record is not as it should be.
    pub fn finish(mut self) -> Result<Verdict, RecordError> {
        while self.step()?.is_some() {}
        Ok(self.verdict())
    }

    fn differs(&mut self, at: RawTime, what: String) {
        // After a gap nothing else is to be expected.
        if self.difference.is_none() && self.gap.is_none() {
            self.difference = Some(Difference {
                line: self.reader.line(),
                at,
                what,
            });
        }
    }
}

impl<R: BufRead, E: LinkEstimator, C: Combine> Iterator for Replay<R, E, C> {
    type Item = Result<Round, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(Entry::Clock { t, view })) => {
                    return Some(Ok(Round {
                        line: self.reader.line(),
                        at: t,
                        recorded: view,
                        view: self.node.clock(),
                        peers: self.node.peers(t).collect(),
                    }));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The fields of two clocks that differ, in words.
fn clock_difference(recorded: &ClockView, now: &ClockView) -> String {
    let fields = |view: &ClockView| match serde_json::to_value(view) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let now = fields(now);
    let differing: Vec<String> = fields(recorded)
        .iter()
        .filter_map(|(name, value)| {
            let other = now.get(name)?;
            (value != other).then(|| format!("{name} is {other} where it had been {value}"))
        })
        .collect();
    match differing.is_empty() {
        true => "the clock differs in the sign of a zero".to_owned(),
        false => differing.join(", "),
    }
}

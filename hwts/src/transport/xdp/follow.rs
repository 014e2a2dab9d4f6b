//! An interface that goes and comes back: meanwhile all packets take the ordinary socket.

use std::fmt;
use std::time::Duration;

use super::choose::choose;
use super::door::Door;
use super::ways::Changes;
use super::{Capabilities, XdpTransport};
use crate::netlink::Link;
use crate::stamp::Domain;
use crate::transport::tx::Losses;
use crate::xdp::XdpError;

/// Pause between attempts at an interface that is there and refused, ns: whoever has it may leave.
const TRY_AGAIN: i64 = 10_000_000_000;

/// What happened to the interface, to be told to people.
#[derive(Debug)]
pub enum XdpNote {
    /// It is gone, and our program with it.
    Gone {
        /// Its name.
        interface: String,
    },
    /// It is there again, and our program is attached to it.
    Back {
        /// Its name.
        interface: String,
    },
    /// It is there again, and cannot be used.
    Refused {
        /// Why.
        why: XdpError,
    },
}

impl fmt::Display for XdpNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { interface } => write!(
                f,
                "{interface} is gone: UDP instead of AF_XDP until it is back"
            ),
            Self::Back { interface } => write!(f, "{interface} is back: AF_XDP again"),
            Self::Refused { why } => write!(
                f,
                "UDP instead of AF_XDP, which is tried again now and then: {why}"
            ),
        }
    }
}

/// What is known of an interface that our program is not attached to.
#[derive(Debug, Default)]
pub(super) struct Absence {
    /// What was attempted last, and when the same is attempted again.
    tried: Option<(Link, i64)>,
    /// Why that failed, which is said once.
    refusal: Option<String>,
}

impl XdpTransport {
    /// What happened to the interface, once; ask until there is nothing more.
    pub fn next_note(&mut self) -> Option<XdpNote> {
        self.notes.pop_front()
    }

    /// Why packets take the ordinary socket now; none if they go through the interface.
    pub fn missing(&self) -> Option<&str> {
        match self.door {
            Some(_) => None,
            None => Some(self.absence.refusal.as_deref().unwrap_or("it is gone")),
        }
    }

    /// Takes in what changed on the way to others, if anything did.
    pub(super) fn attend(&mut self) {
        if self.changed.take() {
            let Changes { addresses, gone } = self.ways.attend();
            // What the program does not hear of comes by the ordinary socket.
            if addresses && let Ok(addresses) = self.ways.own_addresses() {
                let _ = self.program.set_addresses(&addresses);
            }
            if gone && self.door.is_some() {
                self.let_go();
            }
        }
        if self.door.is_none() {
            self.take_hold(Domain::MonotonicRaw.now());
        }
    }

    fn let_go(&mut self) {
        self.door = None;
        self.absence = Absence::default();
        self.ways.lead_by(None);
        // Nobody will hear of what was on its way out.
        self.inflight.expire(i64::MAX, |_, _| {});
        let interface = self.interface.clone();
        self.notes.push_back(XdpNote::Gone { interface });
    }

    /// Attaches to the interface if it is there again. One that is down is waited for.
    fn take_hold(&mut self, now: i64) {
        let Some(link) = self.ways.named(&self.interface).filter(|link| link.up) else {
            self.absence.tried = None;
            return;
        };
        let again = |(tried, due): &(Link, i64)| tried != link || now >= *due;
        if !self.absence.tried.as_ref().is_none_or(again) {
            return;
        }
        self.absence.tried = Some((link.clone(), now.saturating_add(TRY_AGAIN)));
        // Whoever waits here keeps packets waiting.
        let opened = choose(Some(&self.interface), self.config.only_if_best)
            .and_then(|chosen| Door::open(&self.program, &chosen, &self.config, Duration::ZERO));
        match opened {
            Ok(door) => {
                self.enter(door);
                let interface = self.interface.clone();
                self.notes.push_back(XdpNote::Back { interface });
            }
            Err(why) => {
                let said = why.to_string();
                if self.absence.refusal.as_ref() != Some(&said) {
                    self.absence.refusal = Some(said);
                    self.notes.push_back(XdpNote::Refused { why });
                }
            }
        }
    }

    /// From now on packets go through this door.
    pub(super) fn enter(&mut self, door: Door) {
        self.ways.lead_by(Some(door.interface));
        self.tx_stamps = door.tx_stamps;
        self.losses = Losses::default();
        self.capabilities = Capabilities {
            rx: door.rx_stamps(self.user_stamps),
            tx: door.tx_stamps.source(),
            fallback: None,
        };
        self.absence = Absence::default();
        self.door = Some(door);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_goes_on() {
        let interface = || "eth0".to_owned();
        let gone = XdpNote::Gone {
            interface: interface(),
        };
        assert_eq!(
            gone.to_string(),
            "eth0 is gone: UDP instead of AF_XDP until it is back"
        );
        let why = XdpError::Occupied(interface());
        let refused = XdpNote::Refused { why }.to_string();
        assert!(refused.contains("another XDP program"), "{refused}");
    }
}

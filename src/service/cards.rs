//! Network cards whose stamps are used: what is said of them, and finding one to steer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use hwts::clock::{PhcClock, RawClock};
use hwts::netlink;
use hwts::nic::{self, Survey, Verdict};
use hwts::transport::{AnyTransport, CardNote, XdpNote};

use crate::export::status::Tracking;
use crate::time::Span;

/// What the socket's thread knows of cards, for any thread to read.
#[derive(Debug, Default)]
pub struct CardBoard {
    asymmetry: AtomicI64,
    lines: Mutex<Vec<String>>,
}

impl CardBoard {
    /// How far the node's raw clock may be off this host's, since readings of a card have a width
    /// of which nobody knows where in it they were taken; zero without cards.
    pub fn asymmetry(&self) -> Span {
        Span::from_nanos(self.asymmetry.load(Ordering::Relaxed))
    }

    pub(super) fn set_asymmetry(&self, nanos: i64) {
        self.asymmetry.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn set_lines(&self, lines: Vec<String>) {
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    /// Adds what is known of cards to `tracking`, whose bounds so become those on this host's
    /// clock.
    pub(super) fn describe(&self, tracking: &mut Tracking) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        tracking.interfaces.clone_from(&lines);
        let unseen = self.asymmetry().as_nanos();
        for bound in [&mut tracking.bound_ns, &mut tracking.statistical_ns] {
            *bound = bound.map(|bound| bound.saturating_add(unseen));
        }
    }
}

/// What is said of interfaces with a card, in use or refused, and of the one that packets take past
/// the kernel.
#[derive(Debug, Default)]
pub(super) struct InterfaceLines {
    refused: Vec<(String, String)>,
}

impl InterfaceLines {
    /// Takes a note in, and writes it to the log.
    pub(super) fn note(&mut self, note: &CardNote) {
        match note {
            CardNote::Stamping { interface, .. } | CardNote::Gone { interface } => {
                self.refused.retain(|(name, _)| name != interface);
            }
            CardNote::Refused { interface, why } => {
                self.refused.retain(|(name, _)| name != interface);
                self.refused.push((interface.clone(), why.to_string()));
            }
            CardNote::Renamed { from, to } => {
                for (name, _) in &mut self.refused {
                    if name == from {
                        name.clone_from(to);
                    }
                }
            }
            CardNote::Fallback { .. } | CardNote::FewRegisters { .. } => {}
        }
        match note {
            CardNote::Stamping { .. } | CardNote::Renamed { .. } => tracing::info!("{note}"),
            _ => tracing::warn!("{note}"),
        }
    }

    /// Writes to the log what happened to the interface of AF_XDP.
    pub(super) fn note_xdp(note: &XdpNote) {
        match note {
            XdpNote::Back { .. } => tracing::info!("{note}"),
            XdpNote::Gone { .. } | XdpNote::Refused { .. } => tracing::warn!("{note}"),
        }
    }

    /// One line for each.
    pub(super) fn lines(&self, transport: &AnyTransport, raw: &RawClock) -> Vec<String> {
        let is_raw = |phc| matches!(raw, RawClock::Card(card) if card.index() == phc);
        let bypass = match transport {
            AnyTransport::Xdp(xdp) => {
                let how = match xdp.missing() {
                    Some(why) => format!("UDP instead of AF_XDP, {why}"),
                    None if xdp.is_zero_copy() => "AF_XDP, without copies".to_owned(),
                    None => "AF_XDP, packets are copied".to_owned(),
                };
                Some(format!("{}: {how}", xdp.interface()))
            }
            AnyTransport::Udp(_) => None,
        };
        let cards = transport.udp().cards().iter();
        let used = cards.map(|card| match card.fallback {
            None => format!(
                "{}: hardware stamps by /dev/ptp{}{}",
                card.interface,
                card.phc,
                if is_raw(card.phc) {
                    ", the raw clock"
                } else {
                    ""
                }
            ),
            Some(why) => format!("{}: kernel stamps, {why}", card.interface),
        });
        let refused = self.refused.iter();
        let refused = refused.map(|(name, why)| format!("{name}: kernel stamps, {why}"));
        bypass.into_iter().chain(used).chain(refused).collect()
    }
}

/// Where a card is to pulse at each second of its clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pulses {
    /// At this output.
    pub(super) output: Option<u32>,
    /// Into the kernel.
    pub(super) kernel: bool,
}

/// Number of the `/dev/ptp` of a card, named by its interface or its device; says why there is none.
pub(super) fn device(card: &str) -> Result<u32, String> {
    if card.contains('/') {
        // Rules of udev give them other names.
        let path = std::fs::canonicalize(card).map_err(|error| error.to_string())?;
        let number = path.to_str().and_then(|path| path.strip_prefix("/dev/ptp"));
        return number
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| {
                "it is no hardware clock: those are /dev/ptp0, /dev/ptp1, …".to_owned()
            });
    }
    let links = netlink::links().map_err(|error| error.to_string())?;
    let link = links
        .iter()
        .find(|link| link.name == card)
        .ok_or_else(|| format!("there is no interface {card} (`ip link` lists them)"))?;
    let device = nic::physical(&links, link.index).map_err(|why| why.to_string())?;
    let abilities = nic::abilities(&device.name).map_err(|error| error.to_string())?;
    abilities.phc.ok_or_else(|| {
        format!(
            "{} has no hardware clock; some cards have one only while their link is up",
            device.name
        )
    })
}

/// Opens the clock of a card, named by its interface or its device, to be steered, and has it pulse;
/// says why it cannot.
pub(super) fn open_to_steer(card: &str, pulses: Pulses) -> Result<PhcClock, String> {
    let path = if card.contains('/') {
        PathBuf::from(card)
    } else {
        PathBuf::from(format!("/dev/ptp{}", device(card)?))
    };
    let mut clock = PhcClock::open(&path).map_err(|error| error.to_string())?;
    if let Some(output) = pulses.output {
        clock.pulse(output).map_err(|error| error.to_string())?;
    }
    if pulses.kernel {
        let source = clock.pulse_kernel().map_err(|error| error.to_string())?;
        tracing::info!("the kernel gets the pulses of {card}: {}", source.display());
    }
    Ok(clock)
}

/// Why no interface has hardware stamps for packets to `port`, in words.
pub(super) fn why_none(port: u16) -> String {
    let Ok(links) = netlink::links() else {
        return "the kernel does not tell what interfaces there are".to_owned();
    };
    let reasons = links.iter().filter(|link| !link.loopback).map(|link| {
        let name = &link.name;
        match Survey::of(&links, link, port).map(|survey| survey.verdict) {
            Ok(Verdict::Hardware) if !link.up => format!("{name} is down"),
            Ok(Verdict::Hardware) => format!("{name} is turned off in the configuration"),
            Ok(Verdict::HardwareAfter { command }) => {
                format!("{name} needs `{command}`, or CAP_NET_ADMIN for us to do that")
            }
            Ok(Verdict::Kernel(why)) => format!("{name}: {why}"),
            Ok(Verdict::NoDevice(why)) => why.to_string(),
            Ok(Verdict::User) => format!("{name}: its driver stamps nothing"),
            Err(error) => format!("{name}: {error}"),
        }
    });
    let reasons: Vec<String> = reasons.collect();
    if reasons.is_empty() {
        "there is no network interface".to_owned()
    } else {
        reasons.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hwts::nic::NotStamping;

    #[test]
    fn cards_that_cannot_be_steered_say_why() {
        let why = |card| open_to_steer(card, Pulses::default()).unwrap_err();
        assert!(why("nosuchcard0").contains("no interface nosuchcard0"));
        assert!(why("lo").contains("no hardware clock"));
        assert!(why("/dev/null").contains("no PTP hardware clock"));
    }

    #[test]
    fn what_was_refused_is_shown_until_it_is_not() {
        let mut lines = InterfaceLines::default();
        lines.note(&CardNote::Refused {
            interface: "eth0".to_owned(),
            why: NotStamping::OtherPackets,
        });
        lines.note(&CardNote::Renamed {
            from: "eth0".to_owned(),
            to: "lan0".to_owned(),
        });
        assert_eq!(lines.refused[0].0, "lan0");
        lines.note(&CardNote::Stamping {
            interface: "lan0".to_owned(),
            phc: 0,
        });
        assert!(lines.refused.is_empty());
    }

    #[test]
    fn bounds_count_what_a_card_does_not_see() {
        let board = CardBoard::default();
        board.set_asymmetry(700);
        let mut tracking = crate::cli::example_tracking();
        let before = tracking.bound_ns.unwrap();
        board.describe(&mut tracking);
        assert_eq!(tracking.bound_ns, Some(before + 700));
    }
}

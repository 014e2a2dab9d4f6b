//! `parisync nic`: what network interfaces can stamp, what would be used of it, what is missing.

use hwts::netlink::{self, Link};
use hwts::nic::{ClockSurvey, Survey, Verdict};
use serde::Serialize;

use super::output::{CliError, Context, Exit};
use crate::engine::DEFAULT_TIME_PORT;
use crate::time::Span;

/// Options of `parisync nic`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// The interface; without one all but the loopback are shown
    #[arg(value_name = "IFACE")]
    interface: Option<String>,
    /// The UDP port of the daemon, since some cards stamp packets of some ports only
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_TIME_PORT)]
    port: u16,
}

/// Looks at the interfaces and prints. Changes nothing.
pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let links = netlink::links()
        .map_err(|error| CliError::Failed(format!("cannot list the interfaces: {error}")))?;
    let wanted: Vec<&Link> = match &args.interface {
        Some(name) => links.iter().filter(|link| link.name == *name).collect(),
        None => links.iter().filter(|link| !link.loopback).collect(),
    };
    if let (Some(name), []) = (&args.interface, wanted.as_slice()) {
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        return Err(CliError::Failed(format!(
            "there is no interface {name}; there are {}",
            names.join(", ")
        )));
    }
    let mut cards = Vec::new();
    for link in wanted {
        let survey = Survey::of(&links, link, args.port)
            .map_err(|error| CliError::Failed(format!("{}: {error}", link.name)))?;
        cards.push(Card::of(&survey));
    }
    context.show(&cards, |cards| human(cards))?;
    Ok(Exit::Done)
}

/// One interface, for people and for programs.
#[derive(Debug, Serialize, PartialEq)]
struct Card {
    interface: String,
    up: bool,
    carrier: bool,
    /// What made it; null for a driver of a real device.
    kind: Option<String>,
    /// The device that stamps its packets; null if there is no one.
    device: Option<String>,
    driver: Option<String>,
    kernel_transmit: bool,
    kernel_receive: bool,
    /// Null if the driver says nothing.
    transmit_types: Option<Vec<String>>,
    receive_filters: Option<Vec<String>>,
    /// What is turned on now; null if the driver cannot tell.
    transmit_now: Option<String>,
    receive_now: Option<String>,
    clock: Option<CardClock>,
    /// An XDP program is attached to it.
    xdp_attached: bool,
    /// `hardware`, `kernel` or `user`: what we would use.
    stamps: &'static str,
    why: String,
    /// What an administrator can run to get better ones.
    command: Option<String>,
}

/// A card's clock.
#[derive(Debug, Serialize, PartialEq)]
struct CardClock {
    device: String,
    /// Why nothing more is known.
    unreadable: Option<String>,
    read_by: Option<String>,
    /// Half-width of a reading against the raw clock.
    width_ns: Option<i64>,
    max_adjustment_ppb: Option<i32>,
    precise: Option<bool>,
    pps: Option<bool>,
    external_stamps: Option<i32>,
    periodic_outputs: Option<i32>,
    pins: Option<i32>,
    /// Virtual clocks that stand on it.
    virtual_clocks: Option<u32>,
}

impl Card {
    fn of(survey: &Survey) -> Self {
        let abilities = survey.abilities.as_ref();
        let (stamps, why, command) = match &survey.verdict {
            Verdict::Hardware => (
                "hardware",
                "its card stamps our packets both ways".to_owned(),
                None,
            ),
            Verdict::HardwareAfter { command } => (
                "hardware",
                "its card can, but is not told to: a daemon with CAP_NET_ADMIN does that at \
                 start, any other stays with kernel stamps"
                    .to_owned(),
                Some(command.clone()),
            ),
            Verdict::Kernel(why) => ("kernel", why.to_string(), None),
            Verdict::NoDevice(why) => ("kernel", why.to_string(), None),
            Verdict::User => (
                "user",
                "its driver stamps sent packets neither in hardware nor in the kernel".to_owned(),
                None,
            ),
        };
        let link = &survey.link;
        Self {
            interface: link.name.clone(),
            up: link.up,
            carrier: link.carrier,
            kind: link.kind.clone(),
            device: survey.device.as_ref().ok().cloned(),
            driver: survey.driver.clone(),
            kernel_transmit: abilities.is_some_and(|a| a.kernel_tx),
            kernel_receive: abilities.is_some_and(|a| a.kernel_rx),
            transmit_types: abilities.map(|a| words(a.tx_types())),
            receive_filters: abilities.map(|a| words(a.rx_filters())),
            transmit_now: survey.configured.map(|now| now.tx.to_string()),
            receive_now: survey.configured.map(|now| now.rx.to_string()),
            clock: abilities
                .and_then(|a| a.phc)
                .map(|phc| CardClock::of(phc, survey)),
            xdp_attached: link.xdp,
            stamps,
            why,
            command,
        }
    }
}

fn words<T: ToString>(values: impl Iterator<Item = T>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}

impl CardClock {
    fn of(phc: u32, survey: &Survey) -> Self {
        let read: Option<&ClockSurvey> = survey.clock.as_ref().and_then(|c| c.as_ref().ok());
        let unreadable = survey.clock.as_ref().and_then(|c| c.as_ref().err());
        Self {
            device: format!("/dev/ptp{phc}"),
            unreadable: unreadable.map(ToString::to_string),
            read_by: read.map(|clock| clock.method.to_string()),
            width_ns: read.map(|clock| clock.reading.error),
            max_adjustment_ppb: read.map(|clock| clock.abilities.max_adjustment_ppb),
            precise: read.map(|clock| clock.abilities.precise),
            pps: read.map(|clock| clock.abilities.pps),
            external_stamps: read.map(|clock| clock.abilities.external_stamps),
            periodic_outputs: read.map(|clock| clock.abilities.periodic_outputs),
            pins: read.map(|clock| clock.abilities.pins),
            virtual_clocks: read.map(|clock| clock.virtual_clocks),
        }
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        if let Some(why) = &self.unreadable {
            return vec![("Clock", format!("{}: {why}", self.device))];
        }
        let mut lines = vec![(
            "Clock",
            format!(
                "{}, read by {} to ±{}",
                self.device,
                self.read_by.as_deref().unwrap_or("-"),
                Span::from_nanos(self.width_ns.unwrap_or(0)),
            ),
        )];
        let virtual_clocks = self.virtual_clocks.unwrap_or(0);
        let steering = match self.max_adjustment_ppb.unwrap_or(0) {
            0 => "cannot be steered".to_owned(),
            _ if virtual_clocks > 0 => format!(
                "virtual clocks stand on it ({virtual_clocks}), so it runs free: its stamps serve as \
                 before, and what can be steered is one of them, `--discipline phc:/dev/ptpN`"
            ),
            ppb => format!(
                "by up to {:.3} ppm; `--discipline phc:…` does that",
                f64::from(ppb) / 1e3
            ),
        };
        lines.push(("Steering", steering));
        let count = |n: Option<i32>, what: &str| match n {
            Some(n) if n > 0 => Some(format!("{n} {what}")),
            _ => None,
        };
        let has: Vec<String> = [
            self.pps
                .and_then(|pps| pps.then(|| "pulse per second to the kernel".to_owned())),
            count(self.external_stamps, "inputs with stamps"),
            count(self.periodic_outputs, "periodic outputs"),
            count(self.pins, "pins"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !has.is_empty() {
            lines.push(("Pulses", has.join(", ")));
        }
        lines
    }
}

fn human(cards: &[Card]) -> String {
    let mut text = String::new();
    for card in cards {
        if !text.is_empty() {
            text.push('\n');
        }
        let state = match (card.up, card.carrier) {
            (true, true) => "up",
            (true, false) => "up, no carrier",
            (false, _) => "down",
        };
        let kind = card.kind.as_deref().map(|kind| format!(", {kind}"));
        text += &format!(
            "{}: {state}{}{}\n",
            card.interface,
            kind.unwrap_or_default(),
            if card.xdp_attached {
                ", with an XDP program"
            } else {
                ""
            }
        );
        let mut row = |name: &str, value: &str| text += &format!("  {name:<14} {value}\n");
        match (&card.device, &card.driver) {
            (Some(device), driver) if *device != card.interface => row(
                "Device",
                &format!(
                    "{device}, driver {}",
                    driver.as_deref().unwrap_or("unknown")
                ),
            ),
            (_, Some(driver)) => row("Driver", driver),
            _ => {}
        }
        if let (Some(tx), Some(rx)) = (&card.transmit_types, &card.receive_filters) {
            let yes = |can| if can { "yes" } else { "no" };
            row(
                "Kernel stamps",
                &format!(
                    "transmit {}, receive {}",
                    yes(card.kernel_transmit),
                    yes(card.kernel_receive)
                ),
            );
            if card.clock.is_some() {
                row(
                    "Card stamps",
                    &format!("transmit {}; receive {}", tx.join(" "), rx.join(" ")),
                );
                let now = |what: &Option<String>| what.clone().unwrap_or("unknown".to_owned());
                row(
                    "Turned on",
                    &format!(
                        "transmit {}; receive {}",
                        now(&card.transmit_now),
                        now(&card.receive_now)
                    ),
                );
            }
        }
        for (name, value) in card.clock.iter().flat_map(CardClock::lines) {
            row(name, &value);
        }
        row(
            "We would use",
            &format!("{} stamps: {}", card.stamps, card.why),
        );
        if let Some(command) = &card.command {
            row("Run as root", command);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hwts::clock::{CrossRead, PhcAbilities, PhcMethod};
    use hwts::nic::{Abilities, Configured, RxFilter, TxType};

    fn survey() -> Survey {
        Survey {
            link: Link {
                index: 2,
                name: "eth0.7".to_owned(),
                up: true,
                carrier: true,
                kind: Some("vlan".to_owned()),
                ..Link::default()
            },
            device: Ok("eth0".to_owned()),
            driver: Some("igc".to_owned()),
            abilities: Some(Abilities {
                kernel_tx: true,
                kernel_rx: true,
                hardware_tx: true,
                hardware_rx: true,
                phc: Some(3),
                tx_types: 0b11,
                rx_filters: 0b11,
            }),
            configured: Some(Configured {
                tx: TxType::OFF,
                rx: RxFilter::NONE,
                flags: 0,
            }),
            clock: Some(Ok(ClockSurvey {
                abilities: PhcAbilities {
                    max_adjustment_ppb: 62_499_999,
                    external_stamps: 2,
                    periodic_outputs: 2,
                    pps: true,
                    pins: 4,
                    precise: false,
                },
                virtual_clocks: 0,
                method: PhcMethod::Extended,
                reading: CrossRead {
                    a: 5,
                    b: 6,
                    error: 1_200,
                },
            })),
            verdict: Verdict::HardwareAfter {
                command: "hwstamp_ctl -i eth0 -t 1 -r 1".to_owned(),
            },
        }
    }

    #[test]
    fn a_card_is_shown_with_what_is_missing() {
        let text = human(&[Card::of(&survey())]);
        for part in [
            "eth0.7: up, vlan\n",
            "eth0, driver igc\n",
            "transmit off on; receive none all\n",
            "transmit off; receive none\n",
            "/dev/ptp3, read by PTP_SYS_OFFSET_EXTENDED to ±1.2",
            "62499.999 ppm",
            "pulse per second to the kernel, 2 inputs with stamps, 2 periodic outputs, 4 pins",
            "hwstamp_ctl -i eth0 -t 1 -r 1\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_clock_under_virtual_ones_is_not_to_be_steered() {
        let mut survey = survey();
        if let Some(Ok(clock)) = &mut survey.clock {
            clock.virtual_clocks = 2;
        }
        let text = human(&[Card::of(&survey)]);
        assert!(text.contains("virtual clocks stand on it (2)"), "{text}");
        assert!(!text.contains("62499.999 ppm"), "{text}");
    }

    #[test]
    fn programs_get_the_same() {
        let json = serde_json::to_value(Card::of(&survey())).unwrap();
        assert_eq!(json["stamps"], "hardware");
        assert_eq!(json["clock"]["width_ns"], 1_200);
        assert_eq!(json["receive_filters"][1], "all");
        assert_eq!(json["command"], "hwstamp_ctl -i eth0 -t 1 -r 1");
    }

    #[test]
    fn all_interfaces_of_this_host_can_be_looked_at() {
        let links = netlink::links().unwrap();
        for link in &links {
            let survey = Survey::of(&links, link, DEFAULT_TIME_PORT).unwrap();
            assert!(human(&[Card::of(&survey)]).contains("We would use"));
        }
    }
}

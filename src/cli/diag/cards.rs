//! What stamps the packets of each network interface.

use hwts::netlink;
use hwts::nic::{Survey, Verdict};

use super::Finding;
use crate::engine::DEFAULT_TIME_PORT;

const TOPIC: &str = "interfaces";

/// All interfaces that are up, but for the loopback.
pub(super) fn interfaces() -> Vec<Finding> {
    let links = match netlink::links() {
        Ok(links) => links,
        Err(error) => {
            return vec![Finding::warning(
                TOPIC,
                format!("the kernel does not tell: {error}"),
                "hardware stamps are not used without; a sandbox may forbid AF_NETLINK",
            )];
        }
    };
    links
        .iter()
        .filter(|link| link.up && !link.loopback)
        .filter_map(|link| {
            let survey = Survey::of(&links, link, DEFAULT_TIME_PORT).ok()?;
            Some(finding(&link.name, &survey))
        })
        .collect()
}

fn finding(name: &str, survey: &Survey) -> Finding {
    let clock = survey.clock.as_ref();
    match (&survey.verdict, clock) {
        (Verdict::Hardware | Verdict::HardwareAfter { .. }, Some(Err(error))) => Finding::warning(
            TOPIC,
            format!("{name}: its card could stamp, but its clock cannot be read: {error}"),
            "kernel stamps serve meanwhile",
        ),
        (Verdict::Hardware, _) => Finding::good(TOPIC, format!("{name}: hardware stamps")),
        (Verdict::HardwareAfter { command }, _) => Finding::warning(
            TOPIC,
            format!("{name}: kernel stamps; its card can stamp, but is not told to"),
            format!("run `{command}` as root, or start the daemon with CAP_NET_ADMIN"),
        ),
        (Verdict::Kernel(why), _) => Finding::good(TOPIC, format!("{name}: kernel stamps, {why}")),
        (Verdict::NoDevice(why), _) => {
            Finding::good(TOPIC, format!("{name}: kernel stamps, {why}"))
        }
        (Verdict::User, _) => Finding::warning(
            TOPIC,
            format!("{name}: its driver stamps no packets, not even in the kernel"),
            "errors are tens of times larger through it; use another interface if there is one",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use hwts::netlink::Link;

    #[test]
    fn a_card_that_is_not_told_to_stamp_comes_with_the_command() {
        let mut survey = Survey {
            link: Link::default(),
            device: Ok("eth0".to_owned()),
            driver: None,
            abilities: None,
            configured: None,
            clock: None,
            verdict: Verdict::HardwareAfter {
                command: "hwstamp_ctl -i eth0 -t 1 -r 1".to_owned(),
            },
        };
        let warned = finding("eth0", &survey);
        assert_eq!(warned.level, Level::Warning);
        assert!(warned.advice.unwrap().contains("hwstamp_ctl -i eth0"));
        survey.verdict = Verdict::Hardware;
        assert_eq!(finding("eth0", &survey).level, Level::Good);
        survey.verdict = Verdict::User;
        assert_eq!(finding("eth0", &survey).level, Level::Warning);
    }
}

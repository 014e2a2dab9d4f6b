//! All there is to know of one network interface's stamps.

use std::io;

use super::{
    Abilities, Configured, NoDevice, NotStamping, abilities, command, configured, driver, needed,
    physical,
};
use crate::clock::{CrossRead, Phc, PhcAbilities, PhcError, PhcMethod, virtual_clocks};
use crate::netlink::Link;

/// What was found out about an interface; nothing was changed.
#[derive(Debug)]
pub struct Survey {
    /// The interface.
    pub link: Link,
    /// The device that stamps its packets; itself, for most.
    pub device: Result<String, NoDevice>,
    /// That device's driver.
    pub driver: Option<String>,
    /// What that device can stamp.
    pub abilities: Option<Abilities>,
    /// What it is told to stamp now; none if its driver cannot tell.
    pub configured: Option<Configured>,
    /// Its clock, if it has one.
    pub clock: Option<Result<ClockSurvey, PhcError>>,
    /// What of it would serve for packets to the port that was asked for.
    pub verdict: Verdict,
}

/// What was found out about a card's clock.
#[derive(Debug, Clone, Copy)]
pub struct ClockSurvey {
    /// What it can do.
    pub abilities: PhcAbilities,
    /// Virtual clocks that stand on it: as long as there are any it runs free.
    pub virtual_clocks: u32,
    /// How it is read.
    pub method: PhcMethod,
    /// A reading against the raw clock.
    pub reading: CrossRead,
}

/// Which stamps the packets of an interface get.
#[derive(Debug)]
pub enum Verdict {
    /// The card's, as it is.
    Hardware,
    /// The card's, once it is told to; with `CAP_NET_ADMIN` we do that ourselves.
    HardwareAfter {
        /// What an administrator can do instead.
        command: String,
    },
    /// The kernel's, since the card cannot, for this reason.
    Kernel(NotStamping),
    /// The kernel's, since no one device stamps them.
    NoDevice(NoDevice),
    /// None, not even the kernel's: its driver hands sent packets on without a stamp.
    User,
}

impl Survey {
    /// Finds out about `link`, one of all `links`, for packets to UDP `port`.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn of(links: &[Link], link: &Link, port: u16) -> io::Result<Self> {
        let device = physical(links, link.index).map(|device| device.name.clone());
        let Ok(name) = &device else {
            return Ok(Self {
                link: link.clone(),
                verdict: match &device {
                    Err(why) => Verdict::NoDevice(why.clone()),
                    Ok(_) => Verdict::User,
                },
                device,
                driver: None,
                abilities: None,
                configured: None,
                clock: None,
            });
        };
        let abilities = abilities(name)?;
        let now = configured(name).ok();
        let verdict = match needed(&abilities, now, port) {
            Ok(None) => Verdict::Hardware,
            Ok(Some(wanted)) => Verdict::HardwareAfter {
                command: command(name, wanted),
            },
            Err(_) if !abilities.kernel_tx => Verdict::User,
            Err(why) => Verdict::Kernel(why),
        };
        Ok(Self {
            link: link.clone(),
            driver: driver(name).ok(),
            abilities: Some(abilities),
            configured: now,
            clock: abilities.phc.map(|index| {
                let mut clock = Phc::open_index(index)?;
                let reading = clock.raw_read()?;
                Ok(ClockSurvey {
                    abilities: *clock.abilities(),
                    virtual_clocks: virtual_clocks(index).unwrap_or(0),
                    method: clock.method(),
                    reading,
                })
            }),
            verdict,
            device,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::NoHardware;
    use super::*;
    use crate::netlink::links;

    #[test]
    fn the_loopback_has_no_hardware() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.loopback).unwrap();
        let survey = Survey::of(&links, lo, 4_711).unwrap();
        assert_eq!(survey.device.as_deref(), Ok("lo"));
        assert!(survey.clock.is_none() && survey.configured.is_none());
        assert!(
            matches!(
                survey.verdict,
                Verdict::Kernel(NotStamping::Cannot(NoHardware::NoClock))
            ) || matches!(survey.verdict, Verdict::User)
        );
    }
}

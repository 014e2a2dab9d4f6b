//! Which packets a card stamps now, and having it stamp ours (`SIOCGHWTSTAMP`, `SIOCSHWTSTAMP`;
//! Documentation/networking/timestamping.rst, section 3).

use std::fmt;
use std::io;

use super::{Abilities, NoHardware, ioctl};

/// The port of NTP, for which some cards have a filter of their own.
const NTP_PORT: u16 = 123;

/// Which sent packets the card stamps (`enum hwtstamp_tx_types`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxType(pub u32);

impl TxType {
    /// None.
    pub const OFF: Self = Self(0);
    /// Those that a program asks for.
    pub const ON: Self = Self(libc::HWTSTAMP_TX_ON);

    /// Whether packets get stamps that are asked for. The one-step types add to
    /// [`ON`](Self::ON) that the card writes into PTP messages.
    pub const fn stamps(self) -> bool {
        self.0 != Self::OFF.0
    }
}

impl fmt::Display for TxType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("off"),
            1 => f.pad("on"),
            2 => f.pad("onestep-sync"),
            3 => f.pad("onestep-p2p"),
            other => write!(f, "type-{other}"),
        }
    }
}

/// Which received packets the card stamps (`enum hwtstamp_rx_filters`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RxFilter(pub u32);

impl RxFilter {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every packet.
    pub const ALL: Self = Self(libc::HWTSTAMP_FILTER_ALL);
    /// Every NTP packet: UDP port 123.
    pub const NTP_ALL: Self = Self(libc::HWTSTAMP_FILTER_NTP_ALL);

    /// Whether packets to UDP `port` are stamped, PTP's own messages aside.
    pub const fn covers(self, port: u16) -> bool {
        self.0 == Self::ALL.0 || (self.0 == Self::NTP_ALL.0 && port == NTP_PORT)
    }
}

impl fmt::Display for RxFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As `ethtool -T` calls them.
        const NAMES: [&str; 16] = [
            "none",
            "all",
            "some",
            "ptpv1-l4-event",
            "ptpv1-l4-sync",
            "ptpv1-l4-delay-req",
            "ptpv2-l4-event",
            "ptpv2-l4-sync",
            "ptpv2-l4-delay-req",
            "ptpv2-l2-event",
            "ptpv2-l2-sync",
            "ptpv2-l2-delay-req",
            "ptpv2-event",
            "ptpv2-sync",
            "ptpv2-delay-req",
            "ntp-all",
        ];
        match NAMES.get(self.0 as usize) {
            Some(name) => f.pad(name),
            None => write!(f, "filter-{}", self.0),
        }
    }
}

/// What a card is told to stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configured {
    /// Which sent packets.
    pub tx: TxType,
    /// Which received packets.
    pub rx: RxFilter,
    /// `HWTSTAMP_FLAG_…` bits.
    pub flags: i32,
}

impl Configured {
    /// Whether packets to and from UDP `port` are stamped both ways.
    pub const fn covers(&self, port: u16) -> bool {
        self.tx.stamps() && self.rx.covers(port)
    }
}

/// What the card of `interface` is told to stamp now. Changes nothing and needs no privilege.
///
/// # Errors
/// There is no such interface, or its driver cannot tell (`EOPNOTSUPP`).
pub fn configured(interface: &str) -> io::Result<Configured> {
    let mut config = libc::hwtstamp_config {
        flags: 0,
        tx_type: 0,
        rx_filter: 0,
    };
    // SAFETY: the request fills in one hwtstamp_config.
    unsafe { ioctl::ask(interface, libc::SIOCGHWTSTAMP as _, &mut config) }?;
    Ok(from_kernel(&config))
}

fn configure(interface: &str, wanted: Configured) -> io::Result<Configured> {
    let mut config = libc::hwtstamp_config {
        flags: wanted.flags,
        tx_type: wanted.tx.0.cast_signed(),
        rx_filter: wanted.rx.0.cast_signed(),
    };
    // SAFETY: the request reads one hwtstamp_config and writes back what was set.
    unsafe { ioctl::ask(interface, libc::SIOCSHWTSTAMP as _, &mut config) }?;
    Ok(from_kernel(&config))
}

const fn from_kernel(config: &libc::hwtstamp_config) -> Configured {
    Configured {
        tx: TxType(config.tx_type.cast_unsigned()),
        rx: RxFilter(config.rx_filter.cast_unsigned()),
        flags: config.flags,
    }
}

/// Why a card does not stamp our packets.
#[derive(Debug)]
pub enum NotStamping {
    /// It cannot, whatever it is told.
    Cannot(NoHardware),
    /// It can stamp some kinds of received packets, but not those to our port.
    OtherPackets,
    /// It could, but this process may not tell it to.
    NotPermitted {
        /// What an administrator can do once for all.
        command: String,
    },
    /// Its driver refuses.
    Os {
        /// The interface.
        interface: String,
        /// What the kernel said.
        error: io::Error,
    },
}

impl fmt::Display for NotStamping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cannot(why) => why.fmt(f),
            Self::OtherPackets => {
                f.write_str("its hardware stamps received PTP packets only; other cards stamp all")
            }
            Self::NotPermitted { command } => write!(
                f,
                "stamping is off, and turning it on needs CAP_NET_ADMIN: run `{command}` as root"
            ),
            Self::Os { interface, error } => {
                write!(
                    f,
                    "the driver of {interface} does not turn stamping on: {error}"
                )?;
                match error.raw_os_error() {
                    Some(libc::EBUSY) => f.write_str(" (another program holds its settings)"),
                    Some(libc::ERANGE) => f.write_str(" (it lists this filter, but refuses it)"),
                    Some(libc::ENODEV) => f.write_str(" (some cards need their link up)"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for NotStamping {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// What would have a card stamp packets to UDP `port` both ways: the narrowest filter that does,
/// and what is set already. None if nothing has to change.
///
/// # Errors
/// [`NotStamping::Cannot`] and [`NotStamping::OtherPackets`].
pub fn needed(
    abilities: &Abilities,
    now: Option<Configured>,
    port: u16,
) -> Result<Option<Configured>, NotStamping> {
    if let Some(why) = abilities.no_hardware() {
        return Err(NotStamping::Cannot(why));
    }
    if now.is_some_and(|now| now.covers(port)) {
        return Ok(None);
    }
    let before = now.unwrap_or(Configured {
        tx: TxType::OFF,
        rx: RxFilter::NONE,
        flags: 0,
    });
    let rx = [RxFilter::NTP_ALL, RxFilter::ALL]
        .into_iter()
        .find(|filter| filter.covers(port) && abilities.has_filter(*filter))
        .ok_or(NotStamping::OtherPackets)?;
    Ok(Some(Configured {
        // Somebody's one-step stamping goes on.
        tx: if before.tx.stamps() {
            before.tx
        } else {
            TxType::ON
        },
        rx: if before.rx.covers(port) {
            before.rx
        } else {
            rx
        },
        flags: before.flags,
    }))
}

/// The command with which an administrator has `interface` stamp as `wanted`.
pub fn command(interface: &str, wanted: Configured) -> String {
    format!(
        "hwstamp_ctl -i {interface} -t {} -r {}",
        wanted.tx.0, wanted.rx.0
    )
}

/// Has the card of `interface` stamp packets to and from UDP `port`, if it does not already: only
/// then `CAP_NET_ADMIN` is needed. What other programs had it stamp it goes on stamping.
///
/// # Errors
/// See [`NotStamping`].
pub fn turn_on(
    interface: &str,
    abilities: &Abilities,
    port: u16,
) -> Result<Configured, NotStamping> {
    // Old drivers cannot tell; they can still be told.
    let now = configured(interface).ok();
    let Some(wanted) = needed(abilities, now, port)? else {
        return Ok(now.unwrap_or(Configured {
            tx: TxType::ON,
            rx: RxFilter::ALL,
            flags: 0,
        }));
    };
    match configure(interface, wanted) {
        // Drivers set more than was asked for if they must, and say so.
        Ok(set) if set.covers(port) => Ok(set),
        Ok(_) => Err(NotStamping::OtherPackets),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => Err(NotStamping::NotPermitted {
            command: command(interface, wanted),
        }),
        Err(error) => Err(NotStamping::Os {
            interface: interface.to_owned(),
            error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{IGC, abilities_of};
    use super::*;

    const fn set(tx: u32, rx: u32) -> Configured {
        Configured {
            tx: TxType(tx),
            rx: RxFilter(rx),
            flags: 0,
        }
    }

    #[test]
    fn the_narrowest_filter_that_works_is_asked_for() {
        let igc = abilities_of(&IGC);
        assert_eq!(
            needed(&igc, Some(set(0, 0)), 4_711).unwrap(),
            Some(set(1, 1))
        );
        let mut ntp = IGC;
        ntp.rx_filters |= 1 << 15;
        let ntp = abilities_of(&ntp);
        assert_eq!(needed(&ntp, None, 123).unwrap(), Some(set(1, 15)));
        assert_eq!(needed(&ntp, None, 4_711).unwrap(), Some(set(1, 1)));
    }

    #[test]
    fn what_others_set_is_kept_if_it_serves() {
        let igc = abilities_of(&IGC);
        assert_eq!(needed(&igc, Some(set(1, 1)), 4_711).unwrap(), None);
        assert_eq!(needed(&igc, Some(set(2, 1)), 4_711).unwrap(), None);
        assert_eq!(needed(&igc, Some(set(0, 1)), 123).unwrap(), Some(set(1, 1)));
        // ptp4l's filter, within all; its one-step stamping goes on.
        assert_eq!(
            needed(&igc, Some(set(2, 12)), 4_711).unwrap(),
            Some(set(2, 1))
        );
    }

    #[test]
    fn cards_that_stamp_ptp_only_are_named() {
        let mut ptp = IGC;
        ptp.rx_filters = 1 | 1 << 12;
        let refused = needed(&abilities_of(&ptp), None, 4_711).unwrap_err();
        assert!(matches!(refused, NotStamping::OtherPackets));
        assert!(refused.to_string().contains("PTP packets only"));
    }

    #[test]
    fn the_command_is_what_hwstamp_ctl_takes() {
        assert_eq!(command("eth0", set(1, 1)), "hwstamp_ctl -i eth0 -t 1 -r 1");
    }

    #[test]
    fn loopback_cannot_tell_and_cannot_be_told() {
        let error = configured("lo").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
        let lo = super::super::abilities("lo").unwrap();
        let refused = turn_on("lo", &lo, 4_711).unwrap_err();
        assert!(matches!(refused, NotStamping::Cannot(NoHardware::NoClock)));
    }

    #[test]
    fn kernel_names_are_those_of_ethtool() {
        assert_eq!(RxFilter(12).to_string(), "ptpv2-event");
        assert_eq!(RxFilter::NTP_ALL.to_string(), "ntp-all");
        assert_eq!(RxFilter(99).to_string(), "filter-99");
        assert_eq!(
            (TxType(3).to_string(), TxType(9).to_string()),
            ("onestep-p2p".into(), "type-9".into())
        );
    }
}

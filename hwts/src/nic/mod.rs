//! What a network interface can stamp, asked of its driver (`ETHTOOL_GET_TS_INFO`; what
//! `ethtool -T` shows), which of it is turned on, and turning it on.
//!
//! Asking changes nothing and needs no privilege; [`turn_on`] needs `CAP_NET_ADMIN`, and only if
//! there is something to change.

mod hwtstamp;
mod ioctl;
mod physical;
mod survey;

pub use hwtstamp::{
    Configured, NotStamping, RxFilter, TxType, command, configured, needed, turn_on,
};
pub use physical::{NoDevice, physical};
pub use survey::{ClockSurvey, Survey, Verdict};

use std::fmt;
use std::io;

/// linux/ethtool.h; libc lacks it.
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
const ETHTOOL_GDRVINFO: u32 = 0x03;
/// `HWTSTAMP_TX_ON` and `HWTSTAMP_FILTER_ALL` as bits; any filter beyond `NONE` stamps something.
const TX_ON: u32 = 1 << 1;
const FILTERS_BEYOND_NONE: u32 = !1;

/// `struct ethtool_ts_info` (linux/ethtool.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct TsInfo {
    cmd: u32,
    so_timestamping: u32,
    phc_index: i32,
    tx_types: u32,
    tx_reserved: [u32; 3],
    rx_filters: u32,
    rx_reserved: [u32; 3],
}

/// What an interface can stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Its driver hands packets to the kernel so that sent ones can be stamped there.
    pub kernel_tx: bool,
    /// Received packets can be stamped by the kernel.
    pub kernel_rx: bool,
    /// The card stamps sent packets.
    pub hardware_tx: bool,
    /// The card stamps received packets, or some kinds of them.
    pub hardware_rx: bool,
    /// The card's clock, N of `/dev/ptpN`.
    pub phc: Option<u32>,
    /// The [`TxType`]s it has, as bits.
    pub tx_types: u32,
    /// The [`RxFilter`]s it has, as bits.
    pub rx_filters: u32,
}

impl Abilities {
    fn of(info: &TsInfo) -> Self {
        let can = |flags: u32| info.so_timestamping & flags == flags;
        let raw = libc::SOF_TIMESTAMPING_RAW_HARDWARE;
        Self {
            kernel_tx: can(libc::SOF_TIMESTAMPING_TX_SOFTWARE),
            kernel_rx: can(libc::SOF_TIMESTAMPING_RX_SOFTWARE),
            hardware_tx: can(libc::SOF_TIMESTAMPING_TX_HARDWARE | raw)
                && info.tx_types & TX_ON != 0,
            hardware_rx: can(libc::SOF_TIMESTAMPING_RX_HARDWARE | raw)
                && info.rx_filters & FILTERS_BEYOND_NONE != 0,
            phc: u32::try_from(info.phc_index).ok(),
            tx_types: info.tx_types,
            rx_filters: info.rx_filters,
        }
    }

    /// Whether the card can be told to use `filter`.
    pub const fn has_filter(&self, filter: RxFilter) -> bool {
        filter.0 < u32::BITS && self.rx_filters & (1 << filter.0) != 0
    }

    /// The transmit types it has.
    pub fn tx_types(&self) -> impl Iterator<Item = TxType> + use<> {
        let bits = self.tx_types;
        (0..u32::BITS)
            .filter(move |n| bits & (1 << n) != 0)
            .map(TxType)
    }

    /// The receive filters it has.
    pub fn rx_filters(&self) -> impl Iterator<Item = RxFilter> + use<> {
        let bits = self.rx_filters;
        (0..u32::BITS)
            .filter(move |n| bits & (1 << n) != 0)
            .map(RxFilter)
    }

    /// Why the card does not stamp packets both ways; none if it does.
    pub fn no_hardware(&self) -> Option<NoHardware> {
        match (self.phc, self.hardware_tx, self.hardware_rx) {
            (None, false, false) => Some(NoHardware::NoClock),
            (_, false, false) => Some(NoHardware::Neither),
            (_, false, true) => Some(NoHardware::NotSent),
            (_, true, false) => Some(NoHardware::NotReceived),
            (None, true, true) => Some(NoHardware::NoClock),
            (Some(_), true, true) => None,
        }
    }
}

/// Why there are no hardware stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHardware {
    /// No clock in the card, so nothing to stamp with.
    NoClock,
    /// A clock, but no stamps of packets.
    Neither,
    /// Received packets only.
    NotSent,
    /// Sent packets only.
    NotReceived,
}

impl fmt::Display for NoHardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoClock => "its driver has no hardware clock (no PHC)",
            Self::Neither => "its driver has a hardware clock but stamps no packets with it",
            Self::NotSent => "its hardware stamps received packets only",
            Self::NotReceived => "its hardware stamps sent packets only",
        })
    }
}

/// What `interface` of this network namespace can stamp. A driver that does not say can do
/// nothing.
///
/// # Errors
/// There is no such interface (`ENODEV`, `InvalidInput` for a name no interface can have), or the
/// kernel refuses.
pub fn abilities(interface: &str) -> io::Result<Abilities> {
    let mut info = TsInfo {
        cmd: ETHTOOL_GET_TS_INFO,
        phc_index: -1,
        ..TsInfo::default()
    };
    // SAFETY: the request reads `cmd` and fills in one ethtool_ts_info.
    let asked = unsafe { ioctl::ask(interface, libc::SIOCETHTOOL as _, &mut info) };
    match asked {
        Ok(_) => Ok(Abilities::of(&info)),
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Abilities::of(&TsInfo {
            phc_index: -1,
            ..TsInfo::default()
        })),
        Err(e) => Err(e),
    }
}

/// `struct ethtool_drvinfo` (linux/ethtool.h).
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    erom_version: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// The driver of `interface`, by name.
///
/// # Errors
/// There is no such interface, or nothing drives it.
pub fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        erom_version: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    // SAFETY: the request reads `cmd` and fills in one ethtool_drvinfo.
    unsafe { ioctl::ask(interface, libc::SIOCETHTOOL as _, &mut info) }?;
    let end = info.driver.iter().position(|&byte| byte == 0);
    let name = &info.driver[..end.unwrap_or(info.driver.len())];
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ethtool -T` shows for an Intel I225 (driver igc): all of software, hardware both ways,
    /// transmit types off and on, filters none and all.
    pub(super) const IGC: TsInfo = TsInfo {
        cmd: ETHTOOL_GET_TS_INFO,
        so_timestamping: libc::SOF_TIMESTAMPING_TX_SOFTWARE
            | libc::SOF_TIMESTAMPING_RX_SOFTWARE
            | libc::SOF_TIMESTAMPING_SOFTWARE
            | libc::SOF_TIMESTAMPING_TX_HARDWARE
            | libc::SOF_TIMESTAMPING_RX_HARDWARE
            | libc::SOF_TIMESTAMPING_RAW_HARDWARE,
        phc_index: 0,
        tx_types: 0b11,
        tx_reserved: [0; 3],
        rx_filters: 0b11,
        rx_reserved: [0; 3],
    };

    pub(super) fn abilities_of(info: &TsInfo) -> Abilities {
        Abilities::of(info)
    }

    #[test]
    fn loopback_stamps_in_the_kernel_only() {
        let lo = abilities("lo").unwrap();
        assert!(lo.kernel_rx && !lo.hardware_rx && !lo.hardware_tx);
        assert_eq!(lo.no_hardware(), Some(NoHardware::NoClock));
    }

    #[test]
    fn interfaces_that_are_not_there_are_errors() {
        let missing = abilities("nosuchdevice0").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
        for name in ["", "a\0b", "longer_than_any_name"] {
            let error = abilities(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(Abilities::of(&IGC).no_hardware(), None);
        assert_eq!(Abilities::of(&IGC).phc, Some(0));
        let why = |info| Abilities::of(&info).no_hardware();
        let receive_only = TsInfo { tx_types: 1, ..IGC };
        assert_eq!(why(receive_only), Some(NoHardware::NotSent));
        let send_only = TsInfo {
            rx_filters: 1,
            ..IGC
        };
        assert_eq!(why(send_only), Some(NoHardware::NotReceived));
        let clock_only = TsInfo {
            so_timestamping: libc::SOF_TIMESTAMPING_RX_SOFTWARE,
            ..IGC
        };
        assert_eq!(why(clock_only), Some(NoHardware::Neither));
        let none = TsInfo {
            phc_index: -1,
            ..TsInfo::default()
        };
        assert_eq!(why(none), Some(NoHardware::NoClock));
    }
}

//! The clock of a network card, steered through `clock_adjtime(2)`.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use super::{
    Clock, ClockError, CrossRead, Phc, PhcConverter, PhcError, Refusal, Steering, SyncStatus, timex,
};
use crate::sys;

/// Frequency is in 2⁻¹⁶ ppm.
const UNITS: f64 = 65_536e6;

/// The clock of a network card, to be steered.
///
/// It shows TAI by custom, as PTP has it. Nobody but the device's owner may change it: opening
/// fails without permission to write. There is nothing to publish a status in.
#[derive(Debug)]
pub struct PhcClock {
    phc: PhcConverter,
    max_rate: f64,
    /// The output that pulses.
    pub(super) pulses: Option<u32>,
}

impl PhcClock {
    /// Opens a device such as `/dev/ptp0`; changes nothing.
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PhcError> {
        let phc = Phc::open_to_steer(path.as_ref())?;
        let max_rate = f64::from(phc.abilities().max_adjustment_ppb.max(0)) * 1e-9;
        Ok(Self {
            phc: PhcConverter::over(phc)?,
            max_rate,
            pulses: None,
        })
    }

    /// The clock as one that is read.
    pub const fn phc(&self) -> &Phc {
        self.phc.phc()
    }

    /// Reads it together with `CLOCK_MONOTONIC_RAW`: see [`PhcConverter::reading`].
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn reading(&mut self) -> Result<CrossRead, PhcError> {
        self.phc.reading()
    }

    /// `FD_TO_CLOCKID` (Documentation/driver-api/ptp.rst).
    fn id(&self) -> libc::clockid_t {
        (!self.phc().as_fd().as_raw_fd() << 3) | 3
    }

    fn adjust(&self, what: &'static str, mut tx: libc::timex) -> Result<libc::timex, ClockError> {
        // SAFETY: `tx` is a live, initialised timex.
        sys::check(unsafe { libc::clock_adjtime(self.id(), &raw mut tx) }).map_err(|error| {
            let refusal = match error.raw_os_error() {
                Some(libc::EBUSY) => Refusal::Busy,
                Some(libc::ERANGE) => Refusal::Range,
                Some(libc::ENODEV | libc::ENXIO) => Refusal::Gone,
                Some(libc::EACCES | libc::EPERM) => Refusal::ReadOnly,
                _ => return ClockError::from_os(what, error),
            };
            ClockError::Card {
                what,
                path: self.phc().path().to_owned(),
                refusal,
            }
        })?;
        Ok(tx)
    }
}

impl Clock for PhcClock {
    fn now(&self) -> i64 {
        sys::clock_gettime(self.id())
    }

    fn max_rate(&self) -> f64 {
        self.max_rate
    }

    fn set_rate(&mut self, rate: f64) -> Result<f64, ClockError> {
        if rate.is_nan() {
            return Err(ClockError::OutOfRange("the rate is not a number"));
        }
        let mut tx = timex::empty();
        tx.modes = libc::ADJ_FREQUENCY;
        tx.freq = frequency(rate, self.max_rate) as _;
        self.adjust("set the rate of a card's clock", tx)?;
        Ok(tx.freq as f64 / UNITS)
    }

    fn step(&mut self, nanos: i64) -> Result<(), ClockError> {
        self.adjust("step a card's clock", timex::step(nanos))?;
        match self.pulses {
            Some(output) => self.begin_pulses(output).map_err(|error| {
                ClockError::from_os("have a card pulse again after a step", error)
            }),
            None => Ok(()),
        }
    }

    fn publish(&mut self, _: &SyncStatus) -> Result<(), ClockError> {
        Ok(())
    }

    fn read_state(&self) -> Result<Steering, ClockError> {
        let tx = self.adjust("read the state of a card's clock", timex::empty())?;
        Ok(Steering {
            rate: tx.freq as f64 / UNITS,
            frequency: tx.freq as _,
            ..Steering::default()
        })
    }
}

/// A rate in the kernel's units, never beyond what the driver takes: rounding must not.
fn frequency(rate: f64, max_rate: f64) -> i64 {
    let most = (max_rate * UNITS).floor();
    (rate * UNITS).round().clamp(-most, most) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_stay_within_what_the_driver_takes() {
        // 1 ppm is 2^16; 62 499 999 ppb is what many Intel cards take.
        let most = 62_499_999e-9;
        assert_eq!(frequency(1e-6, most), 65_536);
        assert_eq!(frequency(-12.5e-6, most), -819_200);
        assert_eq!(frequency(1.0, most), 4_095_999_934);
        assert!(frequency(-1.0, most) as f64 / UNITS >= -most);
        assert_eq!(frequency(1e-6, 0.0), 0);
    }

    #[test]
    fn other_files_are_no_clocks_to_steer() {
        let error = PhcClock::open("/dev/null").unwrap_err();
        assert!(matches!(error, PhcError::NotAClock(_)), "{error:?}");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let text = |refusal| {
            ClockError::Card {
                what: "step a card's clock",
                path: "/dev/ptp0".into(),
                refusal,
            }
            .to_string()
        };
        assert!(text(Refusal::Busy).contains("n_vclocks"));
        assert!(text(Refusal::Gone).contains("gone"));
        assert!(text(Refusal::Range).contains("range"));
        assert!(text(Refusal::ReadOnly).contains("write"));
    }
}

//! A pulse each second out of a card (`Documentation/driver-api/ptp.rst`, linux/ptp_clock.h).

use std::fmt;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use super::{Clock as _, Phc, PhcClock};
use crate::sys;

/// `enum ptp_pin_function`.
const PIN_FREE: libc::c_uint = 0;
const PIN_PULSES: libc::c_uint = 2;
/// Some drivers take no beginning that is nearer, s.
const AHEAD: i64 = 2;

/// Why a card does not pulse.
#[derive(Debug)]
pub enum PulseError {
    /// It has fewer outputs.
    NoOutput {
        /// The clock.
        path: PathBuf,
        /// How many it has.
        outputs: i32,
    },
    /// All pins of the card have other functions.
    NoPin(PathBuf),
    /// The driver refuses.
    Os {
        /// The clock.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

impl fmt::Display for PulseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOutput { path, outputs: 0 } => write!(
                f,
                "{} has no output that can pulse (`parisync nic` shows those there are): leave \
                 `pulse_output` out",
                path.display()
            ),
            Self::NoOutput { path, outputs } => write!(
                f,
                "{} has outputs 0 to {} only: choose `pulse_output` among them",
                path.display(),
                outputs - 1
            ),
            Self::NoPin(path) => write!(
                f,
                "no pin of {} is free for pulses: give one the function in \
                 /sys/class/ptp/ptpN/pins",
                path.display()
            ),
            Self::Os { path, error } => {
                write!(f, "{} cannot be had to pulse: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for PulseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl PhcClock {
    /// Has output number `output` pulse at the beginning of each second of this clock, from the
    /// second after next on, and again after each step. It goes on when this process has ended.
    ///
    /// # Errors
    /// See [`PulseError`].
    pub fn pulse(&mut self, output: u32) -> Result<(), PulseError> {
        let phc = self.phc();
        let outputs = phc.abilities().periodic_outputs.max(0);
        if i64::from(output) >= i64::from(outputs) {
            return Err(PulseError::NoOutput {
                path: phc.path().to_owned(),
                outputs,
            });
        }
        lead_out(phc, output)?;
        self.begin_pulses(output)
            .map_err(|e| refused(self.phc(), e))?;
        self.pulses = Some(output);
        Ok(())
    }

    /// Outputs are told when to begin, not how often a clock is stepped.
    pub(super) fn begin_pulses(&self, output: u32) -> io::Result<()> {
        // SAFETY: integers, for which all-zero bytes are valid.
        let mut request: libc::ptp_perout_request = unsafe { zeroed() };
        request.index = output;
        request.period.sec = 1;
        request.anonymous_1.start = libc::ptp_clock_time {
            sec: self.now().div_euclid(1_000_000_000) + AHEAD,
            nsec: 0,
            reserved: 0,
        };
        ask(self.phc(), libc::PTP_PEROUT_REQUEST, &mut request)
    }
}

/// Gives a pin of the card the function, unless one has it, or outputs need none.
fn lead_out(phc: &Phc, output: u32) -> Result<(), PulseError> {
    let mut free = None;
    let pins = phc.abilities().pins.max(0).cast_unsigned();
    for index in 0..pins {
        let mut pin = pin(index);
        ask(phc, libc::PTP_PIN_GETFUNC, &mut pin).map_err(|e| refused(phc, e))?;
        match pin.func {
            PIN_PULSES if pin.chan == output => return Ok(()),
            PIN_FREE if free.is_none() => free = Some(index),
            _ => {}
        }
    }
    let Some(index) = free else {
        return match pins {
            0 => Ok(()),
            _ => Err(PulseError::NoPin(phc.path().to_owned())),
        };
    };
    let mut pin = pin(index);
    (pin.func, pin.chan) = (PIN_PULSES, output);
    ask(phc, libc::PTP_PIN_SETFUNC, &mut pin).map_err(|e| refused(phc, e))
}

fn pin(index: u32) -> libc::ptp_pin_desc {
    // SAFETY: integers and text, for which all-zero bytes are valid.
    let mut pin: libc::ptp_pin_desc = unsafe { zeroed() };
    pin.index = index;
    pin
}

fn refused(phc: &Phc, error: io::Error) -> PulseError {
    PulseError::Os {
        path: phc.path().to_owned(),
        error,
    }
}

/// What requests about pulses take: each writes and reads one of its own kind.
trait Argument {}
impl Argument for libc::ptp_perout_request {}
impl Argument for libc::ptp_pin_desc {}

fn ask<T: Argument>(phc: &Phc, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    let fd = phc.as_fd().as_raw_fd();
    // SAFETY: `argument` is live, and of the kind that the callers' requests read and write.
    sys::check(unsafe { libc::ioctl(fd, request, &raw mut *argument) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_there_is() {
        let no = |outputs| PulseError::NoOutput {
            path: "/dev/ptp0".into(),
            outputs,
        };
        assert!(no(0).to_string().contains("leave `pulse_output` out"));
        assert!(no(2).to_string().contains("outputs 0 to 1 only"));
        let pins = PulseError::NoPin("/dev/ptp0".into());
        assert!(pins.to_string().contains("/pins"));
    }
}

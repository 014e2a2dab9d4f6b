//! A pulse each second out of a card, or into the kernel (`Documentation/driver-api/ptp.rst`,
//! linux/ptp_clock.h).

use std::fmt;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

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
    /// It gives the kernel no pulse.
    NoPps(PathBuf),
    /// The kernel lets only who may set clocks have it.
    NotPermitted(PathBuf),
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
            Self::NoPps(path) => write!(
                f,
                "{} gives the kernel no pulse each second (`parisync nic` shows which card does): \
                 leave `pps` out",
                path.display()
            ),
            Self::NotPermitted(path) => write!(
                f,
                "not permitted to have {} give the kernel its pulses: start with CAP_SYS_TIME, or \
                 run `echo 1 > /sys/class/ptp/{}/pps_enable` as root and leave `pps` out",
                path.display(),
                path.file_name().unwrap_or(path.as_os_str()).display()
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

    /// Has the card hand the kernel a pulse at each second of this clock, for `/dev/ppsN`; returns
    /// that. It goes on when this process has ended. Needs `CAP_SYS_TIME`.
    ///
    /// # Errors
    /// See [`PulseError`].
    pub fn pulse_kernel(&self) -> Result<PathBuf, PulseError> {
        let phc = self.phc();
        let path = || phc.path().to_owned();
        if !phc.abilities().pps {
            return Err(PulseError::NoPps(path()));
        }
        let fd = phc.as_fd().as_raw_fd();
        let on: libc::c_int = 1;
        // SAFETY: the request takes an integer and no address.
        let asked = unsafe { libc::ioctl(fd, libc::PTP_ENABLE_PPS as _, on) };
        sys::check(asked).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => PulseError::NotPermitted(path()),
            // Some drivers say that they can, and cannot.
            Some(libc::EOPNOTSUPP) => PulseError::NoPps(path()),
            _ => refused(phc, error),
        })?;
        source_of(phc.path()).ok_or_else(|| {
            let gone = io::Error::new(io::ErrorKind::NotFound, "/sys/class/pps has none of it");
            refused(phc, gone)
        })
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

/// `/dev/ppsN` of a card, which the kernel names by the clock.
fn source_of(clock: &Path) -> Option<PathBuf> {
    let clock = clock.canonicalize().ok()?;
    let clock = clock.file_name()?.to_str()?.to_owned();
    let sources = std::fs::read_dir("/sys/class/pps").ok()?;
    let named = |path: &PathBuf| {
        std::fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == clock)
    };
    let found = sources.flatten().map(|entry| entry.path()).find(named)?;
    Some(Path::new("/dev").join(found.file_name()?))
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
        let none = PulseError::NoPps("/dev/ptp0".into());
        assert!(none.to_string().contains("leave `pps` out"));
        let refused = PulseError::NotPermitted("/dev/ptp3".into()).to_string();
        assert!(
            refused.contains("/sys/class/ptp/ptp3/pps_enable"),
            "{refused}"
        );
        let pins = PulseError::NoPin("/dev/ptp0".into());
        assert!(pins.to_string().contains("/pins"));
    }
}

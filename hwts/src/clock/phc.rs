//! The clock of a network card (a PTP hardware clock, `/dev/ptpN`), read against the system clock
//! and against the raw clock.
//!
//! Reading only: [`PhcClock`](super::PhcClock) steers it. `Documentation/driver-api/ptp.rst` and
//! `linux/ptp_clock.h` describe the requests.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::CrossRead;
use super::rise::Rise;
use crate::stamp::Domain;
use crate::sys;

/// Readings asked of the kernel at once, of which the narrowest is kept; and so many where packets
/// wait for it.
const SAMPLES: usize = 10;
const FEW_SAMPLES: usize = 5;
/// Attempts per cross-read of the raw and the system clock.
const BRACKET: usize = 3;

/// How a clock was read against the system clock, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PhcMethod {
    /// `PTP_SYS_OFFSET_PRECISE`: both clocks latched by hardware at one instant.
    Precise,
    /// `PTP_SYS_OFFSET_EXTENDED`: the system clock read right before and after the register.
    Extended,
    /// `PTP_SYS_OFFSET`: the system clock read before and after the driver's whole function.
    Plain,
}

impl fmt::Display for PhcMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Precise => "PTP_SYS_OFFSET_PRECISE",
            Self::Extended => "PTP_SYS_OFFSET_EXTENDED",
            Self::Plain => "PTP_SYS_OFFSET",
        })
    }
}

/// Why a hardware clock cannot be read, and what helps.
#[derive(Debug)]
pub enum PhcError {
    /// There is no such device.
    Missing(PathBuf),
    /// The device is there, but not for this process.
    NotPermitted(PathBuf),
    /// The file is no hardware clock.
    NotAClock(PathBuf),
    /// The clock answers none of the requests that compare it with the system clock.
    Unreadable(PathBuf),
    /// Any other refusal; cards that lost their link or their driver give it, too.
    Os {
        /// The device.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

impl PhcError {
    fn from_os(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => Self::Missing(path),
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted(path),
            Some(libc::ENOTTY | libc::EISDIR) => Self::NotAClock(path),
            _ => Self::Os { path, error },
        }
    }
}

impl fmt::Display for PhcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(
                f,
                "there is no hardware clock {}: `ls /dev/ptp*` shows those there are, `ethtool -T \
                 IFACE` which one a network card has",
                path.display()
            ),
            Self::NotPermitted(path) => write!(
                f,
                "no permission to read {}: run as root, or let a group of yours read it (a udev \
                 rule for SUBSYSTEM==\"ptp\")",
                path.display()
            ),
            Self::NotAClock(path) => write!(
                f,
                "{} is no PTP hardware clock: name a /dev/ptpN",
                path.display()
            ),
            Self::Unreadable(path) => write!(
                f,
                "the driver of {} cannot compare it with the system clock",
                path.display()
            ),
            Self::Os { path, error } => write!(
                f,
                "cannot read the hardware clock {}: {error}; some cards need their link up",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PhcError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A hardware clock, opened for reading.
#[derive(Debug)]
pub struct Phc {
    file: File,
    path: PathBuf,
    /// The best method not known to be missing.
    method: PhcMethod,
    /// `PTP_SYS_OFFSET_EXTENDED` compares with the raw clock, too (since Linux 6.12), as far as
    /// known.
    raw_clock: bool,
    abilities: PhcAbilities,
}

/// What a hardware clock can do besides being read (`PTP_CLOCK_GETCAPS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhcAbilities {
    /// The largest frequency it can be set to, as a fraction times 10⁹; 0: it cannot be steered.
    pub max_adjustment_ppb: i32,
    /// Inputs whose edges it stamps.
    pub external_stamps: i32,
    /// Outputs that it can have pulse.
    pub periodic_outputs: i32,
    /// It can hand a pulse each second to the kernel.
    pub pps: bool,
    /// Pins that can be given one of these functions.
    pub pins: i32,
    /// It and the system clock can be latched at one instant.
    pub precise: bool,
}

impl AsFd for Phc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Phc {
    /// Opens a device such as `/dev/ptp0`.
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PhcError> {
        let path = path.as_ref();
        Self::over(
            path,
            File::open(path).map_err(|e| PhcError::from_os(path, e))?,
        )
    }

    /// The same to be steered: needs permission to write.
    pub(super) fn open_to_steer(path: &Path) -> Result<Self, PhcError> {
        let file = File::options().read(true).write(true).open(path);
        Self::over(path, file.map_err(|e| PhcError::from_os(path, e))?)
    }

    fn over(path: &Path, file: File) -> Result<Self, PhcError> {
        // SAFETY: ptp_clock_caps is plain integers, for which all-zero bytes are valid.
        let mut capabilities: libc::ptp_clock_caps = unsafe { std::mem::zeroed() };
        // SAFETY: the request fills in one ptp_clock_caps.
        unsafe { ask(&file, libc::PTP_CLOCK_GETCAPS, &mut capabilities) }
            .map_err(|e| PhcError::from_os(path, e))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            method: PhcMethod::Precise,
            raw_clock: true,
            abilities: PhcAbilities {
                max_adjustment_ppb: capabilities.max_adj,
                external_stamps: capabilities.n_ext_ts,
                periodic_outputs: capabilities.n_per_out,
                pps: capabilities.pps != 0,
                pins: capabilities.n_pins,
                precise: capabilities.cross_timestamping != 0,
            },
        })
    }

    /// Opens `/dev/ptp` number `index`.
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn open_index(index: u32) -> Result<Self, PhcError> {
        Self::open(format!("/dev/ptp{index}"))
    }

    /// What it can do.
    pub const fn abilities(&self) -> &PhcAbilities {
        &self.abilities
    }

    /// The device.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it was read last; before the first [`cross_read`](Self::cross_read) the best there is.
    pub const fn method(&self) -> PhcMethod {
        self.method
    }

    /// Reads it together with `CLOCK_REALTIME`: `a` is the system clock, `b` this one. By the best
    /// method the driver has. The error of a [precise](PhcMethod::Precise) read is only that of its
    /// digits, since the kernel does not tell that of the hardware.
    ///
    /// # Errors
    /// See [`PhcError`].
    pub fn cross_read(&mut self) -> Result<CrossRead, PhcError> {
        self.by_best(|phc| match phc.method {
            PhcMethod::Precise => phc.precise(libc::CLOCK_REALTIME),
            PhcMethod::Extended => phc.extended(libc::CLOCK_REALTIME, SAMPLES),
            PhcMethod::Plain => phc.plain(),
        })
    }

    /// Reads it together with `CLOCK_MONOTONIC_RAW`: `a` is the raw clock, `b` this one. Where the
    /// driver compares it with the system clock only, that is bracketed by cross-reads of the
    /// system and the raw clock.
    ///
    /// # Errors
    /// See [`PhcError`]; [`PhcError::Os`] with `EAGAIN` if the system clock was stepped meanwhile.
    pub fn raw_read(&mut self) -> Result<CrossRead, PhcError> {
        if self.method == PhcMethod::Precise {
            // Falls back to the next method for good if there is none.
            match self.precise(libc::CLOCK_MONOTONIC_RAW) {
                Err(e) if is_missing(&e) => self.method = PhcMethod::Extended,
                read => return read.map_err(|e| PhcError::from_os(&self.path, e)),
            }
        }
        if self.method == PhcMethod::Extended && self.raw_clock {
            match self.extended(libc::CLOCK_MONOTONIC_RAW, FEW_SAMPLES) {
                Err(e) if is_missing(&e) => self.raw_clock = false,
                read => return read.map_err(|e| PhcError::from_os(&self.path, e)),
            }
        }
        let take = || CrossRead::take(Domain::MonotonicRaw, Domain::Realtime, BRACKET);
        let before = take();
        let read = self.cross_read()?;
        bridged(before, read, take()).ok_or_else(|| {
            PhcError::from_os(&self.path, io::Error::from_raw_os_error(libc::EAGAIN))
        })
    }

    fn by_best(
        &mut self,
        mut take: impl FnMut(&Self) -> io::Result<CrossRead>,
    ) -> Result<CrossRead, PhcError> {
        loop {
            let read = take(self);
            match read {
                Ok(read) => return Ok(read),
                Err(error) => {
                    self.method = match self.method {
                        _ if !is_missing(&error) => {
                            return Err(PhcError::from_os(&self.path, error));
                        }
                        PhcMethod::Precise => PhcMethod::Extended,
                        PhcMethod::Extended => PhcMethod::Plain,
                        PhcMethod::Plain => return Err(PhcError::Unreadable(self.path.clone())),
                    };
                }
            }
        }
    }

    fn precise(&self, against: libc::clockid_t) -> io::Result<CrossRead> {
        // SAFETY: plain integers, for which all-zero bytes are valid.
        let mut both: libc::ptp_sys_offset_precise = unsafe { std::mem::zeroed() };
        // SAFETY: the request fills in one ptp_sys_offset_precise.
        unsafe { ask(&self.file, libc::PTP_SYS_OFFSET_PRECISE, &mut both) }?;
        let system = match against {
            libc::CLOCK_MONOTONIC_RAW => nanos(&both.sys_monoraw),
            _ => nanos(&both.sys_realtime),
        };
        narrowest([(system, nanos(&both.device), system)]).ok_or_else(nonsense)
    }

    fn extended(&self, against: libc::clockid_t, samples: usize) -> io::Result<CrossRead> {
        // SAFETY: plain integers, for which all-zero bytes are valid.
        let mut reads: libc::ptp_sys_offset_extended = unsafe { std::mem::zeroed() };
        // Older kernels have a reserved word there, which is 0 for CLOCK_REALTIME as well.
        reads.clockid = against;
        reads.n_samples = samples as libc::c_uint;
        // SAFETY: the request reads and fills in one ptp_sys_offset_extended.
        unsafe { ask(&self.file, libc::PTP_SYS_OFFSET_EXTENDED, &mut reads) }?;
        let triples = reads.ts.iter().take(samples);
        narrowest(
            triples.map(|[before, device, after]| (nanos(before), nanos(device), nanos(after))),
        )
        .ok_or_else(nonsense)
    }

    fn plain(&self) -> io::Result<CrossRead> {
        // SAFETY: plain integers, for which all-zero bytes are valid.
        let mut reads: libc::ptp_sys_offset = unsafe { std::mem::zeroed() };
        reads.n_samples = SAMPLES as libc::c_uint;
        // SAFETY: the request reads and fills in one ptp_sys_offset.
        unsafe { ask(&self.file, libc::PTP_SYS_OFFSET, &mut reads) }?;
        // System and device take turns; the system clock is the first and the last.
        let turns: Vec<i64> = reads.ts.iter().take(2 * SAMPLES + 1).map(nanos).collect();
        narrowest(turns.windows(3).step_by(2).map(|w| (w[0], w[1], w[2]))).ok_or_else(nonsense)
    }
}

/// The raw instant of a reading against the system clock that was taken between two cross-reads of
/// the raw (`a`) and the system clock (`b`). None if the system clock did not rise evenly.
fn bridged(before: CrossRead, read: CrossRead, after: CrossRead) -> Option<CrossRead> {
    let rise = Rise::between(before, after);
    if rise.jumped(None) || !(before.b..=after.b).contains(&read.a) {
        return None;
    }
    let into = (read.a - before.b) as f64 * rise.raw / rise.clock;
    // The system clock may have changed its rate on the way, by no more than a kernel can.
    let bend = into.min(rise.raw - into).max(0.0) * 1e-3;
    Some(CrossRead {
        a: before.a + into.round() as i64,
        b: read.b,
        error: read.error + before.error.max(after.error) + bend.ceil() as i64 + 1,
    })
}

/// Whether the driver or the kernel lacks a request, rather than failing at it.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EINVAL | libc::ENOSYS)
    )
}

/// # Safety
/// `argument` must be of the type that `request` reads and writes.
unsafe fn ask<T>(file: &File, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: the descriptor is open, and `argument` is live and what the request wants.
    sys::check(unsafe { libc::ioctl(file.as_raw_fd(), request, &raw mut *argument) }).map(drop)
}

fn nonsense() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the driver's readings contradict each other",
    )
}

fn nanos(t: &libc::ptp_clock_time) -> i64 {
    t.sec
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(t.nsec))
}

/// The cross-read of the least width among (system before, device, system after). A system clock
/// that went back between the two was stepped; such a triple says nothing.
fn narrowest(triples: impl IntoIterator<Item = (i64, i64, i64)>) -> Option<CrossRead> {
    triples
        .into_iter()
        .filter_map(|(before, device, after)| {
            let width = after.checked_sub(before).filter(|width| *width >= 0)?;
            Some(CrossRead {
                a: before + width / 2,
                b: device,
                // One more for the readings themselves, which are cut to whole nanoseconds.
                error: width / 2 + 1,
            })
        })
        .min_by_key(|read| read.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_named() {
        let error = Phc::open("/dev/ptp_that_is_not_there").unwrap_err();
        assert!(matches!(error, PhcError::Missing(_)));
        let text = error.to_string();
        assert!(text.contains("/dev/ptp_that_is_not_there") && text.contains("ethtool -T"));
    }

    #[test]
    fn other_files_are_no_clocks() {
        for path in ["/dev/null", "/proc/self/status", "/"] {
            let error = Phc::open(path).unwrap_err();
            assert!(matches!(error, PhcError::NotAClock(_)), "{path}: {error:?}");
        }
    }

    #[test]
    fn refusals_say_what_helps() {
        let from =
            |errno| PhcError::from_os(Path::new("/dev/ptp0"), io::Error::from_raw_os_error(errno));
        assert!(matches!(from(libc::EACCES), PhcError::NotPermitted(_)));
        assert!(matches!(from(libc::ENODEV), PhcError::Missing(_)));
        assert!(matches!(from(libc::EIO), PhcError::Os { .. }));
        assert!(from(libc::EIO).to_string().contains("link up"));
    }

    #[test]
    fn the_narrowest_read_wins_and_a_stepped_clock_is_left_out() {
        // Middle of 1000 and 1040, half of 40 and one for the digits.
        let reads = [
            (100, 5_000, 300),
            (1_000, 5_900, 1_040),
            (2_000, 6_900, 1_999),
        ];
        let best = CrossRead {
            a: 1_020,
            b: 5_900,
            error: 21,
        };
        assert_eq!(narrowest(reads), Some(best));
        assert_eq!(narrowest([reads[2]]), None);
        assert_eq!(narrowest([(i64::MIN, 0, i64::MAX)]), None);
    }

    #[test]
    fn readings_against_the_system_clock_are_brought_to_the_raw_clock() {
        let cross = |a, b| CrossRead { a, b, error: 20 };
        // The system clock runs 100 ppm fast; the card was read in the middle.
        let (before, after) = (cross(0, 1_000_000), cross(20_000, 1_020_002));
        let got = bridged(before, cross(1_010_001, 77), after).unwrap();
        assert_eq!((got.a, got.b), (10_000, 77));
        assert!((41..60).contains(&got.error), "{got:?}");
        assert_eq!(bridged(before, cross(1_020_003, 77), after), None);
        let stepped = cross(20_000, 5_000_000);
        assert_eq!(bridged(before, cross(1_010_001, 77), stepped), None);
    }

    #[test]
    fn times_before_the_epoch_and_beyond_the_range_are_taken_as_they_come() {
        let time = |sec, nsec| libc::ptp_clock_time {
            sec,
            nsec,
            reserved: 0,
        };
        assert_eq!(nanos(&time(37, 5)), 37_000_000_005);
        assert_eq!(nanos(&time(-1, 999_999_999)), -1);
        assert_eq!(nanos(&time(i64::MAX, 1)), i64::MAX);
    }
}

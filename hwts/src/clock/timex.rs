//! What to tell the kernel: pure functions from requests to `struct timex`, and back.
//!
//! Kept apart from the calls so that they can be tested on machines whose clock must not change.

use std::mem::MaybeUninit;

use super::{Leap, Steering, SyncStatus};

/// Nominal tick, µs: the kernel's `TICK_USEC` with `USER_HZ` = 100.
const NOMINAL_TICK: i64 = 10_000;
/// One microsecond of tick is 100 ppm.
const PPM_PER_TICK: f64 = 100.0;
/// Frequency is in 2⁻¹⁶ ppm, and beyond ±500 ppm the kernel cuts it silently.
const FREQUENCY_ONE_PPM: f64 = 65_536.0;
const MAX_FREQUENCY_PPM: f64 = 500.0;
/// At this error the kernel takes the clock for unsynchronized, µs (`NTP_PHASE_LIMIT`).
const MAX_ERROR_LIMIT: i64 = 16_000_000;

/// Tick 9000 to 11 000 µs.
pub(super) const MAX_RATE: f64 = 0.1;

/// A `timex` that asks for nothing.
pub(super) fn empty() -> libc::timex {
    // SAFETY: timex is plain integers, for which all-zero bytes are valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Tick and frequency in one call. Small rates leave the tick alone.
pub(super) fn rate(rate: f64) -> libc::timex {
    let ppm = rate.clamp(-MAX_RATE, MAX_RATE) * 1e6;
    let ticks = if ppm.abs() <= MAX_FREQUENCY_PPM {
        0.0
    } else {
        (ppm / PPM_PER_TICK).round()
    };
    let rest = ppm - ticks * PPM_PER_TICK;
    let mut tx = empty();
    tx.modes = libc::ADJ_TICK | libc::ADJ_FREQUENCY;
    tx.tick = (NOMINAL_TICK + ticks as i64) as _;
    tx.freq = (rest * FREQUENCY_ONE_PPM).round() as _;
    tx
}

/// The rate, as a fraction, of a tick and a frequency.
pub(super) fn applied_rate(tx: &libc::timex) -> f64 {
    let ticks = (i64::from(tx.tick) - NOMINAL_TICK) as f64;
    (ticks * PPM_PER_TICK + tx.freq as f64 / FREQUENCY_ONE_PPM) * 1e-6
}

/// A relative step. The kernel wants seconds and 0 ≤ nanoseconds < 10⁹, whatever the sign.
pub(super) fn step(nanos: i64) -> libc::timex {
    let mut tx = empty();
    tx.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    tx.time.tv_sec = nanos.div_euclid(1_000_000_000) as _;
    tx.time.tv_usec = nanos.rem_euclid(1_000_000_000) as _;
    tx
}

/// Errors, status bits and TAI offset. The kernel's own loops stay off.
pub(super) fn publish(status: &SyncStatus) -> libc::timex {
    let mut tx = empty();
    tx.modes = libc::ADJ_MAXERROR | libc::ADJ_ESTERROR | libc::ADJ_STATUS;
    tx.maxerror = micros_up(status.max_error) as _;
    tx.esterror = micros_up(status.estimated_error) as _;
    if !status.synchronized {
        tx.status |= libc::STA_UNSYNC;
    }
    tx.status |= match status.leap {
        Leap::None => 0,
        Leap::Insert => libc::STA_INS,
        Leap::Delete => libc::STA_DEL,
    };
    if let Some(tai) = status.tai_offset {
        tx.modes |= libc::ADJ_TAI;
        tx.constant = tai as _;
    }
    tx
}

/// Whole microseconds, never less than the nanoseconds say.
fn micros_up(nanos: i64) -> i64 {
    let nanos = nanos.max(0);
    (nanos / 1_000 + i64::from(nanos % 1_000 != 0)).min(MAX_ERROR_LIMIT)
}

/// The calls that take a clock over from whoever steered it last, in this order: drop the phase
/// that the kernel's loop still works off (possible only while the loop is on), turn the loop off,
/// end an `adjtime(3)` slew.
pub(super) fn take_over(current: &libc::timex) -> [libc::timex; 3] {
    let loops =
        libc::STA_PLL | libc::STA_FLL | libc::STA_PPSFREQ | libc::STA_PPSTIME | libc::STA_FREQHOLD;
    let keep = current.status & (libc::STA_UNSYNC | libc::STA_INS | libc::STA_DEL) & !loops;
    let mut drop_offset = empty();
    drop_offset.modes = libc::ADJ_OFFSET | libc::ADJ_STATUS;
    drop_offset.status = keep | libc::STA_PLL;
    let mut loop_off = empty();
    loop_off.modes = libc::ADJ_STATUS;
    loop_off.status = keep;
    let mut end_slew = empty();
    end_slew.modes = libc::ADJ_OFFSET_SINGLESHOT;
    [drop_offset, loop_off, end_slew]
}

/// What the kernel says, in our terms.
pub(super) fn read(tx: &libc::timex) -> Steering {
    let nano = tx.status & libc::STA_NANO != 0;
    let loops = libc::STA_PLL | libc::STA_FLL | libc::STA_PPSFREQ | libc::STA_PPSTIME;
    let offset = i64::from(tx.offset);
    Steering {
        rate: applied_rate(tx),
        tick: tx.tick.into(),
        frequency: tx.freq.into(),
        pending_offset: if nano { offset } else { offset * 1_000 },
        kernel_loop: tx.status & loops != 0,
        status: SyncStatus {
            synchronized: tx.status & libc::STA_UNSYNC == 0,
            estimated_error: i64::from(tx.esterror).saturating_mul(1_000),
            max_error: i64::from(tx.maxerror).saturating_mul(1_000),
            tai_offset: Some(tx.tai),
            leap: match tx.status & (libc::STA_INS | libc::STA_DEL) {
                libc::STA_INS => Leap::Insert,
                libc::STA_DEL => Leap::Delete,
                _ => Leap::None,
            },
        },
        status_bits: tx.status,
    }
}

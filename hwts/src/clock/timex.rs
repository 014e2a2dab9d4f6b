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

/// A tick that every kernel refuses. It looks at the caller's privilege first
/// (`timekeeping_validate_timex`), so which error comes back tells whether others would pass.
pub(super) fn impossible() -> libc::timex {
    let mut tx = empty();
    tx.modes = libc::ADJ_TICK;
    tx
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
    let ticks = (tx.tick - NOMINAL_TICK) as f64;
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
    let offset = tx.offset;
    Steering {
        rate: applied_rate(tx),
        tick: tx.tick,
        frequency: tx.freq,
        pending_offset: if nano { offset } else { offset * 1_000 },
        kernel_loop: tx.status & loops != 0,
        status: SyncStatus {
            synchronized: tx.status & libc::STA_UNSYNC == 0,
            estimated_error: tx.esterror.saturating_mul(1_000),
            max_error: tx.maxerror.saturating_mul(1_000),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_no_kernel_grants_asks_for_nothing_else() {
        let tx = impossible();
        assert_eq!(tx.modes, libc::ADJ_TICK);
        assert!(tx.tick < NOMINAL_TICK * 9 / 10);
    }

    #[test]
    fn small_rates_leave_the_tick_alone() {
        for (ppm, freq) in [
            (0.0, 0),
            (1.0, 65_536),
            (-37.5, -2_457_600),
            (500.0, 32_768_000),
            (-500.0, -32_768_000),
        ] {
            let tx = rate(ppm * 1e-6);
            assert_eq!(tx.modes, libc::ADJ_TICK | libc::ADJ_FREQUENCY);
            assert_eq!((tx.tick, tx.freq), (10_000, freq), "{ppm} ppm");
        }
    }

    #[test]
    fn large_rates_go_to_the_tick_and_the_rest_to_the_frequency() {
        let tx = rate(501e-6);
        assert_eq!((tx.tick, tx.freq), (10_005, 65_536));
        let tx = rate(-83_333e-6);
        assert_eq!((tx.tick, tx.freq), (9_167, -33 * 65_536));
        assert_eq!(rate(1.0).tick, 11_000);
        assert_eq!(rate(-1.0).tick, 9_000);
    }

    #[test]
    fn a_step_back_borrows_a_second() {
        for (nanos, secs, rest) in [
            (1_500_000_000, 1, 500_000_000),
            (-1, -1, 999_999_999),
            (-1_500_000_000, -2, 500_000_000),
            (-2_000_000_000, -2, 0),
            (i64::MIN, -9_223_372_037, 145_224_192),
        ] {
            let tx = step(nanos);
            assert_eq!(tx.modes, libc::ADJ_SETOFFSET | libc::ADJ_NANO);
            assert_eq!((tx.time.tv_sec, tx.time.tv_usec), (secs, rest), "{nanos}");
        }
    }

    #[test]
    fn the_status_says_what_is_true_and_keeps_the_kernels_loops_off() {
        let good = SyncStatus {
            synchronized: true,
            estimated_error: 1,
            max_error: 2_001,
            tai_offset: Some(37),
            leap: Leap::Delete,
        };
        let tx = publish(&good);
        assert_eq!(tx.status, libc::STA_DEL);
        assert_eq!((tx.esterror, tx.maxerror), (1, 3));
        assert_eq!((tx.modes & libc::ADJ_TAI, tx.constant), (libc::ADJ_TAI, 37));

        let bad = SyncStatus {
            max_error: i64::MAX,
            leap: Leap::Insert,
            ..SyncStatus::default()
        };
        let tx = publish(&bad);
        assert_eq!(tx.status, libc::STA_UNSYNC | libc::STA_INS);
        assert_eq!(tx.maxerror, MAX_ERROR_LIMIT);
        assert_eq!(tx.modes & (libc::ADJ_TAI | libc::ADJ_OFFSET), 0);
    }

    #[test]
    fn taking_over_ends_with_every_loop_off() {
        let mut current = empty();
        current.status = libc::STA_PLL | libc::STA_FREQHOLD | libc::STA_INS | libc::STA_NANO;
        let [drop_offset, loop_off, end_slew] = take_over(&current);
        assert_eq!(drop_offset.modes, libc::ADJ_OFFSET | libc::ADJ_STATUS);
        assert_eq!(drop_offset.status, libc::STA_PLL | libc::STA_INS);
        assert_eq!(drop_offset.offset, 0);
        assert_eq!(
            (loop_off.modes, loop_off.status),
            (libc::ADJ_STATUS, libc::STA_INS)
        );
        assert_eq!(
            (end_slew.modes, end_slew.offset),
            (libc::ADJ_OFFSET_SINGLESHOT, 0)
        );
    }

    #[test]
    fn the_kernels_answer_is_read_in_its_units() {
        let mut tx = empty();
        tx.tick = 10_001;
        tx.freq = -65_536;
        tx.offset = 250;
        tx.esterror = 7;
        tx.maxerror = 16_000_000;
        tx.tai = 37;
        tx.status = libc::STA_PLL | libc::STA_UNSYNC | libc::STA_INS;
        let state = read(&tx);
        assert!((state.rate - 99e-6).abs() < 1e-15);
        assert!(state.kernel_loop && !state.status.synchronized);
        assert_eq!(state.pending_offset, 250_000);
        assert_eq!(state.status.max_error, 16_000_000_000);
        assert_eq!(state.status.leap, Leap::Insert);
        tx.status |= libc::STA_NANO;
        assert_eq!(read(&tx).pending_offset, 250);
    }

    proptest! {
        #[test]
        fn any_rate_is_applied_to_the_last_bit(want in -0.1_f64..0.1) {
            let tx = rate(want);
            prop_assert!((9_000..=11_000).contains(&tx.tick));
            prop_assert!(tx.freq.abs() <= 500 << 16);
            prop_assert!((applied_rate(&tx) - want).abs() <= 0.5e-6 / 65_536.0 + 1e-16);
        }

        #[test]
        fn any_step_is_normalised(nanos: i64) {
            let tx = step(nanos);
            prop_assert!((0..1_000_000_000).contains(&tx.time.tv_usec));
            let back = i128::from(tx.time.tv_sec) * 1_000_000_000 + i128::from(tx.time.tv_usec);
            prop_assert_eq!(back, i128::from(nanos));
        }
    }
}

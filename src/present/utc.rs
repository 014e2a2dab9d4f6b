//! UTC as people read it (RFC 3339).

use crate::discipline::tai_minus_utc;
use crate::time::VirtualTime;

const DAY: i64 = 86_400 * 1_000_000_000;

/// Nanoseconds since 1970-01-01 UTC, without leap seconds.
pub fn unix_nanos(at: VirtualTime) -> i64 {
    (at - tai_minus_utc()).as_nanos()
}

/// The virtual clock's time as `2026-11-22T15:43:00.123456789Z`.
pub fn rfc3339(at: VirtualTime) -> String {
    rfc3339_of_unix(unix_nanos(at))
}

/// The same for nanoseconds since 1970-01-01 UTC.
pub fn rfc3339_of_unix(nanos: i64) -> String {
    let (day, rest) = (nanos.div_euclid(DAY), nanos.rem_euclid(DAY));
    let (year, month, day) = civil(day);
    let (seconds, fraction) = (rest / 1_000_000_000, rest % 1_000_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// Year, month and day of the `days`-th day after 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin in March have their leap day at the end; 400 of them are 146,097 days, and
    // 0000-03-01 is 719,468 days before 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, months repeat 31, 30, 31, 30, 31: 153 days in five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(unix_seconds: i64, nanos: i64) -> String {
        let tai = (unix_seconds + 37) * 1_000_000_000 + nanos;
        rfc3339(VirtualTime::from_nanos(tai))
    }

    #[test]
    fn known_instants() {
        // `date -u -d @…` agrees with each.
        assert_eq!(utc(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(utc(951_782_399, 5), "2000-02-28T23:59:59.000000005Z");
        assert_eq!(utc(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(utc(1_709_251_199, 0), "2024-02-29T23:59:59.000000000Z");
        assert_eq!(utc(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(utc(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn days_follow_each_other() {
        let mut last = civil(-800_000);
        for day in -799_999..800_000 {
            let next = civil(day);
            assert!(next > last && (1..=12).contains(&next.1) && (1..=31).contains(&next.2));
            last = next;
        }
    }

    #[test]
    fn the_ends_of_the_scale_do_not_panic() {
        for end in [i64::MIN, i64::MAX] {
            assert!(rfc3339(VirtualTime::from_nanos(end)).ends_with('Z'));
        }
    }
}

//! What the guests wrote down, brought onto one time: that of the processor's counter.

use crate::compare::measure::{Cost, LogError, Offsets};

/// The counter and the host's `CLOCK_MONOTONIC` at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// The processor's counter.
    pub(super) counter: u64,
    /// The clock, ns.
    pub(super) nanos: i64,
}

/// One line of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    counter: u64,
    realtime_ns: i64,
    packets: u64,
    ticks: u64,
    peak_kib: u64,
}

/// What one guest said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Log {
    samples: Vec<Sample>,
    /// How the daemon ended, if it did.
    pub(super) ended: Option<i32>,
}

/// Clock ticks of a guest in a second.
const TICKS: f64 = 100.0;
/// From one row to the next, s.
const INTERVAL: f64 = 1.0;

impl Reading {
    /// Reads what `guest clock` prints.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (counter, nanos) = text.trim().split_once(' ')?;
        Some(Self {
            counter: counter.parse().ok()?,
            nanos: nanos.parse().ok()?,
        })
    }
}

impl Log {
    /// Reads what `guest run` wrote among the kernel's messages.
    pub(super) fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let mut words = line.strip_prefix("@ ")?.split_whitespace();
            Some(Sample {
                counter: words.next()?.parse().ok()?,
                realtime_ns: words.next()?.parse().ok()?,
                packets: words.next()?.parse().ok()?,
                ticks: words.next()?.parse().ok()?,
                peak_kib: words.next()?.parse().ok()?,
            })
        };
        let status = |line: &str| line.strip_prefix("! ")?.trim().parse().ok();
        Self {
            samples: text.lines().filter_map(sample).collect(),
            ended: text.lines().find_map(status),
        }
    }
}

/// True offsets of all guests once a second, the packets they sent while judged and what it cost;
/// `from` and `to` are readings of the host before and after.
pub(super) fn truth(
    logs: &[Log],
    from: Reading,
    to: Reading,
) -> Result<(Offsets, u64, Cost), LogError> {
    let pace = (to.nanos - from.nanos) as f64 / to.counter.wrapping_sub(from.counter) as f64;
    let seconds = |sample: &Sample| 1e-9 * pace * sample.counter.wrapping_sub(from.counter) as f64;
    let tracks: Vec<Vec<(f64, &Sample)>> = logs
        .iter()
        .map(|log| {
            log.samples
                .iter()
                .map(|sample| (seconds(sample), sample))
                .collect()
        })
        .collect();
    let short = LogError::Short { rows: 0 };
    let edge = |of: fn(&Vec<(f64, &Sample)>) -> Option<f64>| -> Option<Vec<f64>> {
        tracks.iter().map(of).collect()
    };
    let first = edge(|track| track.first().map(|(at, _)| *at)).ok_or(short.clone())?;
    let last = edge(|track| track.last().map(|(at, _)| *at)).ok_or(short.clone())?;
    let begin = first.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let end = last.into_iter().fold(f64::INFINITY, f64::min);
    let rows = ((end - begin) / INTERVAL).floor();
    if rows < 3.0 {
        return Err(LogError::Short {
            rows: rows.max(0.0) as usize,
        });
    }
    // Times since 1970 are too long for a float; what is common to all guests does not matter.
    let origin = tracks[0][0].1.realtime_ns - (1e9 * tracks[0][0].0).round() as i64;
    let error =
        |(at, sample): &(f64, &Sample)| 1e-9 * ((sample.realtime_ns - origin) as f64 - 1e9 * at);
    let offsets = Offsets {
        interval_s: INTERVAL,
        rows: (0..rows as usize)
            .map(|row| {
                let at = begin + row as f64 * INTERVAL;
                let tracks = tracks.iter();
                tracks.map(|track| between(track, at, error)).collect()
            })
            .collect(),
    };
    let from_s = begin + offsets.judged_from_s();
    let counted = |count: fn(&Sample) -> u64| -> u64 {
        let grown = tracks.iter().map(|track| {
            let at = |limit: f64| {
                let until = track.partition_point(|(at, _)| *at <= limit);
                track[..until].last().map_or(0, |(_, sample)| count(sample))
            };
            at(end).saturating_sub(at(from_s))
        });
        grown.sum()
    };
    let ticks = counted(|sample| sample.ticks) as f64;
    let peaks = logs.iter().flat_map(|log| &log.samples).map(|s| s.peak_kib);
    let cost = Cost {
        cpu_us_per_s: 1e6 * ticks / TICKS / (end - from_s) / logs.len() as f64,
        peak_kib: peaks.max().unwrap_or_default(),
    };
    Ok((offsets, counted(|sample| sample.packets), cost))
}

/// The error at an instant, linear between the samples around it.
fn between<'a>(
    track: &[(f64, &'a Sample)],
    at: f64,
    error: impl Fn(&(f64, &'a Sample)) -> f64,
) -> f64 {
    let after = track.partition_point(|(time, _)| *time <= at);
    match (
        after.checked_sub(1).map(|before| &track[before]),
        track.get(after),
    ) {
        (Some(before), Some(after)) => {
            let part = (at - before.0) / (after.0 - before.0);
            error(before) + part * (error(after) - error(before))
        }
        (Some(only), None) | (None, Some(only)) => error(only),
        (None, None) => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest whose samples come `late` s after the full second, whose clock is `offset` s ahead
    /// and gains `rate` s/s; the counter goes two to a nanosecond and began at 1000.
    fn log(late: f64, offset: f64, rate: f64) -> Log {
        let lines = (0..10).map(|second| {
            let at = f64::from(second) + late;
            let counter = 1000 + (2e9 * at).round() as u64;
            let clock =
                1_700_000_000_000_000_000 + (1e9 * (at + offset + rate * at)).round() as i64;
            format!("@ {counter} {clock} {} {second} 5000\n", 2 * second)
        });
        let noise = "reboot: System halted\n@ broken\n".to_owned();
        Log::parse(&lines.chain([noise]).collect::<String>())
    }

    const FROM: Reading = Reading {
        counter: 1000,
        nanos: 7_000_000_000,
    };
    const TO: Reading = Reading {
        counter: 20_000_001_000,
        nanos: 17_000_000_000,
    };

    #[test]
    fn offsets_are_brought_onto_the_same_instants() {
        let logs = [log(0.25, 0.0, 0.0), log(0.75, 0.5, 1e-3)];
        let (offsets, packets, cost) = truth(&logs, FROM, TO).unwrap();
        // From the later first sample, 0.75 s, to the earlier last one, 9.25 s.
        assert_eq!(offsets.rows.len(), 8);
        for (row, errors) in offsets.rows.iter().enumerate() {
            let expected = 0.5 + 1e-3 * (row as f64 + 0.75);
            assert!(errors[0].abs() < 1e-8, "{errors:?}");
            assert!((errors[1] - expected).abs() < 1e-8, "{errors:?}");
        }
        // Judged from 2.75 s: samples 2 to 9 of the first, 2 to 8 of the second.
        assert_eq!(packets, 14 + 12);
        assert_eq!(cost.peak_kib, 5000);
        // Seven and six ticks of 10 ms in 6.5 s, two guests.
        assert!(
            (cost.cpu_us_per_s - 130_000.0 / 13.0).abs() < 1.0,
            "{cost:?}"
        );
    }

    #[test]
    fn a_guest_that_said_nothing_or_ended_is_noticed() {
        let logs = [log(0.0, 0.0, 0.0), Log::default()];
        assert!(truth(&logs, FROM, TO).is_err());
        assert_eq!(Log::parse("@ 1 2 3 4 5\n! 768\n").ended, Some(768));
        assert_eq!(log(0.0, 0.0, 0.0).ended, None);
    }

    #[test]
    fn readings_are_two_numbers() {
        assert_eq!(Reading::parse("1000 7000000000\n"), Some(FROM));
        assert_eq!(Reading::parse("1000"), None);
    }
}

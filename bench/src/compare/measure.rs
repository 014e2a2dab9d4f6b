//! From true offsets to figures: rms, the worst pair, the time to settle, the packets spent.

use serde::Serialize;

use crate::stats;

/// Clocks that stay within this of each other have settled, s.
pub const SETTLED_S: f64 = 10e-6;

/// The offsets of all clocks at regular instants.
#[derive(Debug, Clone, PartialEq)]
pub struct Offsets {
    /// From one row to the next, s.
    pub interval_s: f64,
    /// Each clock's offset at one instant, s, from any time common to them; infinite if unknown.
    pub rows: Vec<Vec<f64>>,
}

/// What one run came to. All times but the first third are judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Root mean square of the deviation of each clock from the mean of all, ns.
    pub rms_ns: f64,
    /// The same of the deviation of all others from host 1, which star systems follow, ns.
    pub reference_rms_ns: f64,
    /// The largest offset minus the smallest at one instant: its median, ns.
    pub worst_p50_ns: f64,
    /// Its 99th percentile, ns.
    pub worst_p99_ns: f64,
    /// Its maximum, ns.
    pub worst_max_ns: f64,
    /// After when the worst pair stayed below 10 µs, s from the start; none if it did not.
    pub settled_s: Option<f64>,
    /// Packets that a host sent in a second, on average over the hosts; none if nobody counted.
    pub packets_per_s: Option<f64>,
    /// What the daemons cost.
    pub cost: Cost,
}

/// What a host's daemon cost on average, the simulator's library within it included.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Cost {
    /// Processor time for a second of the clocks compared, µs.
    pub cpu_us_per_s: f64,
    /// The most memory that was resident in any of them, KiB.
    pub peak_kib: u64,
}

/// Why there are no figures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The log of offsets is no table of numbers.
    #[error("line {line} of the log of {what} is not as expected: {text:?}")]
    Line {
        /// Which log.
        what: &'static str,
        /// Which line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// The log of offsets is too short.
    #[error("the log of offsets has only {rows} rows")]
    Short {
        /// That many.
        rows: usize,
    },
}

impl Offsets {
    /// Reads clknetsim's log of offsets: a row each interval, a column each node, in seconds.
    pub fn parse(text: &str, hosts: usize, interval_s: f64) -> Result<Self, LogError> {
        let rows = text.lines().enumerate().map(|(index, line)| {
            let row: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
            row.ok()
                .filter(|row| row.len() == hosts)
                .ok_or_else(|| LogError::Line {
                    what: "offsets",
                    line: index + 1,
                    text: line.to_owned(),
                })
        });
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        match rows.len() {
            few @ 0..3 => Err(LogError::Short { rows: few }),
            _ => Ok(Self { interval_s, rows }),
        }
    }

    /// The rows that are judged: those after the first third.
    fn judged(&self) -> &[Vec<f64>] {
        &self.rows[self.rows.len() / 3..]
    }

    /// The deviation of each clock from the mean of all over time, s, where all are known.
    pub fn errors(&self) -> impl Iterator<Item = (f64, impl Iterator<Item = f64>)> {
        let known = |(_, row): &(usize, &Vec<f64>)| row.iter().all(|x| x.is_finite());
        let rows = self.rows.iter().enumerate().filter(known);
        rows.map(|(index, row)| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let errors = row.iter().map(move |x| x - mean);
            (index as f64 * self.interval_s, errors)
        })
    }

    /// The largest offset minus the smallest at each instant that is judged, s.
    pub fn worst_pairs(&self) -> impl Iterator<Item = f64> {
        self.judged().iter().map(|row| spread(row))
    }

    /// The instant from which on rows are judged, s from the start.
    pub fn judged_from_s(&self) -> f64 {
        (self.rows.len() / 3) as f64 * self.interval_s
    }

    /// A clock of which nothing is known at a time that is judged.
    pub fn silent(&self) -> Option<usize> {
        let first = |row: &Vec<f64>| row.iter().position(|offset| !offset.is_finite());
        self.judged().iter().find_map(first)
    }

    /// How long all of it takes, s.
    pub fn length_s(&self) -> f64 {
        self.rows.len() as f64 * self.interval_s
    }

    /// The figures; `packets` are those sent by all hosts while it was judged.
    pub fn figures(&self, packets: Option<u64>, cost: Cost) -> Figures {
        let worst: Vec<f64> = self.rows.iter().map(|row| spread(row)).collect();
        let mut judged: Vec<f64> = self.worst_pairs().collect();
        stats::sort(&mut judged);
        // There are rows enough that one of them is judged.
        let worst_at = |q| 1e9 * stats::quantile(&judged, q).unwrap_or(f64::NAN);
        let from_s = self.judged_from_s();
        let errors = self.errors().filter(|(time_s, _)| *time_s >= from_s);
        let (mut square, mut from_first, mut count) = (0.0, 0.0, 0_usize);
        for (_, errors) in errors {
            let errors: Vec<f64> = errors.collect();
            square += errors.iter().map(|x| x.powi(2)).sum::<f64>();
            from_first += errors.iter().map(|x| (x - errors[0]).powi(2)).sum::<f64>();
            count += errors.len();
        }
        let hosts = self.rows[0].len();
        let others = count / hosts * (hosts - 1);
        let settled = worst.iter().rposition(|w| *w >= SETTLED_S);
        let settled = settled.map_or(0, |last| last + 1);
        let seconds = self.length_s() - self.judged_from_s();
        Figures {
            rms_ns: 1e9 * (square / count as f64).sqrt(),
            reference_rms_ns: 1e9 * (from_first / others as f64).sqrt(),
            worst_p50_ns: worst_at(0.5),
            worst_p99_ns: worst_at(0.99),
            worst_max_ns: worst_at(1.0),
            settled_s: (settled < worst.len()).then_some(settled as f64 * self.interval_s),
            packets_per_s: packets.map(|packets| packets as f64 / seconds / hosts as f64),
            cost,
        }
    }
}

/// The largest minus the smallest; infinite if one is unknown.
fn spread(row: &[f64]) -> f64 {
    if row.iter().any(|x| !x.is_finite()) {
        return f64::INFINITY;
    }
    let (least, most) = row
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| {
            (least.min(*x), most.max(*x))
        });
    most - least
}

/// Counts the packets sent from `since_s` on in clknetsim's log of packets: time, sender,
/// receiver, delay, source and destination port, network, length, type, in columns.
///
/// With `multicast`, which PTP uses, a packet has a line for each receiver and is counted once.
pub fn count_packets(text: &str, since_s: f64, multicast: bool) -> Result<u64, LogError> {
    let (mut count, mut last) = (0, None);
    for (index, line) in text.lines().enumerate() {
        let wrong = || LogError::Line {
            what: "packets",
            line: index + 1,
            text: line.to_owned(),
        };
        let columns: Vec<&str> = line.split_whitespace().collect();
        let &[time, from, to, _, source, port, _, length, _] = columns.as_slice() else {
            return Err(wrong());
        };
        let number = |text: &str| text.parse::<f64>().map_err(|_| wrong());
        let to = number(to)?;
        let same = (time, from, source, port, length);
        let again = last.is_some_and(|(packet, receiver)| packet == same && to > receiver);
        last = Some((same, to));
        if number(time)? >= since_s && !(multicast && again) {
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clocks and nine seconds: far apart, once more, then 3, 4 and 1 ns.
    const OFFSETS: &str = "0.5\t-0.5\n0.000002 0.0\n0.1 0.0\n\
        0.000000003 0.0\n-0.000000004 0.0\n0.000000001 0.0\n\
        0.000000003 0.0\n-0.000000004 0.0\n0.000000001 0.0\n";

    #[test]
    fn figures_of_two_clocks_by_hand() {
        let offsets = Offsets::parse(OFFSETS, 2, 1.0).unwrap();
        assert_eq!((offsets.length_s(), offsets.judged_from_s()), (9.0, 3.0));
        let figures = offsets.figures(Some(24), Cost::default());
        // Two clocks d apart are both d/2 from their mean: rms² = (9 + 16 + 1)/3/4.
        let near = |is: f64, expected: f64| {
            assert!((is - expected).abs() < 1e-9, "{is} instead of {expected}");
        };
        near(figures.rms_ns, (26.0_f64 / 12.0).sqrt());
        near(figures.reference_rms_ns, (26.0_f64 / 3.0).sqrt());
        // Sorted: 1, 1, 3, 3, 4, 4.
        near(figures.worst_p50_ns, 3.0);
        near(figures.worst_p99_ns, 4.0);
        near(figures.worst_max_ns, 4.0);
        assert_eq!(figures.settled_s, Some(3.0));
        // 24 packets of two hosts in six seconds.
        assert_eq!(figures.packets_per_s, Some(2.0));
    }

    #[test]
    fn clocks_that_part_in_the_end_have_not_settled() {
        let text = "0 0\n0 0\n0 0.1\n";
        let figures = Offsets::parse(text, 2, 1.0).unwrap();
        let figures = figures.figures(None, Cost::default());
        assert_eq!((figures.settled_s, figures.packets_per_s), (None, None));
        let quiet = Offsets::parse("0 0\n0 0\n0 0\n", 2, 0.5).unwrap();
        assert_eq!(quiet.figures(None, Cost::default()).settled_s, Some(0.0));
    }

    #[test]
    fn a_clock_of_which_nothing_is_known_has_not_settled() {
        let mut offsets = Offsets::parse("0 0\n0 0\n0 0\n0 0\n", 2, 1.0).unwrap();
        offsets.rows[0][1] = f64::INFINITY;
        assert_eq!(offsets.silent(), None);
        let figures = offsets.figures(None, Cost::default());
        assert_eq!((figures.settled_s, figures.rms_ns), (Some(1.0), 0.0));
        offsets.rows[2][1] = f64::INFINITY;
        assert_eq!(offsets.silent(), Some(1));
    }

    #[test]
    fn a_log_that_is_none_is_refused_with_the_line() {
        let wrong = |text: &str| Offsets::parse(text, 2, 1.0).unwrap_err().to_string();
        assert!(wrong("0 0\n0 0 0\n").contains("line 2"));
        assert!(wrong("0 0\n0 x\n").contains("0 x"));
        assert_eq!(wrong("0 0\n"), "the log of offsets has only 1 rows");
        assert!(count_packets("1.0 1 2\n", 0.0, false).is_err());
    }

    #[test]
    fn a_multicast_packet_counts_once_and_the_start_not_at_all() {
        // Host 1 multicasts to 2 and 3, host 2 answers, host 1 multicasts again at once.
        let text = "9.0e+00\t1\t2\t1e-5\t319\t319\t1\t44\t1\n\
            9.0e+00\t1\t3\t1e-5\t319\t319\t1\t44\t1\n\
            1.0e+01\t1\t2\t1e-5\t319\t319\t1\t44\t1\n\
            1.0e+01\t1\t3\t1e-5\t319\t319\t1\t44\t1\n\
            1.0e+01\t2\t1\t1e-5\t319\t319\t1\t44\t1\n\
            1.0e+01\t2\t3\t1e-5\t319\t319\t1\t44\t1\n\
            1.0e+01\t1\t2\t1e-5\t319\t319\t1\t44\t1\n\
            1.0e+01\t1\t3\t1e-5\t319\t319\t1\t44\t1\n";
        assert_eq!(count_packets(text, 10.0, true), Ok(3));
        assert_eq!(count_packets(text, 10.0, false), Ok(6));
        assert_eq!(count_packets(text, 0.0, true), Ok(4));
    }
}

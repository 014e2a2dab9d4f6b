//! What all slices of one lane came to.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::judge::{FILTER, Line, Truth, median};
use super::lane::Lane;
use super::prober::Slice;
use super::ratio::{Ratio, paired};
use crate::stats::Moments;

/// Histograms hold up to ten seconds with three digits.
const LONGEST: u64 = 10_000_000_000;
const DIGITS: u8 = 3;

/// Everything known of one lane.
#[derive(Debug)]
pub struct Score {
    lane: Lane,
    truth: Truth,
    offset: Moments,
    filtered: Moments,
    given: Moments,
    histograms: [(&'static str, Histogram<u64>); 6],
    counts: Counts,
    cpu: u64,
    cpu_probes: u64,
    rounds: Vec<Round>,
}

/// Which of the histograms.
const ERROR: usize = 0;
const FILTERED: usize = 1;
const ROUND_TRIP: usize = 2;
const FORWARD: usize = 3;
const BACKWARD: usize = 4;
const WAKE: usize = 5;

/// One slice, in one number for each thing that is compared between lanes.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    error: Option<f64>,
    round_trip: Option<f64>,
    cpu: Option<f64>,
}

/// What was counted on one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Exchanges begun.
    pub probes: u64,
    /// Complete exchanges with the stamps the lane wants.
    pub exchanges: u64,
    /// Questions or answers that did not arrive.
    pub lost_packets: u64,
    /// Exchanges of which a stamp never came.
    pub lost_stamps: u64,
    /// Exchanges with a stamp that was taken elsewhere.
    pub wrong_source: u64,
}

/// Quantiles of a distribution, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Half of the values are not above it.
    pub p50_ns: u64,
    /// 99 of a hundred are not above it.
    pub p99_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

/// How a lane compares with the first, see [`ratio`](super::ratio).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    /// Of the root mean square error of a slice.
    pub error: Option<Ratio>,
    /// Of the median round trip of a slice.
    pub round_trip: Option<Ratio>,
    /// Of the processor time of an exchange.
    pub cpu: Option<Ratio>,
}

/// One lane, in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneReport {
    /// Which.
    pub lane: Lane,
    /// What errors are measured from.
    pub truth: Truth,
    /// What was counted.
    pub counts: Counts,
    /// Mean error of the offset, ns: the lane's own asymmetry.
    pub bias_ns: Option<f64>,
    /// Standard deviation of the offset's error, ns.
    pub sigma_ns: Option<f64>,
    /// The error's magnitude.
    pub error: Option<Quantiles>,
    /// Standard deviation among the quickest of every eight exchanges, ns.
    pub min_of_8_sigma_ns: Option<f64>,
    /// Standard deviation of offsets from the stamps as taken, without bringing them to the raw
    /// clock, ns; only where both ends stamp by one clock.
    pub as_stamped_sigma_ns: Option<f64>,
    /// Round trip without the time at the other end.
    pub round_trip: Option<Quantiles>,
    /// From this end to the other.
    pub forward: Option<Quantiles>,
    /// From the other end to this.
    pub backward: Option<Quantiles>,
    /// From the answer's arrival in the kernel to this process.
    pub wake: Option<Quantiles>,
    /// Processor time of both ends' threads in one exchange, pauses included, ns.
    pub cpu_ns: Option<f64>,
    /// Against the first lane; none for that itself.
    pub ratio: Option<Ratios>,
}

impl Score {
    /// Nothing yet.
    ///
    /// # Panics
    /// Never: the histograms' bounds are constants that fit each other.
    pub fn new(lane: Lane, truth: Truth) -> Self {
        let names = [
            "error",
            "filtered",
            "round-trip",
            "forward",
            "backward",
            "wake",
        ];
        Self {
            lane,
            truth,
            offset: Moments::default(),
            filtered: Moments::default(),
            given: Moments::default(),
            histograms: names.map(|name| (name, empty())),
            counts: Counts::default(),
            cpu: 0,
            cpu_probes: 0,
            rounds: Vec::new(),
        }
    }

    /// Counts a slice, whether it can be judged or not.
    pub fn count(&mut self, slice: &Slice) {
        self.counts.probes += u64::from(slice.probes);
        self.counts.exchanges += slice.exchanges.len() as u64;
        self.counts.lost_packets += u64::from(slice.lost_packets);
        self.counts.lost_stamps += u64::from(slice.lost_stamps);
        self.counts.wrong_source += u64::from(slice.wrong_source);
        self.cpu += slice.cpu;
        self.cpu_probes += u64::from(slice.cpu_probes);
    }

    /// Adds the slice of a round; `line` is the true offset.
    pub fn add(&mut self, round: u32, slice: &Slice, line: Line) {
        let mut squares = 0.0;
        let mut round_trips = Vec::with_capacity(slice.exchanges.len());
        for chunk in slice.exchanges.chunks(FILTER) {
            let mut best: Option<(i64, f64)> = None;
            for exchange in chunk {
                let base = line.offset(exchange.back);
                let error = exchange.offset() - base;
                let round_trip = exchange.round_trip();
                self.offset.push(error);
                self.given.push(exchange.given_offset_twice as f64 / 2.0);
                squares += error * error;
                round_trips.push(round_trip as f64);
                self.record(ERROR, error.abs());
                self.record(ROUND_TRIP, round_trip as f64);
                self.record(FORWARD, (exchange.there - exchange.sent) as f64 - base);
                self.record(BACKWARD, (exchange.back - exchange.left) as f64 + base);
                if let Some(wake) = exchange.wake {
                    self.record(WAKE, wake as f64);
                }
                if best.is_none_or(|(least, _)| round_trip < least) {
                    best = Some((round_trip, error));
                }
            }
            if let (FILTER, Some((_, error))) = (chunk.len(), best) {
                self.filtered.push(error);
                self.record(FILTERED, error.abs());
            }
        }
        let at = round as usize;
        if self.rounds.len() <= at {
            self.rounds.resize(at + 1, Round::default());
        }
        let count = slice.exchanges.len() as f64;
        self.rounds[at] = Round {
            error: (count > 0.0).then(|| (squares / count).sqrt()),
            round_trip: median(round_trips),
            cpu: (slice.cpu_probes > 0).then(|| slice.cpu as f64 / f64::from(slice.cpu_probes)),
        };
    }

    fn record(&mut self, which: usize, value: f64) {
        // Rounding of the conversions may take a delay of almost nothing below nothing.
        self.histograms[which]
            .1
            .saturating_record(value.max(0.0).round() as u64);
    }

    /// Which lane.
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// The distributions that have values: of the error's magnitude, of that of the quickest of
    /// every eight, of round trips, ways and wake-ups; ns.
    pub fn histograms(&self) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
        let all = self.histograms.iter().map(|(name, values)| (*name, values));
        all.filter(|(_, values)| !values.is_empty())
    }

    /// In figures, compared with `first` if that is another.
    pub fn report(&self, first: &Self) -> LaneReport {
        let quantiles = |which: usize| {
            let values = &self.histograms[which].1;
            (!values.is_empty()).then(|| Quantiles {
                p50_ns: values.value_at_quantile(0.5),
                p99_ns: values.value_at_quantile(0.99),
                max_ns: values.max(),
            })
        };
        let same_clock = self.truth == Truth::SameClock;
        LaneReport {
            lane: self.lane,
            truth: self.truth,
            counts: self.counts,
            bias_ns: self.offset.mean().filter(|_| same_clock),
            sigma_ns: self.offset.stddev(),
            error: quantiles(ERROR),
            min_of_8_sigma_ns: self.filtered.stddev(),
            as_stamped_sigma_ns: self.given.stddev().filter(|_| same_clock),
            round_trip: quantiles(ROUND_TRIP),
            forward: quantiles(FORWARD),
            backward: quantiles(BACKWARD),
            wake: quantiles(WAKE),
            cpu_ns: (self.cpu_probes > 0).then(|| self.cpu as f64 / self.cpu_probes as f64),
            ratio: (self.lane != first.lane).then(|| {
                let ratio = |value: fn(&Round) -> Option<f64>| {
                    let of = |score: &Self| score.rounds.iter().map(value).collect::<Vec<_>>();
                    paired(&of(self), &of(first))
                };
                Ratios {
                    error: ratio(|round| round.error),
                    round_trip: ratio(|round| round.round_trip),
                    cpu: ratio(|round| round.cpu),
                }
            }),
        }
    }
}

#[expect(clippy::expect_used, reason = "constants that fit each other")]
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("valid bounds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::lane::{Mode, Stamps, Transport};
    use crate::precision::prober::Exchange;

    fn lane(stamps: Stamps) -> Lane {
        Lane {
            transport: Transport::Udp,
            stamps,
            mode: Mode::Block,
        }
    }

    /// 400 ns there and back, 100 at the other end; then one way takes longer.
    fn exchange(slower_there: i64, slower_back: i64) -> Exchange {
        Exchange {
            sent: 0,
            there: 400 + slower_there,
            left: 500 + slower_there,
            back: 900 + slower_there + slower_back,
            given_offset_twice: slower_there - slower_back,
            wake: Some(7_000),
        }
    }

    fn slice(errors: &[i64]) -> Slice {
        Slice {
            exchanges: errors.iter().map(|e| exchange(2 * e, 0)).collect(),
            probes: errors.len() as u32 + 1,
            lost_packets: 1,
            cpu: 900,
            cpu_probes: 9,
            ..Slice::default()
        }
    }

    #[test]
    fn figures_worked_out_by_hand() {
        let mut score = Score::new(lane(Stamps::Kernel), Truth::SameClock);
        // Seven slow ones and a quick one, twice: the quick ones are off by 10 and 30.
        for (round, quick) in [(0, 10), (1, 30)] {
            let slice = slice(&[100, 100, 100, quick, 100, 100, 100, 100]);
            score.count(&slice);
            score.add(round, &slice, Line::default());
        }
        let report = score.report(&score);
        assert_eq!((report.counts.exchanges, report.counts.probes), (16, 18));
        assert_eq!(report.counts.lost_packets, 2);
        // (14 · 100 + 10 + 30) / 16; the deviations squared are 14 · 10² + 80² + 60² = 11400.
        let bias = report.bias_ns.unwrap();
        assert!((bias - 90.0).abs() < 1e-9, "{bias}");
        let sigma = report.sigma_ns.unwrap();
        assert!(
            (sigma - (11_400.0_f64 / 15.0).sqrt()).abs() < 1e-9,
            "{sigma}"
        );
        // 10 and 30: 20 ± 10, sample deviation √200.
        let filtered = report.min_of_8_sigma_ns.unwrap();
        assert!((filtered - 200.0_f64.sqrt()).abs() < 1e-9, "{filtered}");
        let as_stamped = report.as_stamped_sigma_ns.unwrap();
        assert!((as_stamped - sigma).abs() < 1e-9, "{as_stamped}");
        let error = report.error.unwrap();
        assert_eq!((error.p50_ns, error.max_ns), (100, 100));
        // 800 ns and twice the error.
        assert_eq!(report.round_trip.unwrap().p50_ns, 1_000);
        assert_eq!(report.forward.unwrap().p50_ns, 600);
        assert_eq!(report.backward.unwrap().p99_ns, 400);
        // To three digits.
        assert!((7_000..7_010).contains(&report.wake.unwrap().p50_ns));
        assert_eq!((report.cpu_ns, report.ratio), (Some(100.0), None));
    }

    #[test]
    fn lanes_are_compared_round_by_round() {
        let mut first = Score::new(lane(Stamps::Kernel), Truth::SameClock);
        let mut other = Score::new(lane(Stamps::User), Truth::SameClock);
        for round in 0..10 {
            let noise = 1 + i64::from(round);
            first.add(round, &slice(&[noise, -noise]), Line::default());
            other.add(round, &slice(&[5 * noise, 5 * noise]), Line::default());
        }
        let ratios = other.report(&first).ratio.unwrap();
        let error = ratios.error.unwrap();
        assert_eq!((error.median, error.low), (5.0, Some(5.0)));
        assert_eq!(ratios.cpu.unwrap().median, 1.0);
        assert!(first.report(&first).ratio.is_none());
    }
}

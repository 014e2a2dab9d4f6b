//! How far off each exchange was.
//!
//! If both ends read one clock, the true offset is 0 and whatever an exchange says is its error.
//! Between two machines there is no truth: an exchange is compared with a line (offset and rate)
//! through the quickest exchanges of its own lane around it, so the error of the line itself (a
//! path that is longer one way) does not show.

use std::collections::VecDeque;

use serde::Serialize;

use super::prober::{Exchange, Slice};

/// What errors are measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// Both ends read the same clock: the true offset is 0.
    SameClock,
    /// None: errors are relative to the lane's own quickest exchanges.
    OwnMedian,
}

/// Of so many exchanges in a row the quickest is taken.
pub const FILTER: usize = 8;

/// Slices before and after a slice that the line goes through.
const REACH: usize = 4;

/// Where the line is while a slice lasts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Line {
    at: i64,
    offset: f64,
    rate: f64,
}

impl Line {
    /// The offset at an instant of the asking end's raw clock, ns.
    pub fn offset(&self, at: i64) -> f64 {
        self.offset + self.rate * (at - self.at) as f64
    }
}

/// The quickest of every [`FILTER`] exchanges.
pub fn quickest(slice: &Slice) -> impl Iterator<Item = &Exchange> {
    slice
        .exchanges
        .chunks_exact(FILTER)
        .filter_map(|chunk| chunk.iter().min_by_key(|exchange| exchange.round_trip()))
}

/// Judges the slices of one lane in order. Without truth a slice is judged when those after it are
/// there.
#[derive(Debug)]
pub struct Judge {
    truth: Truth,
    window: VecDeque<(u32, Slice)>,
    /// Slices at the window's end that are not judged yet.
    pending: usize,
}

impl Judge {
    /// Nothing is judged yet.
    pub fn new(truth: Truth) -> Self {
        Self {
            truth,
            window: VecDeque::new(),
            pending: 0,
        }
    }

    /// Takes the slice of one round; hands what can be judged now to `sink`.
    pub fn push(&mut self, round: u32, slice: Slice, mut sink: impl FnMut(u32, &Slice, Line)) {
        match self.truth {
            Truth::SameClock => sink(round, &slice, Line::default()),
            Truth::OwnMedian => {
                self.window.push_back((round, slice));
                self.pending += 1;
                if self.pending > REACH {
                    self.judge_oldest(&mut sink);
                }
                if self.window.len() > 2 * REACH {
                    self.window.pop_front();
                }
            }
        }
    }

    /// No more slices come.
    pub fn finish(&mut self, mut sink: impl FnMut(u32, &Slice, Line)) {
        while self.pending > 0 {
            self.judge_oldest(&mut sink);
        }
    }

    fn judge_oldest(&mut self, sink: &mut impl FnMut(u32, &Slice, Line)) {
        let at = self.window.len() - self.pending;
        self.pending -= 1;
        if let Some((round, slice)) = self.window.get(at)
            && let Some(line) = self.line(at)
        {
            sink(*round, slice, line);
        }
    }

    /// The line around slice number `at` of the window: its rate is the median of those between the
    /// quickest exchanges of different slices (Theil 1950, Sen 1968), its offset the median of what
    /// is left. None if no exchange is there to put it through.
    fn line(&self, at: usize) -> Option<Line> {
        let first = at.saturating_sub(REACH);
        let around = self
            .window
            .range(first..self.window.len().min(at + REACH + 1));
        let mut points: Vec<(usize, i64, f64)> = Vec::new();
        for (number, (_, slice)) in around.enumerate() {
            points.extend(quickest(slice).map(|e| (number, e.back, e.offset())));
        }
        let origin = points.first()?.1;
        let mut rates = Vec::new();
        for (k, a) in points.iter().enumerate() {
            let later = points[k + 1..].iter().filter(|b| b.0 != a.0);
            rates.extend(later.map(|b| (b.2 - a.2) / (b.1 - a.1) as f64));
        }
        let rate = median(rates).unwrap_or(0.0);
        let left = points.iter().map(|p| p.2 - rate * (p.1 - origin) as f64);
        Some(Line {
            at: origin,
            offset: median(left.collect())?,
            rate,
        })
    }
}

/// The middle value, or the mean of the middle two; none of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let high = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(high);
    }
    Some(f64::midpoint(values[values.len() / 2 - 1], high))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange at `at` with this offset of the other clock; slow ones are off by a half more.
    fn exchange(at: i64, offset: i64, extra: i64) -> Exchange {
        Exchange {
            sent: at - 1_000 - extra,
            there: at - 500 + offset,
            left: at - 500 + offset,
            back: at,
            given_offset_twice: 0,
            wake: None,
        }
    }

    fn slice(start: i64, offset: impl Fn(i64) -> i64) -> Slice {
        let one = |k: i64| {
            let at = start + k * 100_000;
            // One in eight is quick.
            exchange(at, offset(at), if k % 8 == 3 { 0 } else { 10_000 })
        };
        Slice {
            exchanges: (0..32).map(one).collect(),
            ..Slice::default()
        }
    }

    #[test]
    fn with_a_clock_in_common_the_offset_is_the_error() {
        let mut judge = Judge::new(Truth::SameClock);
        let mut seen = Vec::new();
        judge.push(3, slice(0, |_| 40), |round, slice, line| {
            let e = &slice.exchanges[3];
            seen.push((round, e.offset() - line.offset(e.back)));
        });
        assert_eq!(seen, [(3, 40.0)]);
        judge.finish(|_, _, _| panic!("judged twice"));
    }

    #[test]
    fn without_one_a_line_through_the_quickest_takes_offset_and_rate_away() {
        let mut judge = Judge::new(Truth::OwnMedian);
        let mut errors = Vec::new();
        let mut rounds = Vec::new();
        let mut sink = |round: u32, slice: &Slice, line: Line| {
            rounds.push(round);
            errors.extend(quickest(slice).map(|e| e.offset() - line.offset(e.back)));
            let slow = &slice.exchanges[0];
            let error = slow.offset() - line.offset(slow.back);
            assert!((error - 5_000.0).abs() < 1.0, "{error}");
        };
        for round in 0..20 {
            // Half a second ahead, 20 ppm fast.
            let moving = |at: i64| 500_000_000 + at / 50_000;
            judge.push(
                round,
                slice(i64::from(round) * 50_000_000, moving),
                &mut sink,
            );
        }
        judge.finish(&mut sink);
        assert_eq!(rounds, (0..20).collect::<Vec<u32>>());
        assert!(errors.iter().all(|e| e.abs() < 1.0), "{errors:?}");
    }

    #[test]
    fn slices_in_which_everything_was_lost_are_passed_over() {
        let mut judge = Judge::new(Truth::OwnMedian);
        judge.push(0, Slice::default(), |_, _, _| panic!("nothing to judge by"));
        judge.finish(|_, _, _| panic!("nothing to judge by"));
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}

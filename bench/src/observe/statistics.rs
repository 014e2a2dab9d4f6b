//! What each source said over time, in figures.

use serde::Serialize;

use super::source::Reading;
use crate::stats::{Even, Moments, Stability, quantile, sort, stability};

/// Everything one source said.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its place among the sources that were asked for.
    pub(super) place: usize,
    source: String,
    /// Time since the start, s; offset, ns.
    samples: Vec<(f64, f64)>,
    guaranteed: Moments,
    statistical: Moments,
}

/// A source's offset from the system clock over the whole time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceStatistics {
    /// Which.
    pub source: String,
    /// How often it was read.
    pub readings: usize,
    /// Mean offset, ns.
    pub mean_ns: f64,
    /// Standard deviation of the offset, ns; none of a single reading.
    pub sigma_ns: Option<f64>,
    /// The magnitude that 99 of a hundred offsets do not exceed, ns.
    pub p99_ns: f64,
    /// By how much the offset grows, ns per second (10⁻⁹), by least squares; none below three
    /// readings.
    pub drift_ppb: Option<f64>,
    /// Mean guaranteed bound, ns.
    pub guaranteed_ns: Option<f64>,
    /// Mean statistical bound, which 99.9 % of errors stay within, ns.
    pub statistical_ns: Option<f64>,
    /// Stability against the system clock at growing averaging times; empty if there are too few
    /// readings.
    pub stability: Vec<Stability>,
}

impl History {
    /// The history of a source, begun if there is none.
    pub(super) fn find<'a>(
        histories: &'a mut Vec<Self>,
        place: usize,
        source: &str,
    ) -> &'a mut Self {
        let at = histories
            .iter()
            .position(|history| history.source == source);
        let at = at.unwrap_or_else(|| {
            histories.push(Self {
                place,
                source: source.to_owned(),
                samples: Vec::new(),
                guaranteed: Moments::default(),
                statistical: Moments::default(),
            });
            histories.len() - 1
        });
        &mut histories[at]
    }

    pub(super) fn push(&mut self, time: f64, reading: &Reading) {
        self.samples.push((time, reading.offset_ns));
        if let Some(bound) = reading.guaranteed_ns {
            self.guaranteed.push(bound);
        }
        if let Some(bound) = reading.statistical_ns {
            self.statistical.push(bound);
        }
    }

    /// How often the source was read.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// It never was.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// In figures; none if it is empty.
    pub fn statistics(&self) -> Option<SourceStatistics> {
        let moments: Moments = self.samples.iter().map(|sample| sample.1).collect();
        let mut sizes: Vec<f64> = self.samples.iter().map(|sample| sample.1.abs()).collect();
        sort(&mut sizes);
        Some(SourceStatistics {
            source: self.source.clone(),
            readings: self.samples.len(),
            mean_ns: moments.mean()?,
            sigma_ns: moments.stddev(),
            p99_ns: quantile(&sizes, 0.99)?,
            drift_ppb: drift(&self.samples),
            guaranteed_ns: self.guaranteed.mean(),
            statistical_ns: self.statistical.mean(),
            stability: Even::new(&self.samples)
                .map_or_else(|_| Vec::new(), |even| stability(&even)),
        })
    }
}

/// The slope of the least-squares line.
fn drift(samples: &[(f64, f64)]) -> Option<f64> {
    if samples.len() < 3 {
        return None;
    }
    let mean =
        |value: fn(&(f64, f64)) -> f64| samples.iter().map(value).collect::<Moments>().mean();
    let (time, offset) = (mean(|s| s.0)?, mean(|s| s.1)?);
    let (mut over, mut under) = (0.0, 0.0);
    for sample in samples {
        over += (sample.0 - time) * (sample.1 - offset);
        under += (sample.0 - time).powi(2);
    }
    (under > 0.0).then(|| over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(offsets: &[f64]) -> History {
        let mut histories = Vec::new();
        for (second, offset_ns) in offsets.iter().enumerate() {
            let reading = Reading {
                source: "a".to_owned(),
                offset_ns: *offset_ns,
                guaranteed_ns: Some(20.0 + second as f64),
                statistical_ns: (second > 2).then_some(3.0),
                detail: String::new(),
                at: 0,
            };
            History::find(&mut histories, 0, "a").push(second as f64, &reading);
        }
        histories.remove(0)
    }

    #[test]
    fn a_case_worked_out_by_hand() {
        // 10 ns/s, with a bump in the middle that is symmetric and so has no part in the slope.
        let figures = history(&[-20.0, -10.0, 3.0, 10.0, 20.0])
            .statistics()
            .unwrap();
        assert_eq!(figures.readings, 5);
        assert!((figures.mean_ns - 0.6).abs() < 1e-12);
        assert_eq!(figures.p99_ns, 20.0);
        let drift = figures.drift_ppb.unwrap();
        assert!((drift - 10.0).abs() < 1e-9, "{drift}");
        assert_eq!(figures.guaranteed_ns, Some(22.0));
        assert_eq!(figures.statistical_ns, Some(3.0));
        // The squares are 1009, less five times the squared mean, over four.
        let sigma = figures.sigma_ns.unwrap();
        assert!((sigma - (1007.2_f64 / 4.0).sqrt()).abs() < 1e-9, "{sigma}");
    }

    #[test]
    fn stability_is_there_once_there_are_enough_readings() {
        assert!(
            history(&[1.0, 2.0])
                .statistics()
                .unwrap()
                .stability
                .is_empty()
        );
        // White phase noise of alternating sign: second differences of ±4, so the Allan deviation
        // at one second is √(16/2) = 2.83 ns/s.
        let offsets: Vec<f64> = (0..100)
            .map(|k| if k % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        let figures = history(&offsets).statistics().unwrap();
        let first = figures.stability[0];
        assert!((first.tau_s - 1.0).abs() < 1e-9);
        let adev = first.adev.unwrap() * 1e9;
        assert!((adev - 8_f64.sqrt()).abs() < 1e-6, "{adev}");
    }

    #[test]
    fn few_readings_have_no_drift() {
        assert_eq!(drift(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(drift(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}

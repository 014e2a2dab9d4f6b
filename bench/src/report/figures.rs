//! What the errors of a series come to.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::run::{Point, Series, Track};
use crate::stats::{Even, Moments, Stability, StabilityError, quantile, sort, stability};

/// What the errors of a series come to. All but the violations are of the time after settling.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// The name of the run's folder.
    pub run: String,
    /// The series.
    pub series: String,
    /// Clocks in it.
    pub clocks: usize,
    /// How long they were watched, s.
    pub seconds: f64,
    /// From when on errors count, s.
    pub from_s: f64,
    /// Errors that count.
    pub samples: u64,
    /// Their mean.
    pub mean_ns: Option<f64>,
    /// The root of their mean square.
    pub rms_ns: Option<f64>,
    /// Their magnitudes.
    pub error: Quantiles,
    /// How far the two clocks that differ most are apart, at instants at which at least two were
    /// read.
    pub worst_pair: Quantiles,
    /// From when on no error is above the limit until the end, s.
    pub settled_s: Option<f64>,
    /// The bound that was guaranteed.
    pub guaranteed: Bound,
    /// The bound that should hold for 99.9 % of the time.
    pub statistical: Bound,
    /// ADEV and TDEV, root mean square over the clocks, and the worst MTIE of them.
    pub stability: Vec<Stability>,
    /// What must be known to judge the stability.
    pub remarks: Vec<String>,
    /// Each clock.
    pub subjects: Vec<Subject>,
}

/// Quantiles of magnitudes; none of nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median, ns.
    pub p50_ns: Option<f64>,
    /// 99 %, ns.
    pub p99_ns: Option<f64>,
    /// 99.9 %, ns.
    pub p999_ns: Option<f64>,
    /// The greatest, ns.
    pub max_ns: Option<f64>,
}

/// How a bound did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bound {
    /// Errors for which there was one, in the whole run.
    pub samples: u64,
    /// Those that were beyond it.
    pub violations: u64,
    /// Their share, from 0 to 1.
    pub violated_share: Option<f64>,
    /// Its median width after settling, ns.
    pub p50_ns: Option<f64>,
    /// That over the root mean square of the errors.
    pub p50_to_rms: Option<f64>,
}

/// What the errors of one clock come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Errors that count.
    pub samples: u64,
    /// Their mean.
    pub mean_ns: Option<f64>,
    /// The root of their mean square.
    pub rms_ns: Option<f64>,
    /// Their magnitudes.
    pub error: Quantiles,
    /// The bound that was guaranteed.
    pub guaranteed: Bound,
    /// The bound that should hold for 99.9 % of the time.
    pub statistical: Bound,
}

impl Figures {
    /// Of `series` of `run`. Without `settle_s` the first third is left out; `limit_ns` is what
    /// errors must stay below for the clocks to count as settled.
    pub fn of(run: &str, series: &Series, settle_s: Option<f64>, limit_ns: f64) -> Self {
        let points = || series.tracks.iter().flat_map(|track| &track.points);
        let times: Moments = points().map(|point| point.time_s).collect();
        let (start, end) = (times.min().unwrap_or(0.0), times.max().unwrap_or(0.0));
        let from_s = settle_s.unwrap_or(start + (end - start) / 3.0);
        let counts = |point: &&Point| point.time_s >= from_s;
        let errors: Moments = points()
            .filter(counts)
            .map(|point| point.error_ns)
            .collect();
        let rms_ns = errors.rms();
        let (stability, remarks) = combined_stability(&series.tracks, from_s);
        Self {
            run: run.to_owned(),
            series: series.name.clone(),
            clocks: series.tracks.len(),
            seconds: end - start,
            from_s,
            samples: errors.count(),
            mean_ns: errors.mean(),
            rms_ns,
            error: Quantiles::of(points().filter(counts).map(|point| point.error_ns.abs())),
            worst_pair: Quantiles::of(
                spreads(&series.tracks)
                    .into_iter()
                    .filter(|(time_s, _)| *time_s >= from_s)
                    .map(|(_, spread)| spread),
            ),
            settled_s: settled(points(), limit_ns),
            guaranteed: Bound::of(points(), from_s, rms_ns, |point| point.guaranteed_ns),
            statistical: Bound::of(points(), from_s, rms_ns, |point| point.statistical_ns),
            stability,
            remarks,
            subjects: series
                .tracks
                .iter()
                .map(|track| Subject::of(track, from_s))
                .collect(),
        }
    }
}

impl Subject {
    fn of(track: &Track, from_s: f64) -> Self {
        let points = &track.points;
        let counted = || points.iter().filter(|point| point.time_s >= from_s);
        let errors: Moments = counted().map(|point| point.error_ns).collect();
        let rms_ns = errors.rms();
        Self {
            name: track.subject.clone(),
            samples: errors.count(),
            mean_ns: errors.mean(),
            rms_ns,
            error: Quantiles::of(counted().map(|point| point.error_ns.abs())),
            guaranteed: Bound::of(points, from_s, rms_ns, |point| point.guaranteed_ns),
            statistical: Bound::of(points, from_s, rms_ns, |point| point.statistical_ns),
        }
    }
}

impl Quantiles {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        sort(&mut values);
        Self {
            p50_ns: quantile(&values, 0.5),
            p99_ns: quantile(&values, 0.99),
            p999_ns: quantile(&values, 0.999),
            max_ns: values.last().copied(),
        }
    }
}

impl Bound {
    fn of<'a>(
        points: impl IntoIterator<Item = &'a Point>,
        from_s: f64,
        rms_ns: Option<f64>,
        bound: impl Fn(&Point) -> Option<f64>,
    ) -> Self {
        let mut found = Self::default();
        let mut widths = Vec::new();
        for point in points {
            let Some(width) = bound(point) else { continue };
            found.samples += 1;
            found.violations += u64::from(point.error_ns.abs() > width);
            if point.time_s >= from_s {
                widths.push(width);
            }
        }
        sort(&mut widths);
        let samples = found.samples as f64;
        found.violated_share = (samples > 0.0).then(|| found.violations as f64 / samples);
        found.p50_ns = quantile(&widths, 0.5);
        let rms_ns = rms_ns.filter(|&rms| rms > 0.0);
        found.p50_to_rms = found.p50_ns.zip(rms_ns).map(|(width, rms)| width / rms);
        found
    }
}

/// How far the clocks that differ most are apart, at each instant at which at least two were read.
pub(super) fn spreads(tracks: &[Track]) -> Vec<(f64, f64)> {
    let points = tracks.iter().flat_map(|track| &track.points);
    let mut all: Vec<(f64, f64)> = points.map(|p| (p.time_s, p.error_ns)).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    all.chunk_by(|a, b| a.0 == b.0)
        .filter(|instant| instant.len() > 1)
        .map(|instant| {
            let errors: Moments = instant.iter().map(|(_, error)| *error).collect();
            let spread = errors.max().unwrap_or(0.0) - errors.min().unwrap_or(0.0);
            (instant[0].0, spread)
        })
        .collect()
}

/// From when on all errors are within the limit; `None` if they are not in the end.
fn settled<'a>(points: impl Iterator<Item = &'a Point> + Clone, limit_ns: f64) -> Option<f64> {
    let beyond = |point: &&Point| point.error_ns.abs() > limit_ns;
    let last = points.clone().filter(beyond).map(|point| point.time_s);
    let last = last.max_by(f64::total_cmp).unwrap_or(f64::NEG_INFINITY);
    let after = points.map(|point| point.time_s).filter(|&at| at > last);
    after.min_by(f64::total_cmp)
}

/// The stability of all clocks after settling, and what must be known to judge it.
fn combined_stability(tracks: &[Track], from_s: f64) -> (Vec<Stability>, Vec<String>) {
    let (mut interpolated, mut left_out) = (0, 0);
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut all: Vec<Vec<Stability>> = Vec::new();
    for track in tracks {
        let counted = track.points.iter().filter(|point| point.time_s >= from_s);
        let samples: Vec<(f64, f64)> = counted.map(|p| (p.time_s, p.error_ns)).collect();
        match Even::new(&samples) {
            Ok(even) => {
                interpolated += usize::from(even.interpolated);
                left_out += even.left_out;
                all.push(stability(&even));
            }
            Err(error) => *refused.entry(reason(error)).or_default() += 1,
        }
    }
    let mut remarks: Vec<String> = refused
        .into_iter()
        .map(|(why, clocks)| format!("{clocks} of {} clocks: {why}", tracks.len()))
        .collect();
    if interpolated > 0 {
        remarks.push(format!(
            "{interpolated} of {} clocks were not read at even spacing: interpolated, which hides \
             some of the noise at the shortest times",
            tracks.len()
        ));
    }
    if left_out > 0 {
        remarks.push(format!("{left_out} samples beyond long gaps were left out"));
    }
    let rows = all.iter().max_by_key(|rows| rows.len()).cloned();
    let combined = rows.unwrap_or_default().into_iter().map(|row| {
        let same = |other: &&Stability| (other.tau_s / row.tau_s - 1.0).abs() < 0.01;
        let at_tau: Vec<&Stability> = all.iter().flatten().filter(same).collect();
        let rms = |pick: fn(&Stability) -> Option<f64>| {
            let values = at_tau.iter().filter_map(|row| pick(row));
            values.collect::<Moments>().rms()
        };
        let mtie = at_tau.iter().filter_map(|row| row.mtie_ns);
        Stability {
            tau_s: row.tau_s,
            adev: rms(|row| row.adev),
            tdev_ns: rms(|row| row.tdev_ns),
            mtie_ns: mtie.max_by(f64::total_cmp),
        }
    });
    (combined.collect(), remarks)
}

/// The reason without the number, which differs from clock to clock.
fn reason(error: StabilityError) -> String {
    match error {
        StabilityError::TooFew { .. } => "too few samples in a row for stability".to_owned(),
        StabilityError::NoSpacing => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(subject: &str, errors: &[f64], bound: f64) -> Track {
        let points = (0..).zip(errors).map(|(i, &error_ns)| Point {
            time_s: f64::from(i),
            error_ns,
            guaranteed_ns: Some(bound),
            statistical_ns: None,
        });
        Track {
            subject: subject.to_owned(),
            points: points.collect(),
        }
    }

    fn series(tracks: Vec<Track>) -> Series {
        Series {
            name: "error".to_owned(),
            tracks,
        }
    }

    #[test]
    fn a_case_worked_out_by_hand() {
        // Ten seconds, the first three of which do not count.
        let a = track(
            "a",
            &[900.0, 50.0, 9.0, 3.0, -3.0, 3.0, -3.0, 3.0, -3.0, 3.0],
            45.0,
        );
        let b = track(
            "b",
            &[0.0, 0.0, 0.0, 4.0, -4.0, 4.0, -4.0, 4.0, -4.0, 4.0],
            50.0,
        );
        let figures = Figures::of("run", &series(vec![a, b]), None, 10.0);
        assert_eq!((figures.clocks, figures.samples), (2, 14));
        assert_eq!((figures.seconds, figures.from_s), (9.0, 3.0));
        assert!((figures.rms_ns.unwrap() - 12.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(
            (figures.error.p50_ns, figures.error.max_ns),
            (Some(3.0), Some(4.0))
        );
        assert_eq!(figures.worst_pair.max_ns, Some(1.0));
        assert_eq!(figures.settled_s, Some(2.0));
        let bound = figures.guaranteed;
        assert_eq!((bound.samples, bound.violations), (20, 2));
        assert_eq!(
            (bound.violated_share, bound.p50_ns),
            (Some(0.1), Some(45.0))
        );
        assert_eq!(figures.statistical.samples, 0);
        assert_eq!(figures.subjects[0].guaranteed.violations, 2);
        assert_eq!(figures.subjects[1].rms_ns, Some(4.0));
        // Second differences of a and b at a second are 12 and 16 in magnitude.
        let expected = ((144.0_f64 + 256.0) / 2.0 / 2.0).sqrt() * 1e-9;
        let found = figures.stability[0].adev.unwrap();
        assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        assert_eq!(figures.stability[0].mtie_ns, Some(8.0));
        assert!(figures.remarks.is_empty());
    }

    #[test]
    fn settling_may_be_given_and_may_never_come() {
        let a = track("a", &[0.0, 0.0, 50.0], 1.0);
        let figures = Figures::of("run", &series(vec![a]), Some(1.5), 10.0);
        assert_eq!((figures.samples, figures.settled_s), (1, None));
        assert_eq!(figures.worst_pair, Quantiles::default());
        assert_eq!(
            figures.remarks,
            ["1 of 1 clocks: too few samples in a row for stability"]
        );
    }

    #[test]
    fn clocks_that_are_never_read_at_once_have_no_worst_pair() {
        let a = track("a", &[1.0, 2.0], 1.0);
        let mut b = track("b", &[5.0, 6.0], 1.0);
        for point in &mut b.points {
            point.time_s += 0.5;
        }
        assert_eq!(spreads(&[a.clone(), b.clone()]), []);
        b.points[0].time_s = 1.0;
        assert_eq!(spreads(&[a, b]), [(1.0, 3.0)]);
    }

    #[test]
    fn an_empty_series_comes_to_nothing() {
        let figures = Figures::of("run", &series(vec![]), None, 10.0);
        assert_eq!(
            (figures.samples, figures.rms_ns, figures.settled_s),
            (0, None, None)
        );
        assert!(figures.stability.is_empty());
    }
}

//! Where a newcomer's clock should jump.

use super::stats::Sample;
use super::{Reading, tolerated_liars};

/// The place to jump to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The median clock minus ours, ns.
    pub offset: f64,
    /// Typical sigma of the offsets it rests on, ns.
    pub sigma: f64,
    /// How far the others' clocks are apart as they are seen, a robust standard deviation, ns.
    pub scatter: f64,
    /// How far asymmetric paths can make clocks that agree seem to be apart: half of what packets
    /// leave open of a typical offset, ns.
    pub reach: f64,
    /// The same of the median of them, if each is off on its own account; 0 if paths do not explain
    /// how far they are apart. ns.
    pub unknown: f64,
    /// The median frequency minus ours, as a fraction.
    pub rate: f64,
    /// One sigma of the median frequency: many that are each known badly are known well together.
    pub rate_sigma: f64,
    /// Whether it is that of many who have not agreed on a time yet.
    pub crowd: bool,
}

/// Synchronized clocks that are this close, ns, stand for the same time.
const TOGETHER: f64 = 20_000.0;

/// So many clocks tell where the middle is, and how fast it moves, well enough to do without a word
/// of those who call themselves synchronized first, who may be lying.
const CROWD: usize = 16;

/// The median of n Gaussian values scatters this much more than their mean: √(π/2).
const MEDIAN: f64 = 1.2533;

/// Whether those that call themselves synchronized can be believed to be an established network,
/// ourselves included if `settled`: either most of them cannot be lying, or more of them agree
/// with their median than could be lying. Liars call themselves whatever they like, so that some
/// are synchronized is not enough, and in a network that forms they are the first to do so: where
/// many clocks are heard, more than could be lying are not enough either.
///
/// Who agrees is judged by what its own packets guarantee: a lie cannot widen the interval of an
/// honest clock.
pub fn established(readings: &[Reading], settled: bool) -> bool {
    let liars = tolerated_liars(readings.len() + 1);
    let ready = || readings.iter().filter(|r| r.ready);
    let own = settled.then_some(0.0);
    let mut offsets: Sample = ready().map(|r| r.offset).chain(own).collect();
    let Some(median) = offsets.lower_median() else {
        return false;
    };
    let near =
        |r: &&Reading, place: f64| r.lower - TOGETHER <= place && place <= r.upper + TOGETHER;
    if offsets.len() > 2 * liars {
        return true;
    }
    let ours = usize::from(settled && median.abs() <= TOGETHER);
    let support = ready().filter(|r| near(r, median)).count() + ours;
    // Most of so few may be lying: a crowd does without them.
    (settled || readings.len() < CROWD) && support > liars
}

/// The lower median of the network, or `None` without readings.
///
/// If there is an [`established`] network, only its clocks count: it is joined, not moved.
/// Otherwise everybody is new and everybody counts, ourselves included; the lower median does not
/// move while others move onto it, so even nodes that act on stale readings meet.
///
/// `settled`: our own clock counts as established too (it seeks to rejoin after a partition).
pub fn target(readings: &[Reading], settled: bool) -> Option<Target> {
    aim(readings, settled, |values, _| values.lower_median())
}

/// The same for a network that should have formed long since: where there is no established
/// network, the fault-tolerant midpoint instead of the median. That takes several jumps, but no
/// liars can keep the others apart for good by telling each something else.
pub fn meeting_point(readings: &[Reading]) -> Option<Target> {
    let liars = tolerated_liars(readings.len() + 1);
    if established(readings, false) {
        return target(readings, false);
    }
    aim(readings, false, |values, left_out| {
        values.midpoint_without(liars.saturating_sub(left_out))
    })
}

fn aim(
    readings: &[Reading],
    settled: bool,
    centre: impl Fn(&mut Sample, usize) -> Option<f64>,
) -> Option<Target> {
    let established = established(readings, settled);
    let counts = |r: &&Reading| r.ready || !established;
    let own = (settled || !established).then_some(0.0);
    let sample = |value: fn(&Reading) -> f64, own: Option<f64>| {
        let values = readings.iter().filter(counts).map(value).chain(own);
        values.collect::<Sample>()
    };
    let many = readings.len() >= CROWD;
    let centre = |mut values: Sample| {
        let left_out = if many { values.drop_far_out() } else { 0 };
        centre(&mut values, left_out)
    };
    let mut others = sample(|r| r.offset, None);
    let scatter = others.lower_median().map(|median| others.spread(median))?;
    let reach = sample(|r| 0.5 * (r.upper - r.lower), None).lower_median()?;
    let mut rate_sigmas = sample(|r| r.rate_sigma, None);
    let together = MEDIAN / (rate_sigmas.len() as f64).sqrt();
    Some(Target {
        sigma: sample(|r| r.sigma, None).lower_median()?,
        rate_sigma: rate_sigmas.lower_median()? * together.min(1.0),
        scatter,
        reach,
        unknown: if scatter <= reach {
            MEDIAN * scatter / (others.len() as f64).sqrt()
        } else {
            0.0
        },
        offset: centre(sample(|r| r.offset, own))?,
        rate: centre(sample(|r| r.rate, own))?,
        crowd: many && !established,
    })
}

/// Whether at least half of all the clocks that are heard, new ones included, are within `reach`
/// of ours (ns): before that, a network that is only forming has no common time to vouch for.
pub fn majority_within(readings: &[Reading], reach: f64) -> bool {
    let near = readings.iter().filter(|r| r.offset.abs() <= reach).count();
    2 * near >= readings.len()
}

/// The typical oscillator around us, as a fraction against our own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OscillatorCentre {
    /// The median of the oscillators around us and our own.
    pub rate: f64,
    /// One sigma of how far that may be from the median of all the network's oscillators.
    pub sigma: f64,
}

/// What the frequency of the virtual clock is leashed to. With fewer than four oscillators nobody
/// can be outvoted, and there is none.
pub fn oscillator_centre(readings: &[Reading]) -> Option<OscillatorCentre> {
    let mut rates: Sample = readings.iter().map(|r| r.raw_rate).chain([0.0]).collect();
    let rate = rates.lower_median().filter(|_| rates.len() >= 4)?;
    let sigma = MEDIAN * rates.spread(rate) / (rates.len() as f64).sqrt();
    Some(OscillatorCentre { rate, sigma })
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::reading;
    use super::*;

    #[test]
    fn an_established_majority_is_joined_not_averaged() {
        let mut readings = [1e6, 1e6 + 10.0, 1e6 - 10.0, -5e8, 3e8].map(reading);
        readings[3].ready = false;
        readings[4].ready = false;
        assert_eq!(target(&readings, false).unwrap().offset, 1e6);
    }

    #[test]
    fn how_far_apart_the_others_seem_is_known_and_what_paths_leave_open() {
        // Five new clocks: median 0, deviations 0, 1, 1, 2, 3 (× 1000).
        let mut readings = [0.0, 1e3, -1e3, 2e3, -3e3].map(reading);
        for r in &mut readings {
            (r.ready, r.lower, r.upper) = (false, r.offset - 5e3, r.offset + 5e3);
        }
        let target = target(&readings, false).unwrap();
        assert_eq!((target.offset, target.reach), (0.0, 5e3));
        assert!((1e3..2.3e3).contains(&target.scatter), "{target:?}");
        let of_the_median = 1.2533 * target.scatter / 5f64.sqrt();
        assert!((target.unknown - of_the_median).abs() < 1e-9);
    }

    #[test]
    fn one_liar_cannot_pose_as_the_established_network() {
        let mut readings = [1e9, 100.0, 200.0, 300.0].map(reading);
        readings[1..].iter_mut().for_each(|r| r.ready = false);
        assert_eq!(target(&readings, false).unwrap().offset, 200.0);
    }

    #[test]
    fn liars_and_the_first_to_arrive_are_not_the_established_network() {
        // Twelve clocks: three liars, one honest clock synchronized, the others still joining.
        let mut readings = [1e9; 11].map(reading);
        for (r, offset) in readings[3..]
            .iter_mut()
            .zip([0.0, 1e3, 2e3, -1e3, 5e2, 0.0, 0.0, 0.0])
        {
            *r = reading(offset);
            r.ready = false;
        }
        readings[3].ready = true;
        assert!(!established(&readings, false));
        assert!(target(&readings, false).unwrap().offset.abs() < 5e3);
        // Nor do they become so by answering late, which widens their own intervals only.
        readings[..3].iter_mut().for_each(|r| r.lower = -1e9);
        assert!(!established(&readings, false));
        // Four that agree cannot all be lying.
        readings[4..7].iter_mut().for_each(|r| r.ready = true);
        assert!(established(&readings, false));
    }

    #[test]
    fn liars_who_are_ready_first_do_not_lead_a_crowd() {
        // Of twenty, eight call themselves synchronized, a bit ahead: more than can be lying.
        let mut readings = [0.0; 20].map(reading);
        for (n, r) in readings.iter_mut().enumerate() {
            let offset = if n < 8 { 50.0 } else { n as f64 - 14.0 };
            *r = reading(offset);
            r.ready = n < 8;
        }
        assert!(!established(&readings, false));
        let target = target(&readings, false).unwrap();
        assert!(target.crowd && target.offset.abs() <= 3.0, "{target:?}");
        // Where newcomers are anywhere, those who agree are in the middle all the same.
        for (n, r) in readings.iter_mut().enumerate().skip(8) {
            *r = reading((n as f64 - 14.0) * 1e8);
            r.ready = false;
        }
        assert_eq!(super::target(&readings, false).unwrap().offset, 50.0);
        // Nor does a crowd outvote who has settled.
        readings[8..].iter_mut().for_each(|r| *r = reading(-1e9));
        readings[8..].iter_mut().for_each(|r| r.ready = false);
        assert!(established(&readings, true));
    }

    #[test]
    fn a_crowd_of_newcomers_does_not_count_against_the_settled() {
        let mut readings = [0.0, 5.0, -5e8, -5e8, -5e8, -5e8].map(reading);
        readings[2..].iter_mut().for_each(|r| r.ready = false);
        assert!(established(&readings, true));
        assert!(target(&readings, true).unwrap().offset.abs() < 10.0);
    }

    #[test]
    fn halves_of_a_healed_partition_agree_who_moves() {
        // Four clocks at 0, four at +1 ms, all settled. Those behind stay, those ahead move.
        let behind = [0.0, 0.0, 0.0, 1e6, 1e6, 1e6, 1e6].map(reading);
        let ahead = [0.0, 0.0, 0.0, -1e6, -1e6, -1e6, -1e6].map(reading);
        assert_eq!(target(&behind, true).unwrap().offset, 0.0);
        assert_eq!(target(&ahead, true).unwrap().offset, -1e6);
    }
}

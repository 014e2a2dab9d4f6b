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
    /// The median frequency minus ours, as a fraction.
    pub rate: f64,
    /// Typical sigma of the rates it rests on.
    pub rate_sigma: f64,
}

/// The lower median of the network, or `None` without readings.
///
/// If more neighbours are synchronized than could be lying, only they count: an established
/// network is joined, not moved. Otherwise everybody is new and everybody counts, ourselves
/// included; the lower median does not move while others move onto it, so even nodes that act
/// on stale readings meet.
///
/// `settled`: our own clock counts as established too (it seeks to rejoin after a partition).
pub fn target(readings: &[Reading], settled: bool) -> Option<Target> {
    let ready = readings.iter().filter(|r| r.ready).count();
    let established = ready > tolerated_liars(readings.len() + 1);
    let counts = |r: &&Reading| r.ready || !established;
    let own = (settled || !established).then_some(0.0);
    let median = |value: fn(&Reading) -> f64, own: Option<f64>| {
        let values = readings.iter().filter(counts).map(value).chain(own);
        values.collect::<Sample>().lower_median()
    };
    Some(Target {
        sigma: median(|r| r.sigma, None)?,
        rate_sigma: median(|r| r.rate_sigma, None)?,
        offset: median(|r| r.offset, own)?,
        rate: median(|r| r.rate, own)?,
    })
}

/// Whether at least half of all the clocks that are heard, new ones included, are within `reach`
/// of ours (ns): before that, a network that is only forming has no common time to vouch for.
pub fn majority_within(readings: &[Reading], reach: f64) -> bool {
    let near = readings.iter().filter(|r| r.offset.abs() <= reach).count();
    2 * near >= readings.len()
}

/// The median of the oscillators around us and our own, against our own: what the frequency of the
/// virtual clock is leashed to. With fewer than four nobody can be outvoted, and there is none.
pub fn oscillator_centre(readings: &[Reading]) -> Option<f64> {
    let mut rates: Sample = readings.iter().map(|r| r.raw_rate).chain([0.0]).collect();
    (rates.len() >= 4).then(|| rates.lower_median())?
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
    fn one_liar_cannot_pose_as_the_established_network() {
        let mut readings = [1e9, 100.0, 200.0, 300.0].map(reading);
        readings[1..].iter_mut().for_each(|r| r.ready = false);
        assert_eq!(target(&readings, false).unwrap().offset, 200.0);
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

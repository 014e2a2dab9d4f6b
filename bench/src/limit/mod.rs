//! How near to the limit: the least error that any estimator can have in a scenario.
//!
//! The problem is that of the whole network at once, causally: all packets so far, oscillators that
//! wander, and the question how far each clock is off the mean of all. What a clock does with the
//! answer is not limited: it may steer at once.
//!
//! | noise | limit | how |
//! |---|---|---|
//! | Gaussian | exact | the Kalman filter is the best estimator; its Riccati equation runs along the exchanges ([`filter`]), in closed form for regular networks ([`closed`]) |
//! | exponential | what the best known estimator reaches, a filter that sees every packet of the network | simulated ([`filter`]); the exact least error, sampled from the true posterior ([`posterior`]), agrees within a per cent |
//! | others | an indication | the nearest of the two ([`scenario`]) |
//!
//! Beside it stands a bound that no argument can doubt: what a host could know if a genie told it
//! the clocks of all others. It is a little lower, by as much as the others' errors count.

pub mod closed;
pub mod filter;
pub mod moments;
pub mod posterior;
pub mod problem;
pub mod scenario;
pub mod world;

use serde::Serialize;

use crate::units::Fraction;
use filter::Update;
pub use problem::{Floors, Natural, Noise, Pair, Problem};
pub use scenario::of;

/// Networks larger than this are represented by one of this size: a dense filter takes the square
/// of the hosts for each packet.
const MOST_HOSTS: usize = 48;

/// Makes the fate of the networks that are simulated.
const SEED: u64 = 1;

/// Why there is no limit.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// The problem makes no sense.
    #[error("no limit: {0}")]
    Problem(String),
    /// The posterior can be sampled for exponential delays only.
    #[error("the exact limit can be sampled for exponential delays only")]
    NotOneSided,
    /// The posterior can be sampled for known floors only.
    #[error("the exact limit can be sampled only if the least delays are known")]
    FloorsUnknown,
}

/// What a limit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing can be better.
    Exact,
    /// The best estimator known reaches it, and sampling shows that hardly anything can be better.
    Best,
    /// Of a scenario that resembles this one.
    Indication,
}

/// The least error that is possible.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// Root mean square, over hosts and time, of (clock − mean of all clocks), ns.
    pub rms_ns: f64,
    /// What it is worth.
    pub kind: Kind,
    /// How it was found, and what was left out.
    pub how: String,
    /// The limit of those who use only the variance of the delays, as means and regressions do, ns.
    pub variance_ns: f64,
    /// The limit of a host that knows all other clocks, ns.
    pub genie_ns: f64,
    /// The scales of one-sided noise.
    pub natural: Option<Natural>,
}

impl Limit {
    /// The limit of `problem`.
    ///
    /// # Errors
    /// [`LimitError::Problem`].
    pub fn of(problem: &Problem) -> Result<Self, LimitError> {
        problem.check()?;
        let smaller = problem.represented(MOST_HOSTS);
        let stands = smaller.as_ref().unwrap_or(problem);
        let variance_ns = filter::run(stands, Update::Variance, SEED).claimed_ns;
        let (rms_ns, kind, mut how) = match problem.noise {
            Noise::Gaussian(_) => (
                variance_ns,
                Kind::Exact,
                "Kalman filter of all packets".to_owned(),
            ),
            Noise::Exponential(_) => (
                filter::run(stands, Update::OneSided, SEED).claimed_ns,
                Kind::Best,
                "truncated-Gaussian filter of all packets, simulated".to_owned(),
            ),
        };
        if smaller.is_some() {
            how += &format!(
                ", in a network of {MOST_HOSTS} hosts with as many neighbours and packets a host"
            );
        }
        Ok(Self {
            rms_ns,
            kind,
            how,
            variance_ns,
            genie_ns: genie(problem),
            natural: problem.natural(),
        })
    }
}

/// What a host could know of (own clock − mean of all) if it were told all other clocks.
///
/// Two hosts with half the variance each wander apart like one does from the truth. Hosts with more
/// packets than others gain less than those with fewer lose, so the mean rate gives a lower bound.
fn genie(problem: &Problem) -> f64 {
    let hosts = problem.hosts as f64;
    let exchanges = 2.0 * problem.exchanges() / hosts;
    let share = |fraction: Fraction| Fraction(fraction.0 / 2f64.sqrt());
    let alone = Problem {
        white: share(problem.white),
        stamp: problem.stamp,
        ..Problem::mesh(2, exchanges, problem.noise, share(problem.wander))
    };
    let update = match problem.noise {
        Noise::Exponential(_) => Update::OneSided,
        Noise::Gaussian(_) => Update::Variance,
    };
    // Each of the two is off their mean by half the difference; a host moves the mean, too.
    2.0 * filter::run(&alone, update, SEED).claimed_ns * (1.0 - 1.0 / hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    fn lan(hosts: usize, exchanges: f64) -> Problem {
        let noise = Noise::Exponential(Nanos(1000.0));
        Problem::mesh(hosts, exchanges, noise, Fraction(1e-9))
    }

    #[test]
    fn the_limits_are_in_order() {
        let limit = Limit::of(&lan(5, 10.0)).unwrap();
        assert!(limit.genie_ns < limit.rms_ns, "{limit:?}");
        assert!(limit.rms_ns < 1.4 * limit.genie_ns, "{limit:?}");
        assert!(limit.rms_ns < 0.4 * limit.variance_ns, "{limit:?}");
        assert_eq!(limit.kind, Kind::Best);
    }

    #[test]
    fn in_natural_units_the_limit_is_a_constant() {
        let constant = |mean: f64, exchanges: f64, wander: f64| {
            let noise = Noise::Exponential(Nanos(mean));
            let problem = Problem::mesh(3, exchanges, noise, Fraction(wander));
            let limit = Limit::of(&problem).unwrap();
            limit.rms_ns / limit.natural.unwrap().error_ns
        };
        let first = constant(1000.0, 30.0, 1e-9);
        for (mean, exchanges, wander) in [(1e5, 3.0, 1e-9), (3000.0, 20.0, 1e-8)] {
            let other = constant(mean, exchanges, wander);
            assert!((other / first - 1.0).abs() < 0.05, "{other} {first}");
        }
    }

    #[test]
    fn large_networks_are_represented_by_smaller_ones() {
        let large = lan(60, 60.0);
        let stands = large.represented(12).unwrap();
        assert!(stands.check().is_ok());
        assert_eq!(stands.hosts, 12);
        assert!((stands.exchanges() / 12.0 - 1.0).abs() < 1e-9);
        // Sparse networks stay sparse.
        let ring = Problem {
            pairs: (0..60)
                .flat_map(|a| [1, 2].map(|step| (a, (a + step) % 60)))
                .map(|hosts| Pair {
                    hosts,
                    exchanges: 0.5,
                })
                .collect(),
            ..lan(60, 60.0)
        };
        let stands = ring.represented(20).unwrap();
        assert_eq!(stands.pairs.len(), 40);
        assert!((stands.exchanges() / 20.0 - 1.0).abs() < 1e-9);
        assert!(lan(12, 1.0).represented(12).is_none());
    }
}

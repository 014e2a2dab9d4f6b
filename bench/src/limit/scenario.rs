//! A scenario as a problem of estimation.

use super::problem::{Noise, Problem};
use super::{Kind, Limit, LimitError};
use crate::scenario::Scenario;
use crate::sim::Delay;
use crate::units::{Fraction, Nanos};

/// The limit of a scenario: of all that lasts in it. What happens on the way, what liars do and what
/// routes and queues change is left out, since no bound is known for it; the limit is an indication
/// then and says so.
///
/// # Errors
/// [`LimitError::Problem`], for instance for oscillators that do not wander.
pub fn of(scenario: &Scenario) -> Result<Limit, LimitError> {
    let (problem, left_out) = problem(scenario);
    let mut limit = Limit::of(&problem)?;
    if !left_out.is_empty() {
        limit.kind = Kind::Indication;
        limit.how += &format!("; {}", left_out.join("; "));
    }
    Ok(limit)
}

/// The estimation problem nearest to a scenario, and where they differ.
pub fn problem(scenario: &Scenario) -> (Problem, Vec<String>) {
    let mut left_out = Vec::new();
    let mut leave = |is: bool, what: &str| {
        if is {
            left_out.push(what.to_owned());
        }
    };
    let liars: usize = scenario.liars.iter().map(|deceit| deceit.count).sum();
    let hosts = scenario.hosts - liars;
    leave(liars > 0, "without the liars");
    leave(!scenario.events.is_empty(), "without events");
    let paths = &scenario.paths;
    let asymmetric = paths.asymmetry.0 > 0.0 || paths.access_asymmetry.0 > 0.0;
    leave(asymmetric, "without asymmetries, which nobody can see");
    leave(paths.routes.is_some(), "on one route");
    leave(paths.congestion.is_some(), "without congestion");
    leave(scenario.oscillator.flicker.0 > 0.0, "without flicker");
    leave(
        scenario.stamps.late.0 > 0.0,
        "with late stamps as stamp noise",
    );
    leave(scenario.stamps.tick.0 > 1.0, "with ticks as stamp noise");
    let noise = match paths.delay {
        Delay::Exponential { mean, .. } => Noise::Exponential(mean),
        Delay::Gaussian { sigma, .. } => Noise::Gaussian(sigma),
        // Only how many packets come close to the least delay counts: the density there.
        Delay::Pareto { scale, shape, .. } => {
            leave(true, "exponential delay of the same density at the floor");
            Noise::Exponential(Nanos(scale.0 / shape))
        }
        // There is no edge, but the likelihood is smooth: its Fisher information about a shift,
        // e^(2σ²)(1 + 1/σ²)/median².
        Delay::Lognormal { median, sigma, .. } => {
            leave(true, "Gaussian delay of the same Fisher information");
            let square = sigma * sigma;
            Noise::Gaussian(Nanos(
                median.0 * (-square).exp() / (1.0 + 1.0 / square).sqrt(),
            ))
        }
    };
    let exchange = &scenario.exchange;
    let neighbours = exchange.neighbours.min(hosts.saturating_sub(1));
    // A pair polls in turns; an exchange takes both packets.
    let arrive = (1.0 - paths.loss) * (1.0 - paths.loss);
    let each = f64::from(exchange.burst) / exchange.poll.as_secs() * arrive;
    let pairs = hosts as f64 * neighbours as f64 / 2.0;
    let sparse = Problem::sparse(
        hosts,
        neighbours,
        pairs * each,
        noise,
        scenario.oscillator.wander,
    );
    let problem = Problem {
        stamp: Nanos(scenario.stamps.sigma().hypot(scenario.stamps.late.0)),
        white: Fraction(scenario.oscillator.white.0),
        ..sparse
    };
    (problem, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::find;
    use crate::sim::Deceit;

    #[test]
    fn the_star_budget_is_seven_exchanges_a_second() {
        let scenario = find("lan-exponential-star").unwrap();
        let (problem, left_out) = problem(&scenario);
        assert!(left_out.is_empty(), "{left_out:?}");
        assert_eq!(problem.pairs.len(), 28);
        // 28 pairs, two exchanges every 8.3 s each.
        assert!((problem.exchanges() - 28.0 * 2.0 / 8.3).abs() < 1e-9);
        assert_eq!(problem.noise, Noise::Exponential(Nanos(1000.0)));
    }

    #[test]
    fn what_is_left_out_is_said() {
        let mut scenario = find("lan-exponential").unwrap();
        scenario.hosts = 9;
        scenario.liars = vec![Deceit {
            count: 2,
            ..Deceit::default()
        }];
        scenario.paths.delay = Delay::Lognormal {
            least: Nanos(1e4),
            median: Nanos(1000.0),
            sigma: 1.0,
        };
        let (problem, left_out) = problem(&scenario);
        assert_eq!(problem.hosts, 7);
        // 1000·e⁻¹/√2.
        assert!((problem.noise.sigma() - 260.1).abs() < 0.1);
        assert_eq!(left_out.len(), 2, "{left_out:?}");
    }
}

//! A link estimator that says how well it foresaw each exchange.

use parisync::link::estimators::{AnyEstimator, EstimatorKind};
use parisync::link::{
    Belief, Direction, Exchange, Interval, LinkEstimator, OscillatorSpec, Posterior,
};

/// Exchanges of a link that are not judged: nobody foresees anything yet.
const WARM_UP: u64 = 16;

/// An exchange is of low delay if it took at most this share of the mean excess longer than the
/// least delay: its offset is then close to the truth, whatever the path does at other times.
const LOW: f64 = 0.25;

/// The share of an exchange in the mean excess.
const GAIN: f64 = 1.0 / 32.0;

/// What was foreseen of the last exchange of a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Foresight {
    /// Number of the exchange on its link.
    pub(super) exchange: u64,
    /// What was measured minus what was expected, ns.
    pub(super) residual: f64,
    /// One sigma of what was expected, ns.
    pub(super) sigma: f64,
    /// The exchange was of low delay, and the link was warm.
    pub(super) low_delay: bool,
}

/// Any estimator, and what it foresaw.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    within: AnyEstimator,
    exchanges: u64,
    least: f64,
    excess: f64,
    last: Option<Foresight>,
}

impl Judged {
    /// What was foreseen of the last exchange, if anything was.
    pub(super) const fn last(&self) -> Option<Foresight> {
        self.last
    }

    /// Exchanges so far.
    pub(super) const fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Before an exchange is taken in: what was expected of it.
    fn foresee(&mut self, exchange: &Exchange) {
        self.exchanges += 1;
        self.least = self.least.min(exchange.half_delay);
        let excess = exchange.half_delay - self.least;
        self.excess += GAIN.max(1.0 / self.exchanges as f64) * (excess - self.excess);
        let low_delay = self.exchanges > WARM_UP && excess <= LOW * self.excess;
        self.last = self.within.at(exchange.at).map(|belief| Foresight {
            exchange: self.exchanges,
            residual: exchange.offset - belief.offset,
            sigma: belief.offset_sigma,
            low_delay,
        });
    }
}

impl LinkEstimator for Judged {
    type Kind = EstimatorKind;

    fn new(kind: EstimatorKind, spec: &OscillatorSpec) -> Self {
        Self {
            within: AnyEstimator::new(kind, spec),
            exchanges: 0,
            least: f64::INFINITY,
            excess: 0.0,
            last: None,
        }
    }

    fn direction(&mut self, direction: &Direction) {
        self.within.direction(direction);
    }

    fn update(&mut self, exchange: &Exchange) {
        self.foresee(exchange);
        self.within.update(exchange);
    }

    fn told(&mut self, exchange: &Exchange) -> Option<Posterior> {
        self.foresee(exchange);
        self.within.told(exchange)
    }

    fn at(&self, at: f64) -> Option<Belief> {
        self.within.at(at)
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        self.within.confine(at, interval);
    }
}

#[cfg(test)]
mod tests {
    use parisync::link::{Link, OneWay};
    use parisync::time::{RawTime, Span};

    use super::*;

    /// An exchange at second `n` over a path that is 10 µs long, and `slow` ns more on the way out;
    /// the peer's clock is ours.
    fn exchange<E: LinkEstimator>(link: &mut Link<E>, n: i64, slow: i64) {
        let at = |ns: i64| RawTime::from_nanos(n * 1_000_000_000 + ns);
        let forward = OneWay::forward(at(0), at(10_000 + slow), Span::ZERO);
        let reverse = OneWay::reverse(at(50_000), at(60_000), Span::ZERO);
        link.limit(&forward);
        link.limit(&reverse);
        link.exchange(&forward, &reverse);
    }

    #[test]
    fn judged_is_the_estimator_within_and_foresees_what_it_would_have() {
        for kind in EstimatorKind::ALL {
            judged_is(kind);
        }
    }

    fn judged_is(kind: EstimatorKind) {
        let spec = OscillatorSpec::default();
        let mut judged: Link<Judged> = Link::new(kind, spec);
        let mut plain: Link<AnyEstimator> = Link::new(kind, spec);
        for n in 0..40 {
            let slow = if n % 4 == 0 { 0 } else { 4_000 };
            let at = RawTime::from_nanos(n * 1_000_000_000);
            let before = plain.estimate(at);
            exchange(&mut judged, n, slow);
            exchange(&mut plain, n, slow);
            let now = RawTime::from_nanos(n * 1_000_000_000 + 100_000);
            assert_eq!(judged.estimate(now), plain.estimate(now), "{kind}");
            let last = judged.estimator().last();
            assert_eq!(
                last.is_some(),
                before.is_some(),
                "nothing is foreseen of the first"
            );
            if let Some(last) = last {
                assert_eq!(last.exchange, n as u64 + 1);
                assert_eq!(last.low_delay, n >= 16 && slow == 0, "{n}");
                // What is slow on the way out seems half as much ahead; the truth is zero.
                let seen = slow as f64 / 2.0;
                let believed = seen - last.residual;
                assert!(
                    kind != EstimatorKind::Kalman
                        || n < 16
                        || (-1_000.0..2_000.0).contains(&believed),
                    "{n} {last:?}"
                );
                assert!(last.sigma > 0.0);
            }
        }
        assert_eq!(judged.estimator().exchanges(), 40);
    }
}

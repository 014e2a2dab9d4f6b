//! How likely it is that a guarantee's premise does not hold.

/// The probability that more than `tolerated` of `sampled` neighbours lie when each does so with
/// probability `share`, independently of the others: the upper tail of a binomial distribution,
/// `Σ_{k>f} C(n,k) p^k (1−p)^(n−k)`.
///
/// It is what a guaranteed bound leaves open: neighbours drawn at random from a network with this
/// share of liars may by bad luck be worse than any rule can stand. `share` is held within 0 to 1.
pub fn liar_risk(sampled: usize, tolerated: usize, share: f64) -> f64 {
    let share = share.clamp(0.0, 1.0);
    if tolerated >= sampled || share == 0.0 {
        return 0.0;
    }
    if share == 1.0 {
        return 1.0;
    }
    // From the largest count down: the terms of the tail are added from small to large, and nothing
    // close to one is subtracted from one.
    let odds = (1.0 - share) / share;
    let mut term = share.powi(i32::try_from(sampled).unwrap_or(i32::MAX));
    let mut tail = term;
    for k in (tolerated + 1..sampled).rev() {
        term *= odds * (k + 1) as f64 / (sampled - k) as f64;
        tail += term;
    }
    tail.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_hand() {
        // More than none of two: 1 − 0.9² = 0.19. More than one of three at one half: 4 of 8 ways.
        assert!((liar_risk(2, 0, 0.1) - 0.19).abs() < 1e-15);
        assert!((liar_risk(3, 1, 0.5) - 0.5).abs() < 1e-15);
        assert!((liar_risk(1, 0, 0.25) - 0.25).abs() < 1e-15);
    }

    #[test]
    fn sixteen_neighbours_of_which_five_are_tolerated() {
        // P(X > 5), X ~ Binomial(16, p), to the figures printed in tables of that distribution.
        for (share, risk) in [(0.1, 0.003_30), (0.2, 0.081_69), (0.3, 0.340_22)] {
            let found = liar_risk(16, 5, share);
            assert!((found - risk).abs() < 5e-6, "{share}: {found}");
        }
    }

    #[test]
    fn thirty_two_neighbours_under_a_median() {
        for (share, risk) in [(0.1, 1.2e-8), (0.2, 1.4e-4), (0.3, 1.4e-2)] {
            let found = liar_risk(32, 15, share);
            assert!((found / risk - 1.0).abs() < 0.1, "{share}: {found}");
        }
    }

    #[test]
    fn the_edges_are_certain() {
        assert_eq!(liar_risk(16, 16, 0.4), 0.0);
        assert_eq!(liar_risk(16, 5, 0.0), 0.0);
        assert_eq!(liar_risk(16, 5, 1.0), 1.0);
        assert_eq!(liar_risk(0, 0, 0.3), 0.0);
        assert!((liar_risk(64, 0, 0.499) - 1.0).abs() < 1e-12);
    }
}

//! Every scenario that comes with the bench, with the default strategies, against its limits.
//!
//! `parisync-bench estimators --check` prints the same figures beside their limits.

#![forbid(unsafe_code)]

use std::num::NonZeroUsize;

use parisync_bench::estimators::check;
use parisync_bench::scenario::shipped;

#[test]
fn the_default_strategies_keep_every_limit() {
    let scenarios = shipped().unwrap();
    let asking = scenarios.iter().filter(|s| s.limits.rms.is_some()).count();
    assert!(asking >= 40, "only {asking} ask for a precision");
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let broken: Vec<String> = check(&scenarios, threads)
        .iter()
        .filter(|check| !check.kept)
        .map(|check| {
            format!(
                "{}: {} is {} with seed {}, limit {:?}",
                check.scenario, check.figure, check.value, check.seed, check.limit
            )
        })
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

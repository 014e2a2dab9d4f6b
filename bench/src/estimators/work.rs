//! Many independent simulations on all processors.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::progress::Progress;
use crate::scenario::Scenario;

/// Carries out `jobs` on `threads` threads; results come in the order of the jobs.
///
/// `cost` tells how long a job takes in proportion to others: the longest begin first, so that all
/// threads end at about the same time, and progress counts it.
pub(super) fn all<J: Sync, R: Send>(
    jobs: &[J],
    threads: NonZeroUsize,
    progress: &Progress,
    cost: impl Fn(&J) -> u64 + Sync,
    run: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&job| std::cmp::Reverse(cost(&jobs[job])));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                while let Some(&job) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run(&jobs[job]);
                    progress.advance(cost(&jobs[job]));
                    // Whoever panics with the lock held ends the whole scope anyway.
                    if let Ok(mut done) = done.lock() {
                        done.push((job, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(job, _)| *job);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How long a run of `scenario` takes, in hundreds of messages or so.
pub(super) fn cost(scenario: &Scenario) -> u64 {
    let neighbours = scenario.exchange.neighbours.min(scenario.hosts - 1) as f64;
    let links = scenario.hosts as f64 * neighbours;
    let exchanges = f64::from(scenario.exchange.burst) / scenario.exchange.poll.as_secs();
    // A round a second looks at every neighbour, whatever came of them.
    (links * scenario.seconds * (0.5 + exchanges) / 100.0) as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_and_results_keep_their_order() {
        let jobs: Vec<u64> = (0..100).collect();
        let progress = Progress::hidden();
        for threads in [1, 2, 7] {
            let threads = NonZeroUsize::new(threads).unwrap();
            let squares = all(&jobs, threads, &progress, |job| *job, |job| job * job);
            assert_eq!(squares, jobs.iter().map(|j| j * j).collect::<Vec<_>>());
        }
        assert_eq!(progress.done(), 3 * 99 * 50);
    }
}

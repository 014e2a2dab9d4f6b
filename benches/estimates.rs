//! How long it takes to bring an estimate up to date: links, their estimators, and combining many.

mod work;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn estimates(c: &mut Criterion) {
    for piece in work::pieces() {
        let mut work = piece.settled();
        c.bench_function(&piece.name, |b| b.iter(&mut work));
    }
}

// Samples of half a millisecond: on a machine with other work most are not interrupted, so their
// median (`target/criterion/*/new/estimates.json`) holds where the mean does not.
criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(50));
    targets = estimates
}
criterion_main!(benches);

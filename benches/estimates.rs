//! How long it takes to bring an estimate up to date: links, their estimators, and combining many.

mod work;

use criterion::{Criterion, criterion_group, criterion_main};

fn estimates(c: &mut Criterion) {
    for piece in work::pieces() {
        let mut work = piece.settled();
        c.bench_function(&piece.name, |b| b.iter(&mut work));
    }
}

criterion_group!(benches, estimates);
criterion_main!(benches);

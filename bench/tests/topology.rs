//! Link structures hold to their published properties.

use parisync::time::Span;
use parisync::topology::overlay::{LookupKind, Structure};
use parisync_bench::topology::Network;

#[test]
fn lookups_find_the_owner() {
    for structure in Structure::ALL {
        for n in [50usize, 1000] {
            let mut network = Network::of(structure, 1);
            network.grow(n, Span::from_millis(100));
            network.run(Span::from_secs(60));
            let mut right = 0;
            let mut hops = 0;
            for _ in 0..200 {
                let from = network.anybody();
                let target = network.random_key();
                network.lookup(from, target, LookupKind::OWNER);
                network.run(Span::from_millis(50));
            }
            network.run(Span::from_secs(20));
            let done = network.take_done();
            for (_, outcome) in &done {
                let truth = network.owner(outcome.target);
                if outcome.own || outcome.found.map(|f| f.contact) == truth {
                    right += 1;
                }
                hops += outcome.found.map_or(0, |f| u32::from(f.hops));
            }
            println!(
                "{structure:?} n {n}: {right} of {} right, hops {:.2}, events {} traffic {:?}",
                done.len(),
                f64::from(hops) / done.len() as f64,
                network.events(),
                network.traffic()
            );
        }
    }
}

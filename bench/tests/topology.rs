//! Link structures hold to what was published of them. The limits leave room for other seeds;
//! `docs/topology.md` has the figures and the commands for larger networks.

use parisync::topology::overlay::Structure;
use parisync_bench::topology::measure::{churned, eclipse, evenness, hops, repaired};

#[test]
fn hops_and_tables_grow_as_published() {
    for structure in Structure::ALL {
        for nodes in [64usize, 256, 1024] {
            let row = hops(structure, nodes, 1);
            println!("{row:?}");
            assert_eq!(row.right, 1.0, "{row:?}");
            // Answers name many contacts, so that small networks take fewer steps.
            assert!(row.hops <= row.formula + 0.7, "{row:?}");
            let (log2, log16) = ((nodes as f64).log2(), (nodes as f64).log2() / 4.0);
            let most = match structure {
                Structure::Kademlia => 16.0 * log2,
                Structure::Chord => log2 + 16.0,
                Structure::Pastry => 15.0 * (log16 + 1.0) + 16.0,
                Structure::Can => 48.0,
            };
            assert!(row.links <= most, "{row:?}");
        }
    }
}

#[test]
fn lookups_survive_churn() {
    for structure in Structure::ALL {
        for (churn, least) in [(0.01, 0.97), (0.1, 0.9), (0.5, 0.5)] {
            let row = churned(structure, 200, churn, 1);
            println!("{row:?}");
            assert!(row.right >= least, "{row:?}");
        }
    }
}

#[test]
fn half_of_the_nodes_may_leave_at_once() {
    for structure in Structure::ALL {
        let rows = repaired(structure, 400, 1);
        rows.iter().for_each(|row| println!("{row:?}"));
        let last = rows.last().unwrap();
        assert!(last.right >= 0.98 && last.dead <= 0.02, "{last:?}");
        assert!(last.whole >= 0.99, "{last:?}");
    }
}

#[test]
fn draws_are_nearly_uniform() {
    for structure in Structure::ALL {
        let row = evenness(structure, 200, 1);
        println!("{row:?}");
        assert!(row.effective > 0.8 && row.effective > row.owner, "{row:?}");
    }
}

#[test]
fn an_attacker_gets_about_its_share_of_ids_and_no_more_than_its_blocks() {
    for structure in [Structure::Kademlia, Structure::Chord, Structure::Pastry] {
        let row = eclipse(structure, 400, 0.2, 4096, 0, 1);
        println!("{row:?}");
        assert!(row.drawn < 0.3, "{row:?}");
        // Few blocks: one neighbour of each at most.
        let row = eclipse(structure, 400, 0.2, 2, 16, 1);
        println!("{row:?}");
        assert!(row.drawn <= 2.0 / 16.0 + 0.02, "{row:?}");
        let own_rule = row.nearest;
        assert!(own_rule > row.drawn, "{row:?}");
    }
}

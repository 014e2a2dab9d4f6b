//! `parisync-bench topology`.

use clap::ValueEnum;
use parisync::present::text::columns;
use parisync::topology::overlay::Structure;

use super::BenchError;
use crate::output::{Format, show};
use crate::topology::{Row, measure};

/// What to measure of which structures.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// What to measure
    #[arg(value_enum)]
    what: What,
    /// Nodes; several sizes may be named
    #[arg(long, value_name = "N", num_args = 1.., default_values_t = [1000], value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    nodes: Vec<u32>,
    /// Structures; all by default
    #[arg(long, value_enum, value_name = "NAME", num_args = 1..)]
    structure: Vec<Name>,
    /// Shares of the nodes replaced in a minute
    #[arg(long, value_name = "SHARE", num_args = 1.., default_values_t = [0.01, 0.05, 0.1, 0.2, 0.5])]
    churn: Vec<f64>,
    /// The attacker's shares of ids
    #[arg(long, value_name = "SHARE", num_args = 1.., default_values_t = [0.05, 0.1, 0.2, 0.3])]
    ids: Vec<f64>,
    /// The attacker's address blocks; honest nodes are spread over 4096
    #[arg(long, value_name = "BLOCKS", num_args = 1.., default_values_t = [4, 4096], value_parser = clap::value_parser!(u32).range(1..))]
    blocks: Vec<u32>,
    /// Ids that the attacker placed next to each victim
    #[arg(long, value_name = "IDS", num_args = 1.., default_values_t = [0])]
    placed: Vec<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Lookups: steps, requests, tables, upkeep
    Hops,
    /// Lookups while nodes come and go
    Churn,
    /// Lookups after half of the nodes have left at once
    Repair,
    /// How even draws of neighbours are
    Draw,
    /// What an attacker gets of a victim's neighbours
    Eclipse,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Name {
    Kademlia,
    Chord,
    Pastry,
    Can,
}

impl Name {
    const fn structure(self) -> Structure {
        match self {
            Self::Kademlia => Structure::Kademlia,
            Self::Chord => Structure::Chord,
            Self::Pastry => Structure::Pastry,
            Self::Can => Structure::Can,
        }
    }
}

/// Measures and prints.
pub(super) fn run(options: &Options, format: Format) -> Result<(), BenchError> {
    let names = if options.structure.is_empty() {
        Name::value_variants().to_vec()
    } else {
        options.structure.clone()
    };
    let seed = options.seed;
    let each = || {
        let sizes = options.nodes.iter().map(|n| *n as usize);
        sizes.flat_map(|n| names.iter().map(move |name| (name.structure(), n)))
    };
    match options.what {
        What::Hops => tell(format, each().map(|(s, n)| measure::hops(s, n, seed))),
        What::Draw => tell(format, each().map(|(s, n)| measure::evenness(s, n, seed))),
        What::Repair => {
            let rows = each().flat_map(|(s, n)| measure::repaired(s, n, seed));
            tell(format, rows)
        }
        What::Churn => {
            let churn = |(s, n)| {
                let shares = options.churn.iter();
                shares.map(move |churn| measure::churned(s, n, *churn, seed))
            };
            tell(format, each().flat_map(churn))
        }
        What::Eclipse => {
            let mut attacks = Vec::new();
            for ids in &options.ids {
                for blocks in &options.blocks {
                    for placed in &options.placed {
                        attacks.push((*ids, *blocks, *placed));
                    }
                }
            }
            let eclipse = |(s, n)| {
                let attacks = attacks.iter();
                attacks.map(move |(ids, blocks, placed)| {
                    measure::eclipse(s, n, *ids, *blocks, *placed, seed)
                })
            };
            tell(format, each().flat_map(eclipse))
        }
    }
}

fn tell<R: Row>(format: Format, rows: impl Iterator<Item = R>) -> Result<(), BenchError> {
    let rows: Vec<R> = rows.collect();
    show(format, &rows, |rows| {
        let head: Vec<_> = R::HEAD.iter().map(|&name| name.to_owned()).collect();
        let right: Vec<_> = (1..head.len()).collect();
        let cells: Vec<_> = std::iter::once(head)
            .chain(rows.iter().map(Row::cells))
            .collect();
        columns(&cells, &right)
    })?;
    Ok(())
}

//! `parisync-bench topology`.

use clap::ValueEnum;
use parisync::present::text::columns;
use parisync::topology::overlay::Structure;

use super::BenchError;
use crate::output::{Format, show};
use crate::topology::measure;

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
        What::Hops => {
            let rows: Vec<_> = each().map(|(s, n)| measure::hops(s, n, seed)).collect();
            let head = "structure nodes hops published right requests links upkeep/min";
            show(format, &rows, |rows| {
                table(
                    head,
                    rows.iter().map(|r| {
                        vec![
                            r.structure.to_owned(),
                            r.nodes.to_string(),
                            format!("{:.2}", r.hops),
                            format!("{:.2}", r.formula),
                            percent(r.right),
                            format!("{:.1}", r.requests),
                            format!("{:.0}", r.links),
                            format!("{:.1}", r.upkeep),
                        ]
                    }),
                )
            })?;
        }
        What::Churn => {
            let rows: Vec<_> = each()
                .flat_map(|(s, n)| {
                    options
                        .churn
                        .iter()
                        .map(move |c| measure::churned(s, n, *c, seed))
                })
                .collect();
            let head = "structure nodes churn/min right nobody members messages/min";
            show(format, &rows, |rows| {
                table(
                    head,
                    rows.iter().map(|r| {
                        vec![
                            r.structure.to_owned(),
                            r.nodes.to_string(),
                            percent(r.churn),
                            percent(r.right),
                            percent(r.nobody),
                            percent(r.members),
                            format!("{:.0}", r.messages),
                        ]
                    }),
                )
            })?;
        }
        What::Repair => {
            let rows: Vec<_> = each()
                .flat_map(|(s, n)| measure::repaired(s, n, seed))
                .collect();
            let head = "structure nodes after_s right dead whole";
            show(format, &rows, |rows| {
                table(
                    head,
                    rows.iter().map(|r| {
                        vec![
                            r.structure.to_owned(),
                            r.nodes.to_string(),
                            r.after_s.to_string(),
                            percent(r.right),
                            percent(r.dead),
                            percent(r.whole),
                        ]
                    }),
                )
            })?;
        }
        What::Draw => {
            let rows: Vec<_> = each().map(|(s, n)| measure::evenness(s, n, seed)).collect();
            let head = "structure nodes effective owner lookups/draw";
            show(format, &rows, |rows| {
                table(
                    head,
                    rows.iter().map(|r| {
                        vec![
                            r.structure.to_owned(),
                            r.nodes.to_string(),
                            percent(r.effective),
                            percent(r.owner),
                            format!("{:.2}", r.lookups),
                        ]
                    }),
                )
            })?;
        }
        What::Eclipse => {
            let mut rows = Vec::new();
            for (structure, nodes) in each() {
                for ids in &options.ids {
                    for blocks in &options.blocks {
                        for placed in &options.placed {
                            let (ids, blocks, placed) = (*ids, *blocks, *placed);
                            rows.push(measure::eclipse(
                                structure, nodes, ids, blocks, placed, seed,
                            ));
                        }
                    }
                }
            }
            let head = "structure nodes ids blocks placed drawn worst nearest complete";
            show(format, &rows, |rows| {
                table(
                    head,
                    rows.iter().map(|r| {
                        vec![
                            r.structure.to_owned(),
                            r.nodes.to_string(),
                            percent(r.ids),
                            r.blocks.to_string(),
                            r.placed.to_string(),
                            percent(r.drawn),
                            percent(r.worst),
                            percent(r.nearest),
                            format!("{:.1}", r.complete),
                        ]
                    }),
                )
            })?;
        }
    }
    Ok(())
}

fn table(head: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: Vec<_> = head.split(' ').map(str::to_owned).collect();
    let right: Vec<_> = (1..head.len()).collect();
    let cells: Vec<_> = std::iter::once(head).chain(rows).collect();
    columns(&cells, &right)
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

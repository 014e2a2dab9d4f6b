//! The draw of neighbours through a link structure: near-uniform over the live network, so that
//! averaging mixes and nobody can choose to be somebody's neighbour.
//!
//! - [`Sampler`]: draws single nodes; keys nobody can foretell, disjoint paths, density corrected
//! - [`Neighbourhood`]: a slowly rotating part, a part drawn afresh each round, and a few near ones

mod neighbourhood;
mod sampler;

pub use neighbourhood::{Member, Neighbourhood, NeighbourhoodConfig, Role};
pub use sampler::{Drawn, Sampler};

//! What measurements come to, each one row of a table.

use serde::Serialize;

/// Lookups among nodes that stay.
#[derive(Debug, Clone, Serialize)]
pub struct Hops {
    /// The structure.
    pub structure: &'static str,
    /// Nodes.
    pub nodes: usize,
    /// Nodes asked one after the other to find the one in charge, on average.
    pub hops: f64,
    /// What was published: log₂ n (an upper limit), ½ log₂ n, log₁₆ n, (d/4) n^(1/d).
    pub formula: f64,
    /// The share of lookups that found the node in charge.
    pub right: f64,
    /// Requests a lookup, on average.
    pub requests: f64,
    /// Nodes in a table, on average.
    pub links: f64,
    /// Messages a node sends in a minute to keep it, on average.
    pub upkeep: f64,
}

/// Lookups while nodes come and go.
#[derive(Debug, Clone, Serialize)]
pub struct Churned {
    /// The structure.
    pub structure: &'static str,
    /// Nodes.
    pub nodes: usize,
    /// Share of the nodes replaced in a minute, without a word.
    pub churn: f64,
    /// The share of lookups that found the node in charge, of all that are members then.
    pub right: f64,
    /// The share that found nobody.
    pub nobody: f64,
    /// The share of the nodes that are members.
    pub members: f64,
    /// Messages a node sends in a minute.
    pub messages: f64,
}

/// Half of the nodes leave at once.
#[derive(Debug, Clone, Serialize)]
pub struct Repaired {
    /// The structure.
    pub structure: &'static str,
    /// Nodes before.
    pub nodes: usize,
    /// Seconds since.
    pub after_s: i64,
    /// The share of lookups that found the node in charge.
    pub right: f64,
    /// The share of dead entries in tables.
    pub dead: f64,
    /// The share of nodes that have the next living node of the ring (Chord, Pastry), of a
    /// bucket's sibling (Kademlia), or the right owners beyond their faces (CAN), as their link.
    pub whole: f64,
}

/// How even draws are.
#[derive(Debug, Clone, Serialize)]
pub struct Evenness {
    /// The structure.
    pub structure: &'static str,
    /// Nodes.
    pub nodes: usize,
    /// Nodes that draws are worth, as a share of all: 1 / (n Σ p²). 1 is uniform.
    pub effective: f64,
    /// The same for whoever is in charge of a random key.
    pub owner: f64,
    /// Lookups a draw.
    pub lookups: f64,
}

/// What an attacker gets of a victim's neighbours.
#[derive(Debug, Clone, Serialize)]
pub struct Eclipse {
    /// The structure.
    pub structure: &'static str,
    /// Nodes, all told.
    pub nodes: usize,
    /// The attacker's share of ids.
    pub ids: f64,
    /// Its address blocks.
    pub blocks: u32,
    /// Ids that it placed next to the victim, at what that costs.
    pub placed: usize,
    /// Its share of the neighbours that the draw chose.
    pub drawn: f64,
    /// Its largest share at one victim.
    pub worst: f64,
    /// Its share by the naive rule: the nodes with the nearest ids.
    pub nearest: f64,
    /// Neighbours drawn, of 16.
    pub complete: f64,
}

/// A row of a table for people.
pub trait Row: Serialize {
    /// Names of the columns.
    const HEAD: &'static [&'static str];

    /// The row's cells, as many.
    fn cells(&self) -> Vec<String>;
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

macro_rules! row {
    ($type:ty, $row:ident: $($name:literal = $cell:expr),+ $(,)?) => {
        impl Row for $type {
            const HEAD: &'static [&'static str] = &["structure", "nodes", $($name),+];

            fn cells(&self) -> Vec<String> {
                let $row = self;
                vec![$row.structure.to_owned(), $row.nodes.to_string(), $($cell),+]
            }
        }
    };
}

row!(Hops, r:
    "hops" = format!("{:.2}", r.hops),
    "published" = format!("{:.2}", r.formula),
    "right" = percent(r.right),
    "requests" = format!("{:.1}", r.requests),
    "links" = format!("{:.0}", r.links),
    "upkeep/min" = format!("{:.1}", r.upkeep),
);
row!(Churned, r:
    "churn/min" = percent(r.churn),
    "right" = percent(r.right),
    "nobody" = percent(r.nobody),
    "members" = percent(r.members),
    "messages/min" = format!("{:.0}", r.messages),
);
row!(Repaired, r:
    "after s" = r.after_s.to_string(),
    "right" = percent(r.right),
    "dead" = percent(r.dead),
    "whole" = percent(r.whole),
);
row!(Evenness, r:
    "effective" = percent(r.effective),
    "owner" = percent(r.owner),
    "lookups/draw" = format!("{:.2}", r.lookups),
);
row!(Eclipse, r:
    "ids" = percent(r.ids),
    "blocks" = r.blocks.to_string(),
    "placed" = r.placed.to_string(),
    "drawn" = percent(r.drawn),
    "worst" = percent(r.worst),
    "nearest" = percent(r.nearest),
    "complete" = format!("{:.1}", r.complete),
);

//! What each subject saw of its peers: `peers.csv`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RunError;
use super::table::{self, Rows};

/// What one subject saw of one peer over the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerRow {
    /// The node or daemon.
    pub subject: String,
    /// Its peer.
    pub peer: String,
    /// Exchanges that were completed.
    pub exchanges: u64,
    /// Exchanges that were not.
    pub lost: u64,
    /// The least delay there and back, ns.
    pub delay_min_ns: Option<f64>,
    /// The median delay, ns.
    pub delay_p50_ns: Option<f64>,
    /// The mean of the offsets it measured, less the truth where that is known, ns.
    pub offset_mean_ns: Option<f64>,
    /// Their standard deviation, ns.
    pub offset_stddev_ns: Option<f64>,
    /// The share of the time in which it went by this peer, from 0 to 1.
    pub used: Option<f64>,
    /// Anything else; empty for nothing.
    pub note: String,
}

impl PeerRow {
    /// A row with nothing measured yet.
    pub fn new(subject: &str, peer: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            peer: peer.to_owned(),
            exchanges: 0,
            lost: 0,
            delay_min_ns: None,
            delay_p50_ns: None,
            offset_mean_ns: None,
            offset_stddev_ns: None,
            used: None,
            note: String::new(),
        }
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        table::finite("delay_min_ns", self.delay_min_ns)?;
        table::finite("delay_p50_ns", self.delay_p50_ns)?;
        table::finite("offset_mean_ns", self.offset_mean_ns)?;
        table::finite("offset_stddev_ns", self.offset_stddev_ns)?;
        table::finite("used", self.used)
    }
}

/// Reads the rows back.
pub(super) fn read(path: &Path) -> Result<Vec<PeerRow>, RunError> {
    let mut rows = Rows::open(path, &[])?;
    let mut peers = Vec::new();
    while let Some((line, row)) = rows.next::<PeerRow>()? {
        row.check()
            .map_err(|what| RunError::corrupt(path, line, what))?;
        peers.push(row);
    }
    Ok(peers)
}

//! Is a record replayed to the last bit?

use std::path::{Path, PathBuf};

use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::link::estimators::AnyEstimator;
use parisync::node::{ClockView, Strategies};
use parisync::record::{Ending, Header, RawScale, Reader, Replay, Verdict};
use parisync::time::RawTime;
use serde::Serialize;

use super::ReplayError;

/// What verifying one record came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordRow {
    /// The file.
    pub file: PathBuf,
    /// The node, in short.
    pub node: String,
    /// The strategy for one link that was recorded.
    pub estimator: String,
    /// The strategy for many links that was recorded.
    pub combine: String,
    /// Lines read.
    pub lines: u64,
    /// Clocks compared.
    pub rounds: u64,
    /// From the first to the last clock, s.
    pub seconds: f64,
    /// Every clock was the same to the last bit.
    pub exact: bool,
    /// Where the replay first was not what had been recorded.
    pub difference: Option<String>,
    /// The line from which on something is missing.
    pub gap: Option<u64>,
    /// `closed`, `open` (the daemon runs on, or was killed) or `cut` (in the midst of a line).
    pub ending: &'static str,
}

/// A node's whole life.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) header: Header,
    pub(super) row: RecordRow,
    /// Every clock it showed, in the order of time.
    pub(super) clocks: Vec<(RawTime, ClockView)>,
}

impl Life {
    /// Whether its raw clock is the host's, and of which boot is known.
    pub(super) fn shares_the_clock(&self) -> bool {
        self.header.raw == RawScale::MonotonicRaw && self.header.boot.is_some()
    }
}

/// The strategies that a record names.
pub(super) fn strategies(header: &Header, path: &Path) -> Result<Strategies, ReplayError> {
    let unknown = |name: &str| ReplayError::Strategy {
        path: path.to_owned(),
        name: name.to_owned(),
        version: header.version.clone(),
    };
    let Header {
        estimator, combine, ..
    } = header;
    Ok(Strategies {
        estimator: estimator.parse().map_err(|_| unknown(estimator))?,
        combine: combine.parse().map_err(|_| unknown(combine))?,
    })
}

/// The combination of this kind, for the node of the record.
pub(super) fn combination(kind: CombineKind, header: &Header) -> AnyCombine {
    AnyCombine::new(kind, header.id.order_key())
}

/// Replays the record with the strategies it names.
pub(super) fn verify(path: &Path) -> Result<Life, ReplayError> {
    let reader = Reader::open(path)?;
    let header = reader.header().clone();
    let Strategies { estimator, combine } = strategies(&header, path)?;
    let mut replay =
        Replay::<_, AnyEstimator, _>::new(reader, estimator, combination(combine, &header));
    let mut clocks = Vec::new();
    for round in &mut replay {
        let round = round?;
        clocks.push((round.at, round.recorded));
    }
    let verdict = replay.verdict();
    let row = row(path, &header, &verdict, &clocks);
    Ok(Life {
        header,
        row,
        clocks,
    })
}

fn row(
    path: &Path,
    header: &Header,
    verdict: &Verdict,
    clocks: &[(RawTime, ClockView)],
) -> RecordRow {
    let span = match clocks {
        [(first, _), .., (last, _)] => (*last - *first).as_secs_f64(),
        _ => 0.0,
    };
    RecordRow {
        file: path.to_owned(),
        node: header.id.short(),
        estimator: header.estimator.clone(),
        combine: header.combine.clone(),
        lines: verdict.lines,
        rounds: verdict.rounds,
        seconds: span,
        exact: verdict.is_exact(),
        difference: verdict.difference.as_ref().map(ToString::to_string),
        gap: verdict.gap,
        ending: match verdict.ending {
            Ending::Closed => "closed",
            Ending::Open => "open",
            Ending::Cut(_) => "cut",
        },
    }
}

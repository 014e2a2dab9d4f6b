//! What a source of time says, and why it may not.

use serde::Serialize;

/// What a source says of the system clock at one instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// Who says so.
    pub source: String,
    /// The source minus `CLOCK_REALTIME`, ns.
    pub offset_ns: f64,
    /// The offset is off by no more than this, ns, as far as the source knows; none if it does not
    /// say.
    pub guaranteed_ns: Option<f64>,
    /// What the offset is off by in no more than one of a thousand cases, ns, as far as the source
    /// knows; none if it does not say.
    pub statistical_ns: Option<f64>,
    /// What else there is to know, in a few words.
    pub detail: String,
    /// When that was, `CLOCK_MONOTONIC_RAW`, ns.
    #[serde(rename = "mono_raw_ns")]
    pub at: i64,
}

/// Why a source says nothing, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Of which source.
    pub source: String,
    /// One line.
    pub what: String,
    /// It has asked not to be asked again.
    pub forever: bool,
}

/// Something that has an opinion about the time.
pub trait Source: Send {
    /// What it is called in tables.
    fn name(&self) -> &str;

    /// Asks it. Some say several things at once.
    ///
    /// # Errors
    /// It has no answer; it will be asked again unless that is useless.
    fn read(&mut self) -> Result<Vec<Reading>, Trouble>;
}

/// Trouble of `source` that may pass.
pub(super) fn trouble(source: &str, what: impl ToString) -> Trouble {
    Trouble {
        source: source.to_owned(),
        what: what.to_string(),
        forever: false,
    }
}

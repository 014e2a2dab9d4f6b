//! The clock of a network card as a source.

use hwts::Domain;
use hwts::clock::Phc;
use parisync::discipline::TAI_MINUS_UTC;

use super::source::{Reading, Source, Trouble, trouble};

/// Cards keep TAI by the standard (IEEE 1588) and often UTC by habit; what is nearer than this to
/// TAI counts as TAI, ns.
const NEAR: i64 = 500_000_000;

/// A hardware clock, opened when it is read.
#[derive(Debug)]
pub struct PhcSource {
    name: String,
    path: String,
    phc: Option<Phc>,
}

impl PhcSource {
    /// The clock behind a device such as `/dev/ptp0`.
    pub fn new(path: &str) -> Self {
        Self {
            name: format!("phc:{}", path.strip_prefix("/dev/").unwrap_or(path)),
            path: path.to_owned(),
            phc: None,
        }
    }
}

impl Source for PhcSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self) -> Result<Vec<Reading>, Trouble> {
        let failed = |error| trouble(&self.name, error);
        let mut phc = match self.phc.take() {
            Some(phc) => phc,
            None => Phc::open(&self.path).map_err(failed)?,
        };
        let read = phc.cross_read().map_err(failed)?;
        let at = Domain::MonotonicRaw.now();
        let (scale, offset) = on_utc(read.b.saturating_sub(read.a));
        let detail = format!("{scale}, by {}", phc.method());
        self.phc = Some(phc);
        Ok(vec![Reading {
            source: self.name.clone(),
            offset_ns: offset as f64,
            guaranteed_ns: Some(read.error as f64),
            statistical_ns: None,
            detail,
            at,
        }])
    }
}

/// Which scale a clock keeps that is so far ahead of the system clock, and how far it is ahead on
/// that.
fn on_utc(ahead: i64) -> (&'static str, i64) {
    let of_tai = ahead.saturating_sub(TAI_MINUS_UTC.as_nanos());
    if of_tai.saturating_abs() < NEAR {
        ("TAI", of_tai)
    } else {
        ("as UTC", ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_keep_tai_are_recognised() {
        assert_eq!(on_utc(37_000_000_250), ("TAI", 250));
        assert_eq!(on_utc(36_999_999_000), ("TAI", -1_000));
        assert_eq!(on_utc(250), ("as UTC", 250));
        assert_eq!(on_utc(i64::MIN), ("as UTC", i64::MIN));
    }

    #[test]
    fn a_missing_device_is_named_and_looked_for_again() {
        let mut source = PhcSource::new("/dev/ptp_that_is_not_there");
        assert_eq!(source.name(), "phc:ptp_that_is_not_there");
        for _ in 0..2 {
            let trouble = source.read().unwrap_err();
            assert!(trouble.what.contains("/dev/ptp_that_is_not_there"));
            assert!(!trouble.forever);
        }
    }
}

//! A running PariSync daemon as a source, through its control socket.

use std::path::PathBuf;

use hwts::Domain;
use hwts::clock::CrossRead;
use parisync::discipline::TAI_MINUS_UTC;
use parisync::export::client::{Client, ClientError};
use parisync::export::status::{ClockReading, Tracking};

use super::source::{Reading, Source, Trouble, trouble};

const NAME: &str = "parisync";

/// The daemon behind the first of some sockets that answers.
#[derive(Debug)]
pub struct ParisyncSource {
    sockets: Vec<PathBuf>,
    client: Option<Client>,
}

impl ParisyncSource {
    /// Asks the daemon behind one of these control sockets.
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        Self {
            sockets,
            client: None,
        }
    }

    fn ask(&mut self) -> Result<Reading, ClientError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.sockets)?,
        };
        let tracking = client.tracking()?.content;
        // `a` is the system clock, `b` the raw one.
        let now = CrossRead::take(Domain::Realtime, Domain::MonotonicRaw, 5);
        let clock = client.clock_at(now.b)?;
        self.client = Some(client);
        Ok(reading(&tracking, &clock, now))
    }
}

impl Source for ParisyncSource {
    fn name(&self) -> &str {
        NAME
    }

    fn read(&mut self) -> Result<Vec<Reading>, Trouble> {
        match self.ask() {
            Ok(reading) => Ok(vec![reading]),
            Err(error) => Err(trouble(NAME, error)),
        }
    }
}

/// The daemon's clock against the system clock, both at one raw instant.
fn reading(tracking: &Tracking, clock: &ClockReading, now: CrossRead) -> Reading {
    let tai = clock.clock_ns.unwrap_or(clock.virtual_ns);
    let utc = tai.saturating_sub(TAI_MINUS_UTC.as_nanos());
    // The two clocks were not read at quite the same instant.
    let with_reading = |bound: i64| bound.saturating_add(now.error) as f64;
    let state = serde_json::to_value(tracking.state).unwrap_or_default();
    Reading {
        source: NAME.to_owned(),
        offset_ns: utc.saturating_sub(now.a) as f64,
        guaranteed_ns: clock.bound_ns.map(with_reading),
        statistical_ns: clock.statistical_ns.map(with_reading),
        detail: format!(
            "{}, {} of {} neighbours used, holds while at most {} lie",
            state.as_str().unwrap_or("state unknown"),
            tracking.used,
            tracking.neighbours,
            tracking.tolerated_liars
        ),
        at: now.b,
    }
}

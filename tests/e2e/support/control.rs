//! A client of the daemon's control socket: one JSON object a line, request and reply in turn.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use parisync::export::status::{ClockReading, Peer, Tracking};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Context, Failure, Outcome};

const VERSION: u64 = 1;
const LIMIT: Duration = Duration::from_secs(2);

/// One connection, kept open.
pub(crate) struct Control(BufReader<UnixStream>);

impl Control {
    pub(crate) fn connect(socket: &Path) -> Outcome<Self> {
        let stream = UnixStream::connect(socket).context(socket.display())?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn tracking(&mut self) -> Outcome<Tracking> {
        self.ask(json!({ "request": "tracking" }), "tracking")
    }

    pub(crate) fn peers(&mut self) -> Outcome<Vec<Peer>> {
        self.ask(json!({ "request": "peers" }), "peers")
    }

    /// What the node's clocks show at an instant of `CLOCK_MONOTONIC_RAW`.
    pub(crate) fn clock_at(&mut self, mono_raw_ns: i64) -> Outcome<ClockReading> {
        self.ask(
            json!({ "request": "clock-at", "mono_raw_ns": mono_raw_ns }),
            "clock_at",
        )
    }

    fn ask<T: DeserializeOwned>(&mut self, mut request: Value, answer: &str) -> Outcome<T> {
        request["version"] = VERSION.into();
        let mut line = request.to_string();
        line.push('\n');
        self.0
            .get_mut()
            .write_all(line.as_bytes())
            .context("asking the control socket")?;
        line.clear();
        if self
            .0
            .read_line(&mut line)
            .context("reading the control socket")?
            == 0
        {
            return Err(Failure::new(
                "the control socket was closed before it answered",
            ));
        }
        let mut reply: Value = serde_json::from_str(&line).context(line.trim_end())?;
        if reply["version"] != VERSION || reply.get(answer).is_none() {
            return Err(Failure::new(format!(
                "asked {request}, was told {}",
                line.trim_end()
            )));
        }
        serde_json::from_value(reply[answer].take()).context(line.trim_end())
    }
}

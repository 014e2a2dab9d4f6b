//! A client of the daemon's control socket: one JSON object a line, request and reply in turn.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use parisync::export::status::{Peer, Tracking};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::truth::Reading;
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

    /// What the node's virtual clock shows at an instant of `CLOCK_MONOTONIC_RAW`, with the bound
    /// that holds then; none before it has a clock.
    pub(crate) fn clock_at(&mut self, mono_raw_ns: i64) -> Outcome<Option<Reading>> {
        let reply: Value = self.ask(
            json!({ "request": "clock-at", "mono_raw_ns": mono_raw_ns }),
            "clock_at",
        )?;
        let Some(virtual_ns) = reply["virtual_ns"].as_i64() else {
            return Ok(None);
        };
        Ok(Some(Reading {
            virtual_ns,
            bound_ns: reply["bound_ns"].as_i64(),
        }))
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

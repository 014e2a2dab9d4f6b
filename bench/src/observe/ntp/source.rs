//! An NTP server as a source.

use std::net::SocketAddr;

use super::packet::Disbelief;
use super::{Client, NtpError};
use crate::address::resolve;
use crate::observe::source::{Reading, Source, Trouble, trouble};

/// The port NTP servers listen on.
const PORT: u16 = 123;

/// A server, and the socket it is asked through.
#[derive(Debug)]
pub struct NtpSource {
    name: String,
    host: String,
    client: Option<Client>,
}

impl NtpSource {
    /// The server `host`, with or without a port. Its address is looked up when it is asked.
    pub fn new(host: &str) -> Self {
        Self {
            name: format!("ntp:{host}"),
            host: host.to_owned(),
            client: None,
        }
    }

    fn connect(&self) -> Result<Client, Trouble> {
        let address: SocketAddr = resolve(&self.host, PORT)
            .map_err(|error| trouble(&self.name, format!("cannot find {}: {error}", self.host)))?;
        Client::new(address).map_err(|error| trouble(&self.name, error))
    }
}

impl Source for NtpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self) -> Result<Vec<Reading>, Trouble> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let answer = match client.ask() {
            Ok(answer) => answer,
            Err(error) => {
                // Its address may have changed: it is looked up anew.
                return Err(Trouble {
                    forever: is_final(&error),
                    ..trouble(&self.name, error)
                });
            }
        };
        self.client = Some(client);
        let reading = Reading {
            source: self.name.clone(),
            offset_ns: answer.offset,
            guaranteed_ns: Some(answer.distance as f64),
            statistical_ns: None,
            detail: format!(
                "stratum {}, delay {:.1} µs, {} stamps",
                answer.stratum,
                answer.delay as f64 / 1e3,
                answer.stamps
            ),
            at: answer.at,
        };
        Ok(vec![reading])
    }
}

/// Whether the server wants not to be asked again (RFC 5905, section 7.4: DENY and RSTR; and RATE,
/// since there is but one rate here).
fn is_final(error: &NtpError) -> bool {
    matches!(
        error,
        NtpError::Disbelieved(Disbelief::Kiss(code))
            if [b"DENY", b"RSTR", b"RATE"].contains(&code)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_is_not_asked_again() {
        let kiss = |code| NtpError::Disbelieved(Disbelief::Kiss(code));
        assert!(is_final(&kiss(*b"DENY")) && is_final(&kiss(*b"RATE")));
        assert!(!is_final(&kiss(*b"INIT")) && !is_final(&NtpError::Silent));
    }

    #[test]
    fn an_unknown_host_is_trouble_that_may_pass() {
        let mut source = NtpSource::new("no.such.host.invalid");
        let trouble = source.read().unwrap_err();
        assert!(trouble.what.contains("no.such.host.invalid"), "{trouble:?}");
        assert!(!trouble.forever);
    }
}

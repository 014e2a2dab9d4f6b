//! The daemon on this host, if one runs, and the port it needs.

use std::io::ErrorKind;
use std::net::UdpSocket;

use super::Finding;
use crate::cli::output::Context;
use crate::cli::text::state;
use crate::config::Config;
use crate::export::client::ClientError;

const TOPIC: &str = "parisync";

/// What the running daemon says of itself; without one, whether its port is free.
pub(super) fn daemon(context: &Context) -> Vec<Finding> {
    let answer = context.client().and_then(|mut client| client.tracking());
    let tracking = match answer {
        Ok(answer) => answer.content,
        Err(ClientError::NoDaemon { .. }) => {
            let idle = Finding::warning(
                TOPIC,
                "no daemon runs here",
                "`systemctl start parisync` or `parisync run`",
            );
            return std::iter::once(idle).chain(port()).collect();
        }
        Err(error) => {
            return vec![Finding::warning(
                TOPIC,
                error.to_string(),
                "see docs/operations.md",
            )];
        }
    };
    let what = format!("runs, {}: {}", state(tracking.state), tracking.reason);
    let mut findings = vec![Finding::good(TOPIC, what)];
    findings.extend(
        tracking
            .sources
            .into_iter()
            .map(|source| Finding::good("peers", source)),
    );
    findings.extend(
        tracking
            .warnings
            .into_iter()
            .map(|warning| Finding::warning(TOPIC, warning, "see the daemon's log")),
    );
    findings
}

/// A finding if the default time port is taken by something else.
fn port() -> Option<Finding> {
    let candidates = Config::default().listen_candidates();
    let errors: Vec<std::io::Error> = candidates
        .iter()
        .filter_map(|addr| UdpSocket::bind(addr).err())
        .collect();
    let taken = errors
        .iter()
        .any(|error| error.kind() == ErrorKind::AddrInUse);
    (taken && errors.len() == candidates.len()).then(|| {
        Finding::problem(
            "port",
            format!("another program has UDP port {}", candidates[0].port()),
            "`ss -ulpn` shows which; set another `listen`",
        )
    })
}

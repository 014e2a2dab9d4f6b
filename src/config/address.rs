//! Peers as people write them: `[key@]host:port`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::topology::NodeId;

/// The UDP port of the time socket where none is named.
pub const DEFAULT_PORT: u16 = 4711;

/// The UDP port of the distributed hash table where none is named.
pub const DEFAULT_DHT_PORT: u16 = 4712;

/// A peer by name: `[key@]host:port`, the key as `parisync tracking` prints it.
///
/// Without a key the peer that answers first under this address is believed from then on. The
/// host is a name, an IPv4 address or an IPv6 address in brackets; it is resolved when it is
/// used, not when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Its identity, if known beforehand.
    pub id: Option<NodeId>,
    /// Host name or address, without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
}

/// The text does not name a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePeerError {
    /// What comes before `@` is not a key.
    #[error(
        "what comes before @ is not a key: 64 hexadecimal digits, as `parisync tracking` prints it"
    )]
    Key,
    /// No host.
    #[error("expected [key@]host:port, such as \"192.0.2.7:4711\"")]
    Host,
    /// Not a port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// No port.
    #[error("the port is missing: write host:port, such as \"192.0.2.7:4711\"")]
    NoPort,
    /// An IPv6 address without brackets.
    #[error("put an IPv6 address in brackets, such as \"[2001:db8::7]:4711\"")]
    Brackets,
}

impl PeerAddress {
    /// The addresses behind the name. Blocks while names are resolved.
    ///
    /// # Errors
    /// What the resolver says.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }
}

impl FromStr for PeerAddress {
    type Err = ParsePeerError;

    fn from_str(text: &str) -> Result<Self, ParsePeerError> {
        let (id, place) = match text.split_once('@') {
            Some((key, place)) => (Some(key.parse().map_err(|_| ParsePeerError::Key)?), place),
            None => (None, text),
        };
        let (host, port) = if let Some(rest) = place.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(ParsePeerError::Brackets)?;
            // A scope such as %eth0 is the resolver's business.
            let address = host.split('%').next().unwrap_or(host);
            let is_v6 = matches!(address.parse(), Ok(IpAddr::V6(_)));
            if !is_v6 {
                return Err(ParsePeerError::Brackets);
            }
            (host, port.strip_prefix(':').ok_or(ParsePeerError::NoPort)?)
        } else {
            let (host, port) = place.rsplit_once(':').ok_or(ParsePeerError::NoPort)?;
            if host.contains(':') {
                return Err(ParsePeerError::Brackets);
            }
            (host, port)
        };
        let plain = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(ParsePeerError::Host);
        }
        let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0);
        Ok(Self {
            id,
            host: host.to_owned(),
            port: port.ok_or(ParsePeerError::Port)?,
        })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.id {
            write!(f, "{id}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<PeerAddress, ParsePeerError> {
        text.parse()
    }

    #[test]
    fn names_addresses_and_keys() {
        let key = "ab".repeat(32);
        for text in [
            "alpha:4711".to_owned(),
            "time.example.org:1".to_owned(),
            "192.0.2.7:65535".to_owned(),
            "[2001:db8::7]:4711".to_owned(),
            "[fe80::1%eth0]:4711".to_owned(),
            format!("{key}@alpha:4711"),
            format!("{key}@[::1]:4711"),
        ] {
            assert_eq!(parse(&text).unwrap().to_string(), text);
        }
        assert_eq!(parse("[::1]:5").unwrap().host, "::1");
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        use ParsePeerError::*;
        assert_eq!(parse("alpha"), Err(NoPort));
        assert_eq!(parse(""), Err(NoPort));
        assert_eq!(parse("[::1]"), Err(NoPort));
        assert_eq!(parse(":4711"), Err(Host));
        assert_eq!(parse("al pha:1"), Err(Host));
        assert_eq!(parse("alpha:"), Err(Port));
        assert_eq!(parse("alpha:0"), Err(Port));
        assert_eq!(parse("alpha:+1"), Err(Port));
        assert_eq!(parse("alpha:65536"), Err(Port));
        assert_eq!(parse("2001:db8::7:4711"), Err(Brackets));
        assert_eq!(parse("[alpha]:1"), Err(Brackets));
        assert_eq!(parse("[::1:1"), Err(Brackets));
        assert_eq!(parse("abcd@alpha:1"), Err(Key));
    }

    #[test]
    fn addresses_resolve_without_a_resolver() {
        let found = parse("[::1]:4711").unwrap().resolve().unwrap();
        assert_eq!(found, [SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 4711))]);
    }

    proptest! {
        #[test]
        fn what_is_accepted_round_trips(text in "(\\[[0-9a-f:]{2,9}\\]|[a-z0-9.@%-]{1,12}):[0-9]{1,6}") {
            if let Ok(peer) = parse(&text) {
                prop_assert_eq!(parse(&peer.to_string()), Ok(peer));
            }
        }
    }
}

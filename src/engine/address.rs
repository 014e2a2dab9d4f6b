//! A peer as people write it: `[NODEID@]HOST[:PORT]`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::topology::{NodeId, ParseNodeIdError};

/// The time port of a peer that names none.
pub const DEFAULT_TIME_PORT: u16 = 4711;

/// Where a peer is, and who it must be if that is known.
///
/// Text form: `[NODEID@]HOST[:PORT]`; HOST is a name, an IPv4 address or an IPv6 address in
/// brackets (`[fe80::1%eth0]` with its interface if link-local). Without PORT,
/// [`DEFAULT_TIME_PORT`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Its identity, if known.
    pub id: Option<NodeId>,
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

/// A host, by address or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name to be resolved, or an IPv6 address with its interface (`fe80::1%eth0`).
    Name(String),
}

/// The text is not a peer's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePeerAddressError {
    /// What stands before the `@` is not an identity.
    #[error("before the `@`: {0}")]
    Identity(#[from] ParseNodeIdError),
    /// There is no host.
    #[error("no host; write [NODEID@]HOST:PORT")]
    NoHost,
    /// The host is neither a name nor an address.
    #[error("{0:?} is neither a host name nor an address")]
    Host(String),
    /// An IPv6 address without brackets cannot be told from host and port.
    #[error("put an IPv6 address in brackets, as [{0}]:4711")]
    Brackets(String),
    /// The port is not a number from 1 to 65535.
    #[error("port {0:?} is not a number from 1 to 65535")]
    Port(String),
}

impl PeerAddress {
    /// Reads the text form with another default port.
    ///
    /// # Errors
    ///
    /// What is wrong with `text`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, ParsePeerAddressError> {
        use ParsePeerAddressError as E;
        let (id, rest) = match text.split_once('@') {
            Some((id, rest)) => (Some(id.parse()?), rest),
            None => (None, text),
        };
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            let (inner, after) = inner.split_once(']').ok_or_else(|| E::Host(rest.into()))?;
            let port = match after {
                "" => None,
                _ => Some(
                    after
                        .strip_prefix(':')
                        .ok_or_else(|| E::Host(rest.into()))?,
                ),
            };
            (bracketed(inner)?, port)
        } else if rest.matches(':').count() > 1 {
            return Err(E::Brackets(rest.into()));
        } else {
            let (host, port) = match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            };
            (plain(host)?, port)
        };
        let port = port.map_or(Ok(default_port), parse_port)?;
        Ok(Self { id, host, port })
    }

    /// The socket address, if the host is given as a plain address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

fn parse_port(text: &str) -> Result<u16, ParsePeerAddressError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(ParsePeerAddressError::Port(text.into())),
    }
}

fn bracketed(text: &str) -> Result<Host, ParsePeerAddressError> {
    let bad = || ParsePeerAddressError::Host(text.into());
    match text.split_once('%') {
        None => Ok(Host::Ip(IpAddr::V6(text.parse().map_err(|_| bad())?))),
        Some((ip, interface)) => {
            ip.parse::<Ipv6Addr>().map_err(|_| bad())?;
            let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'%' | b'[' | b'@');
            // The kernel's IFNAMSIZ, with its closing zero.
            if (1..16).contains(&interface.len()) && interface.bytes().all(fits) {
                Ok(Host::Name(text.into()))
            } else {
                Err(bad())
            }
        }
    }
}

fn plain(text: &str) -> Result<Host, ParsePeerAddressError> {
    if text.is_empty() {
        return Err(ParsePeerAddressError::NoHost);
    }
    if let Ok(ip) = text.parse() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    // RFC 1035 §2.3.4; a name whose last label is a number would be a mistyped address.
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let numeric = last.bytes().all(|b| b.is_ascii_digit());
    if text.len() <= 253 && text.bytes().all(fits) && !text.starts_with(['-', '.']) && !numeric {
        Ok(Host::Name(text.into()))
    } else {
        Err(ParsePeerAddressError::Host(text.into()))
    }
}

impl FromStr for PeerAddress {
    type Err = ParsePeerAddressError;

    fn from_str(text: &str) -> Result<Self, ParsePeerAddressError> {
        Self::parse(text, DEFAULT_TIME_PORT)
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(addr: SocketAddr) -> Self {
        let host = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                Host::Name(format!("{}%{}", v6.ip(), v6.scope_id()))
            }
            _ => Host::Ip(addr.ip()),
        };
        Self {
            id: None,
            host,
            port: addr.port(),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "{id}@")?;
        }
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            Host::Ip(ip) => write!(f, "{ip}")?,
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]")?,
            Host::Name(name) => f.write_str(name)?,
        }
        write!(f, ":{}", self.port)
    }
}

impl serde::Serialize for PeerAddress {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PeerAddress {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParsePeerAddressError as E;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<PeerAddress, E> {
        text.parse()
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        let key = "ab".repeat(32);
        for text in [
            "192.0.2.1:5000",
            "[2001:db8::1]:4711",
            "[fe80::1%eth0]:4711",
            "clock.example.org:123",
            &format!("{key}@localhost:1"),
            &format!("{key}@[::1]:65535"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("host").unwrap().port, DEFAULT_TIME_PORT);
        assert_eq!(parse("[::1]").unwrap().port, DEFAULT_TIME_PORT);
        assert_eq!(PeerAddress::parse("host", 9).unwrap().port, 9);
        let addr = "[::1]:80".parse::<SocketAddr>().unwrap();
        assert_eq!(PeerAddress::from(addr).socket_addr(), Some(addr));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(parse("12@host"), Err(E::Identity(ParseNodeIdError)));
        assert_eq!(parse(""), Err(E::NoHost));
        assert_eq!(parse(":80"), Err(E::NoHost));
        assert_eq!(parse("2001:db8::1"), Err(E::Brackets("2001:db8::1".into())));
        assert_eq!(parse("a:0"), Err(E::Port("0".into())));
        assert_eq!(parse("a:+7"), Err(E::Port("+7".into())));
        assert_eq!(parse("a:"), Err(E::Port(String::new())));
        assert_eq!(parse("a:70000"), Err(E::Port("70000".into())));
        for bad in [
            "300.1.1.1",
            "-x",
            "a b",
            "[::1",
            "[::1]x",
            "[host]:1",
            "[fe80::1%]:1",
        ] {
            assert!(matches!(parse(bad), Err(E::Host(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_round_trips(text in "\\PC{0,40}") {
            if let Ok(address) = parse(&text) {
                prop_assert_eq!(parse(&address.to_string()).unwrap(), address);
            }
        }
    }
}

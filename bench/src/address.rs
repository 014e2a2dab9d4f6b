//! Hosts as people name them.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The first address of `HOST`, `HOST:PORT`, an IP address, or `[IPV6]:PORT`.
///
/// # Errors
/// The name is not known, or has no address.
pub fn resolve(text: &str, port: u16) -> io::Result<SocketAddr> {
    let mut found = match (text.parse::<IpAddr>(), text.rsplit_once(':')) {
        (Ok(ip), _) => return Ok(SocketAddr::new(ip, port)),
        (Err(_), Some(_)) => text.to_socket_addrs()?,
        (Err(_), None) => (text, port).to_socket_addrs()?,
    };
    found
        .next()
        .ok_or_else(|| io::Error::other("it has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_the_usual_port_unless_told_otherwise() {
        let of = |text| resolve(text, 123).unwrap().to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7:123");
        assert_eq!(of("192.0.2.7:9"), "192.0.2.7:9");
        assert_eq!(of("2001:db8::7"), "[2001:db8::7]:123");
        assert_eq!(of("[2001:db8::7]:9"), "[2001:db8::7]:9");
        assert!(resolve("192.0.2.7:many", 123).is_err());
        assert!(resolve("", 123).is_err());
    }
}

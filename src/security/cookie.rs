//! Proof that a stranger receives at the address it sends from, at no memory of ours.

use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac};
use std::net::SocketAddr;

use crate::time::{RawTime, Span};
use crate::wire::COOKIE_LEN;

/// Makes and checks cookies: a keyed hash of the source, what it asks for and the epoch, so that a
/// cookie is good for one sender, one thing and a while.
pub(crate) struct Cookies {
    key: [u8; 32],
    start: RawTime,
    /// How long a cookie is good for: between one and two of these.
    epoch: Span,
}

impl Cookies {
    pub(crate) const fn new(key: [u8; 32], start: RawTime, epoch: Span) -> Self {
        Self { key, start, epoch }
    }

    /// The cookie to ask of `from` for `what`: a handshake, or everything a node may ask.
    pub(crate) fn bake(&self, now: RawTime, from: SocketAddr, what: &[u8]) -> [u8; COOKIE_LEN] {
        self.mac(self.epoch(now), from, what)
            .finalize()
            .into_bytes()
            .into()
    }

    /// Whether `cookie` was baked for this sender and this, and of late.
    pub(crate) fn check(
        &self,
        now: RawTime,
        from: SocketAddr,
        what: &[u8],
        cookie: &[u8; COOKIE_LEN],
    ) -> bool {
        let epoch = self.epoch(now);
        [epoch, epoch.wrapping_sub(1)]
            .into_iter()
            .any(|epoch| self.mac(epoch, from, what).verify(cookie.into()).is_ok())
    }

    fn epoch(&self, now: RawTime) -> i64 {
        (now - self.start)
            .as_nanos()
            .div_euclid(self.epoch.as_nanos())
    }

    fn mac(&self, epoch: i64, from: SocketAddr, what: &[u8]) -> Blake2sMac<U16> {
        let ip = match from {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
            SocketAddr::V6(v6) => v6.ip().octets(),
        };
        let mut mac = <Blake2sMac<U16> as KeyInit>::new((&self.key).into());
        mac.update(&epoch.to_le_bytes());
        mac.update(&ip);
        mac.update(&from.port().to_le_bytes());
        mac.update(what);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Span = Span::from_secs(60);

    #[test]
    fn a_cookie_is_good_for_one_sender_one_handshake_and_a_while() {
        let at = |s| RawTime::from_nanos(0) + Span::from_secs(s);
        let jar = Cookies::new([7; 32], at(0), MINUTE);
        let from: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let noise = [3; 96];
        let cookie = jar.bake(at(50), from, &noise);

        assert!(jar.check(at(50), from, &noise, &cookie));
        assert!(jar.check(at(110), from, &noise, &cookie));
        assert!(!jar.check(at(200), from, &noise, &cookie));
        assert!(!jar.check(at(50), "192.0.2.1:5001".parse().unwrap(), &noise, &cookie));
        assert!(!jar.check(at(50), "192.0.2.2:5000".parse().unwrap(), &noise, &cookie));
        assert!(!jar.check(at(50), from, &[4; 96], &cookie));
        assert!(!Cookies::new([8; 32], at(0), MINUTE).check(at(50), from, &noise, &cookie));
        assert!(!jar.check(at(50), from, &noise, &[0; COOKIE_LEN]));
    }
}

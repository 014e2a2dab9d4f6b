//! Who gets what of our time: cookies before any signature is looked at, and limits on both.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::codec::Cookie;
use crate::security::{Allowance, Budget, Cookies, Limiter};
use crate::time::{RawTime, Span};
use crate::topology::NodeId;

/// A cookie is good for between one and two of these: contacts are asked every few minutes.
const EPOCH: Span = Span::from_secs(1800);
/// Addresses whose cookies we keep at most.
const KEPT: usize = 512;
/// Sources the limiters tell apart.
const SOURCES: usize = 1024;
/// Cookies handed out, per source.
const ANSWERS: Allowance = Allowance {
    per_second: 64,
    burst: 256,
};
/// Queries whose signature is checked and which are answered, per source.
const QUERIES: Allowance = Allowance {
    per_second: 64,
    burst: 512,
};
/// The same for all sources together: some 0.1 ms of a core each.
const QUERIES_IN_ALL: Allowance = Allowance {
    per_second: 1000,
    burst: 2000,
};

/// What to do with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Check and answer it.
    Take,
    /// Tell the sender this cookie.
    Tell(Cookie),
    /// Nothing.
    Drop,
}

pub(super) struct Gate {
    cookies: Cookies,
    answers: Limiter,
    queries: Limiter,
    all: Budget,
    kept: HashMap<SocketAddr, Cookie>,
}

impl Gate {
    pub(super) fn new(secret: [u8; 32], now: RawTime) -> Self {
        Self {
            cookies: Cookies::new(secret, now, EPOCH),
            answers: Limiter::new(ANSWERS, SOURCES, now),
            queries: Limiter::new(QUERIES, SOURCES, now),
            all: Budget::new(QUERIES_IN_ALL, now),
            kept: HashMap::new(),
        }
    }

    /// The cookie with which `id` may ask from `addr`.
    pub(super) fn cookie(&self, now: RawTime, addr: SocketAddr, id: &NodeId) -> Cookie {
        self.cookies.bake(now, addr, id.as_bytes())
    }

    /// What to do with a query of `id`, from `addr`, with this cookie.
    pub(super) fn query(
        &mut self,
        now: RawTime,
        addr: SocketAddr,
        id: &NodeId,
        cookie: &Cookie,
    ) -> Verdict {
        if !self.cookies.check(now, addr, id.as_bytes(), cookie) {
            return if self.answers.allow(now, addr.ip()) {
                Verdict::Tell(self.cookie(now, addr, id))
            } else {
                Verdict::Drop
            };
        }
        if self.queries.allow(now, addr.ip()) && self.all.allow(now) {
            Verdict::Take
        } else {
            Verdict::Drop
        }
    }

    /// `addr` gave us this cookie.
    pub(super) fn keep(&mut self, addr: SocketAddr, cookie: Cookie) {
        if self.kept.len() >= KEPT && !self.kept.contains_key(&addr) {
            // Whichever: another one costs one more round trip.
            if let Some(other) = self.kept.keys().next().copied() {
                self.kept.remove(&other);
            }
        }
        self.kept.insert(addr, cookie);
    }

    /// The cookie for a query to `addr`; zeros if we have none.
    pub(super) fn kept(&self, addr: &SocketAddr) -> Cookie {
        self.kept.get(addr).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_need_a_cookie_and_are_rationed() {
        let now = RawTime::from_nanos(0);
        let mut gate = Gate::new([1; 32], now);
        let (id, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let addr = "192.0.2.1:4712".parse().unwrap();
        let Verdict::Tell(cookie) = gate.query(now, addr, &id, &[0; 16]) else {
            panic!("no cookie");
        };
        assert_eq!(gate.query(now, addr, &id, &cookie), Verdict::Take);
        assert_ne!(gate.query(now, addr, &other, &cookie), Verdict::Take);
        let taken = (0..10_000).filter(|_| gate.query(now, addr, &id, &cookie) == Verdict::Take);
        assert_eq!(taken.count(), QUERIES.burst as usize - 1);
        let told = (0..10_000).filter(|_| gate.query(now, addr, &id, &[0; 16]) != Verdict::Drop);
        assert!(told.count() < ANSWERS.burst as usize);
    }

    #[test]
    fn kept_cookies_are_bounded() {
        let mut gate = Gate::new([1; 32], RawTime::from_nanos(0));
        for port in 1..2000 {
            gate.keep(([127, 0, 0, 1], port).into(), [1; 16]);
        }
        assert_eq!(gate.kept.len(), KEPT);
        assert_eq!(gate.kept(&([127, 0, 0, 1], 1999).into()), [1; 16]);
    }
}

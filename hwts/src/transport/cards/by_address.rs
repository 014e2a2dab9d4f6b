//! By which card packets to an address leave, remembered for a while.

use std::net::IpAddr;

/// Routes remembered, a power of two, and for how long, ns.
const ROUTES: usize = 256;
const ROUTE_AGE: i64 = 30_000_000_000;

/// What the routing table said of late. Addresses that fall on the same place drive each other out.
#[derive(Debug)]
pub(super) struct ByAddress(Box<[Route; ROUTES]>);

#[derive(Debug, Clone, Copy)]
struct Route {
    to: IpAddr,
    /// The number of the card, if there is one.
    card: Option<u8>,
    until: i64,
}

const NOWHERE: Route = Route {
    to: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    card: None,
    until: i64::MIN,
};

impl ByAddress {
    pub(super) fn new() -> Self {
        Self(Box::new([NOWHERE; ROUTES]))
    }

    /// Routes may have changed.
    pub(super) fn forget(&mut self) {
        self.0.fill(NOWHERE);
    }

    /// The card, or that there is none; none if that is not known at the raw instant `now`.
    #[expect(clippy::option_option, reason = "not known, or no card")]
    pub(super) fn find(&self, to: IpAddr, now: i64) -> Option<Option<u8>> {
        let known = &self.0[place(to)];
        (known.to == to && now < known.until).then_some(known.card)
    }

    pub(super) fn learn(&mut self, to: IpAddr, card: Option<u8>, now: i64) {
        let until = now + ROUTE_AGE;
        self.0[place(to)] = Route { to, card, until };
    }
}

fn place(ip: IpAddr) -> usize {
    let fold = |octets: &[u8]| {
        octets.iter().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31) + usize::from(*byte)
        })
    };
    let sum = match ip {
        IpAddr::V4(ip) => fold(&ip.octets()),
        IpAddr::V6(ip) => fold(&ip.octets()),
    };
    sum % ROUTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_spread_over_the_table() {
        let places: std::collections::HashSet<usize> = (0..200_u8)
            .map(|k| place(IpAddr::from([10, 0, 0, k])))
            .collect();
        assert_eq!(places.len(), 200);
    }

    #[test]
    fn what_was_learnt_is_known_until_it_is_too_old() {
        let mut routes = ByAddress::new();
        let to = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(routes.find(to, 0), None);
        routes.learn(to, Some(3), 0);
        assert_eq!(routes.find(to, ROUTE_AGE - 1), Some(Some(3)));
        assert_eq!(routes.find(to, ROUTE_AGE), None);
        routes.learn(to, None, 0);
        assert_eq!(routes.find(to, 0), Some(None));
        routes.forget();
        assert_eq!(routes.find(to, 0), None);
    }
}

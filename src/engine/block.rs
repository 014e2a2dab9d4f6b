//! Blocks of addresses that have one owner.

use std::net::IpAddr;

/// The block that is usually one operator's: IPv4 /24, IPv6 /48. `None` for addresses that only
/// local hosts can have (loopback, private, link-local, unique local, shared): a lab sits in one
/// subnet by nature.
pub(super) fn block(ip: IpAddr) -> Option<u64> {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let local = v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared;
            (!local).then(|| u64::from(v4.to_bits() >> 8))
        }
        IpAddr::V6(v6) => {
            let local = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
            (!local).then(|| 1 << 48 | (v6.to_bits() >> 80) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_block_and_local_addresses_have_none() {
        let of = |text: &str| block(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.200"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1::1"), of("2001:db8:1:ffff::2"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        for local in [
            "127.0.0.1",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
        ] {
            assert_eq!(of(local), None, "{local}");
        }
    }
}

//! Who may enter the routing table: few of each subnet, so that one operator with many addresses
//! of one block cannot fill the buckets around a victim (libp2p's table has no such limit).

use std::net::{IpAddr, SocketAddr};

/// Peers of one subnet in one bucket at most, and in the whole table. go-ethereum's figures
/// (`bucketIPLimit`, `tableIPLimit`).
const IN_BUCKET: usize = 2;
const IN_TABLE: usize = 10;

/// A block that is usually one operator's: IPv4 /24, IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subnet {
    V4([u8; 3]),
    V6([u16; 3]),
}

/// The subnet that counts against the limits; `None` for addresses that only local hosts can have
/// (loopback, private, link-local, unique local, shared): a lab sits in one subnet by nature.
fn subnet(ip: IpAddr) -> Option<Subnet> {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let local = v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared;
            (!local).then_some(Subnet::V4([a, b, c]))
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return subnet(v4.into());
            }
            let [a, b, c, ..] = v6.segments();
            let local = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
            (!local).then_some(Subnet::V6([a, b, c]))
        }
    }
}

/// Whether a peer at `addr` may join the peers at `bucket` in its bucket and at `table` in the
/// whole table (those of the bucket among them).
pub(super) fn admits(
    addr: SocketAddr,
    bucket: impl Iterator<Item = SocketAddr>,
    table: impl Iterator<Item = SocketAddr>,
) -> bool {
    let Some(own) = subnet(addr.ip()) else {
        return true;
    };
    let same = |other: &SocketAddr| subnet(other.ip()) == Some(own);
    bucket.filter(same).count() < IN_BUCKET && table.filter(same).count() < IN_TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 1)
    }

    fn admitted(ip: &str, bucket: &[&str], table: &[&str]) -> bool {
        admits(
            at(ip),
            bucket.iter().map(|ip| at(ip)),
            table.iter().map(|ip| at(ip)),
        )
    }

    #[test]
    fn a_subnet_gets_two_places_in_a_bucket_and_ten_in_all() {
        let two = ["192.0.2.1", "192.0.2.200"];
        assert!(admitted("192.0.2.3", &two[..1], &two));
        assert!(!admitted("192.0.2.3", &two, &two));
        assert!(admitted("192.0.3.3", &two, &two));
        assert!(!admitted("192.0.2.3", &[], &["192.0.2.9"; 10]));
        assert!(!admitted(
            "2001:db8:1:2::9",
            &["2001:db8:1:3::1", "2001:db8:1:4::1"],
            &[]
        ));
        assert!(admitted(
            "2001:db8:2::9",
            &["2001:db8:1:3::1", "2001:db8:1:4::1"],
            &[]
        ));
        assert!(!admitted("::ffff:192.0.2.3", &two, &two));
    }

    #[test]
    fn local_addresses_are_exempt() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.9",
            "100.64.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(admitted(ip, &[ip; 20], &[ip; 99]), "{ip}");
        }
    }
}

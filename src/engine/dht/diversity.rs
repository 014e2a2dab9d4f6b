//! Who may enter the routing table: few of each subnet, so that one operator with many addresses
//! of one block cannot fill the buckets around a victim (libp2p's table has no such limit).

use std::net::SocketAddr;

use crate::engine::block::block;

/// Peers of one subnet in one bucket at most, and in the whole table. go-ethereum's figures
/// (`bucketIPLimit`, `tableIPLimit`).
const IN_BUCKET: usize = 2;
const IN_TABLE: usize = 10;

/// Whether a peer at `addr` may join the peers at `bucket` in its bucket and at `table` in the
/// whole table (those of the bucket among them).
pub(super) fn admits(
    addr: SocketAddr,
    bucket: impl Iterator<Item = SocketAddr>,
    table: impl Iterator<Item = SocketAddr>,
) -> bool {
    let Some(own) = block(addr.ip()) else {
        return true;
    };
    let same = |other: &SocketAddr| block(other.ip()) == Some(own);
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

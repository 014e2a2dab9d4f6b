//! Which interface and address each lane uses at each end.
//!
//! An interface takes one XDP program, and with it behaves otherwise for everybody. So between
//! namespaces every lane by `AF_XDP` gets a pair of interfaces of its own. Between hosts, where there
//! is one interface, only one of them can be open at a time.

use std::net::{IpAddr, Ipv4Addr};

use super::PrecisionError;
use super::lane::Lane;
use crate::netns::Namespace;

/// One of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// That which asks.
    Near,
    /// That which answers.
    Far,
}

/// Where lanes live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// All on the same interface, and there with the addresses they were told.
    Shared {
        /// Its name; none for that of the default route.
        interface: Option<String>,
    },
    /// Each lane by `AF_XDP` on a pair of its own.
    Own(End),
}

impl Ground {
    /// One interface, whichever it is.
    pub const ANY: Self = Self::Shared { interface: None };

    /// The interface of a lane by `AF_XDP`.
    pub fn interface(&self, lane: Lane) -> Option<String> {
        match self {
            Self::Shared { interface } => interface.clone(),
            Self::Own(_) => lane.xdp_number().map(name),
        }
    }

    /// The address of this end for `lane`, if it is not `usual`.
    pub fn here(&self, lane: Lane, usual: IpAddr) -> IpAddr {
        self.address(lane, usual, true)
    }

    /// The address of the other end.
    pub fn there(&self, lane: Lane, usual: IpAddr) -> IpAddr {
        self.address(lane, usual, false)
    }

    fn address(&self, lane: Lane, usual: IpAddr, here: bool) -> IpAddr {
        match (self, lane.xdp_number()) {
            (Self::Own(end), Some(number)) => {
                let near = (*end == End::Near) == here;
                addresses(number)[usize::from(!near)]
            }
            _ => usual,
        }
    }

    /// Whether two lanes by `AF_XDP` can be open at once.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }
}

fn name(number: u8) -> String {
    format!("xdp{number}")
}

/// Near and far; of the range for benchmarks (RFC 2544), which leads nowhere.
fn addresses(number: u8) -> [IpAddr; 2] {
    [1, 2].map(|end| Ipv4Addr::new(198, 18, number, end).into())
}

/// Makes the pairs of interfaces that `lanes` need.
///
/// # Errors
/// The program `ip` does not make them.
pub fn pave(lanes: &[Lane], near: &Namespace, far: &Namespace) -> Result<(), PrecisionError> {
    for number in lanes.iter().filter_map(|lane| lane.xdp_number()) {
        near.join(far, &name(number), addresses(number), 24)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::lane::{Mode, Stamps, Transport};

    #[test]
    fn both_ends_mean_the_same_addresses() {
        let lane = |transport| Lane {
            transport,
            stamps: Stamps::User,
            mode: Mode::Block,
        };
        let usual: IpAddr = Ipv4Addr::LOCALHOST.into();
        let (near, far) = (Ground::Own(End::Near), Ground::Own(End::Far));
        let xdp = lane(Transport::Xdp);
        assert_eq!(near.here(xdp, usual), far.there(xdp, usual));
        assert_eq!(near.there(xdp, usual), far.here(xdp, usual));
        assert_ne!(near.here(xdp, usual), near.there(xdp, usual));
        assert_eq!(near.interface(xdp), far.interface(xdp));
        let udp = lane(Transport::Udp);
        assert_eq!((near.here(udp, usual), near.interface(udp)), (usual, None));
        assert_eq!(Ground::ANY.there(xdp, usual), usual);
    }
}

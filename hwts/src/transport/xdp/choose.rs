//! Which interface to use, and whether it is worth it.

use std::net::SocketAddr;

use crate::netlink::{self, Link, Routes, XdpFeatures, xdp_features};
use crate::nic;
use crate::xdp::XdpError;

/// Addresses that only a default route leads to (TEST-NET-3, and 2001:db8::/32 for documentation).
const ELSEWHERE: [&str; 2] = ["203.0.113.1:9", "[2001:db8::1]:9"];

/// The interface that will be used.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) features: XdpFeatures,
}

/// Whether AF_XDP is the best there is: without copies, and with the card's stamps both ways. Takes
/// the interface of the default route if none is named, and returns its name; attaches nothing, and
/// needs no privilege.
///
/// # Errors
/// Why it is not.
pub fn suitable(interface: Option<&str>) -> Result<String, XdpError> {
    choose(interface, true).map(|chosen| chosen.name)
}

/// The interface to use, if it can be used; `only_if_best` if AF_XDP is the best there.
pub(super) fn choose(interface: Option<&str>, only_if_best: bool) -> Result<Chosen, XdpError> {
    let chosen = usable(interface)?;
    if !only_if_best {
        return Ok(chosen);
    }
    if !chosen.features.zero_copy {
        return Err(XdpError::NoZeroCopy(chosen.name));
    }
    let has_clock = nic::abilities(&chosen.name).is_ok_and(|abilities| abilities.phc.is_some());
    if !chosen.features.is_best() || !has_clock {
        return Err(XdpError::Unsuitable {
            interface: chosen.name,
            reason: "has no hardware stamps both ways for AF_XDP",
        });
    }
    Ok(chosen)
}

fn usable(interface: Option<&str>) -> Result<Chosen, XdpError> {
    let links = netlink::links().map_err(|error| XdpError::os("list interfaces", error))?;
    let link = match interface {
        Some(name) => links
            .iter()
            .find(|link| link.name == name)
            .ok_or_else(|| XdpError::NoInterface(name.to_owned()))?,
        None => default(&links).ok_or(XdpError::WhichInterface)?,
    };
    let unsuitable = |reason| XdpError::Unsuitable {
        interface: link.name.clone(),
        reason,
    };
    if link.loopback || link.hardware.is_none() {
        return Err(unsuitable("is no Ethernet interface"));
    }
    if link.kind.as_deref() == Some("vlan") {
        return Err(unsuitable(
            "is a VLAN: name the interface under it, which takes its tagged packets as well",
        ));
    }
    if link.master.is_some() {
        return Err(unsuitable(
            "belongs to a bridge or bond, whose traffic an XDP program would disturb",
        ));
    }
    if !link.up {
        return Err(unsuitable("is down"));
    }
    Ok(Chosen {
        name: link.name.clone(),
        index: link.index,
        // Kernels before Linux 6.3 do not say: what is not there shows when it is asked for.
        features: xdp_features(link.index).unwrap_or_default(),
    })
}

/// The interface of the default route, or the device under it; else the only one there is.
fn default(links: &[Link]) -> Option<&Link> {
    let mut routes = Routes::open().ok()?;
    let towards = |to: &str| {
        let to: SocketAddr = to.parse().ok()?;
        let index = routes.interface_to(to).ok()?;
        nic::physical(links, index).ok()
    };
    let by_route = ELSEWHERE.into_iter().find_map(towards);
    by_route.or_else(|| {
        let mut usable = links.iter().filter(|link| {
            link.up && !link.loopback && link.hardware.is_some() && link.master.is_none()
        });
        usable.next().filter(|_| usable.next().is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        assert!(
            matches!(choose(Some("nosuch0"), false), Err(XdpError::NoInterface(name)) if name == "nosuch0")
        );
        let loopback = choose(Some("lo"), false).unwrap_err().to_string();
        assert_eq!(loopback, "lo is no Ethernet interface");
        assert!(suitable(Some("lo")).is_err());
    }
}

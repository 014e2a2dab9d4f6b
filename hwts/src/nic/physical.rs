//! From the interface that has an address to the device that stamps its packets.

use std::fmt;

use crate::netlink::Link;

/// Longer chains of interfaces on interfaces are refused.
const DEEPEST: usize = 8;
/// `BOND_MODE_ACTIVEBACKUP`.
const ACTIVE_BACKUP: u8 = 1;

/// Why an interface has no one device that stamps its packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoDevice {
    /// There is no interface of this number.
    Unknown(u32),
    /// What it stands on is in another network namespace.
    Elsewhere {
        /// The interface.
        interface: String,
    },
    /// It has no members.
    Empty {
        /// The bond, team or bridge.
        interface: String,
    },
    /// Its packets leave by one of several devices, and nobody says by which.
    Several {
        /// The bond, team or bridge.
        interface: String,
        /// Its members.
        members: Vec<String>,
    },
    /// Interfaces stand on each other in a ring, or on too many others.
    TooDeep {
        /// Where the search began.
        interface: String,
    },
}

impl fmt::Display for NoDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(index) => write!(f, "there is no interface number {index}"),
            Self::Elsewhere { interface } => write!(
                f,
                "the device under {interface} is in another network namespace"
            ),
            Self::Empty { interface } => write!(f, "{interface} has no members"),
            Self::Several { interface, members } => write!(
                f,
                "packets of {interface} leave by any of {}, whose clocks differ; an active-backup \
                 bond or an address on one of them would do",
                members.join(", ")
            ),
            Self::TooDeep { interface } => {
                write!(f, "{interface} stands on too many other interfaces")
            }
        }
    }
}

impl std::error::Error for NoDevice {}

/// The device that stamps the packets of interface number `index`: a VLAN's or a macvlan's lower
/// device, the active member of a bond, the only port of a bridge; any other interface itself.
///
/// # Errors
/// See [`NoDevice`].
pub fn physical(links: &[Link], index: u32) -> Result<&Link, NoDevice> {
    let find = |index: u32| links.iter().find(|link| link.index == index);
    let first = find(index).ok_or(NoDevice::Unknown(index))?;
    let mut link = first;
    for _ in 0..DEEPEST {
        let interface = || link.name.clone();
        let below = match link.kind.as_deref() {
            Some("vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap") => match link.lower {
                _ if link.lower_elsewhere => {
                    return Err(NoDevice::Elsewhere {
                        interface: interface(),
                    });
                }
                Some(lower) => lower,
                None => return Ok(link),
            },
            Some("bond" | "team" | "bridge") => member(links, link)?,
            _ => return Ok(link),
        };
        link = find(below).ok_or(NoDevice::Unknown(below))?;
    }
    Err(NoDevice::TooDeep {
        interface: first.name.clone(),
    })
}

fn member(links: &[Link], master: &Link) -> Result<u32, NoDevice> {
    if let (Some(ACTIVE_BACKUP), Some(active)) = (master.bond_mode, master.active_member) {
        return Ok(active);
    }
    // The ports of a bridge that lead to guests and containers carry what those send, not us to
    // the outside; only one that does not is where our packets leave.
    let inner = |link: &&Link| {
        let kind = link.kind.as_deref();
        master.kind.as_deref() == Some("bridge") && matches!(kind, Some("veth" | "tun"))
    };
    let members: Vec<&Link> = links
        .iter()
        .filter(|link| link.master == Some(master.index))
        .collect();
    let outer: Vec<&&Link> = members.iter().filter(|link| !inner(link)).collect();
    let interface = master.name.clone();
    match (outer.as_slice(), members.as_slice()) {
        ([only], _) => Ok(only.index),
        ([], [only]) => Ok(only.index),
        (_, []) => Err(NoDevice::Empty { interface }),
        _ => Err(NoDevice::Several {
            interface,
            members: members.iter().map(|link| link.name.clone()).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: Option<&str>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            ..Link::default()
        }
    }

    fn host() -> Vec<Link> {
        let on = |link: Link, lower| Link {
            lower: Some(lower),
            ..link
        };
        let under = |link: Link, master| Link {
            master: Some(master),
            ..link
        };
        vec![
            link(1, "lo", None),
            under(link(2, "eth0", None), 10),
            under(link(3, "eth1", None), 10),
            under(link(4, "eth2", None), 11),
            under(link(5, "tap0", Some("tun")), 11),
            under(on(link(6, "veth0", Some("veth")), 60), 11),
            Link {
                bond_mode: Some(ACTIVE_BACKUP),
                active_member: Some(3),
                ..link(10, "bond0", Some("bond"))
            },
            link(11, "br0", Some("bridge")),
            on(link(12, "bond0.7", Some("vlan")), 10),
            on(link(13, "br0.9", Some("vlan")), 11),
            Link {
                lower_elsewhere: true,
                ..on(link(14, "mv0", Some("macvlan")), 3)
            },
            link(15, "br1", Some("bridge")),
            on(link(16, "ring", Some("vlan")), 16),
        ]
    }

    #[test]
    fn stacks_end_at_the_device_that_stamps() {
        let links = host();
        let name = |index| physical(&links, index).map(|link| link.name.as_str());
        assert_eq!(name(2), Ok("eth0"));
        assert_eq!(name(10), Ok("eth1"));
        assert_eq!(name(12), Ok("eth1"));
        assert_eq!(name(11), Ok("eth2"));
        assert_eq!(name(13), Ok("eth2"));
        // A veth has a number beside it, too, but does not stand on it.
        assert_eq!(name(6), Ok("veth0"));
    }

    #[test]
    fn what_cannot_be_resolved_is_refused_with_the_reason() {
        let mut links = host();
        let why = |links: &[Link], index| physical(links, index).unwrap_err().to_string();
        assert!(why(&links, 14).contains("another network namespace"));
        assert!(why(&links, 15).contains("no members"));
        assert!(why(&links, 16).contains("too many"));
        assert!(why(&links, 99).contains("number 99"));
        links[6].bond_mode = Some(0);
        assert!(why(&links, 12).contains("eth0, eth1"));
    }
}

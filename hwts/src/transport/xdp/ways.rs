//! How packets to others leave: by frames of ours where the kernel knows a neighbour behind our
//! interface, else by the kernel itself, which then finds it out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use crate::netlink::{self, Change, Link, LinkChange, Neighbour, Route, Routes, Watch};
use crate::packet::{Ends, Frame, Tag};

/// Destinations remembered; more than that are found out again and again.
const ROOM: usize = 1024;
/// Pause between questions for a neighbour that is not known, ns. Word of it comes sooner, unless
/// it is lost.
const ASK_AGAIN: i64 = 1_000_000_000;
/// Pause between packets by which the kernel makes sure of a neighbour, ns: it takes one, waits
/// five seconds for a sign of life, then asks.
const MAKE_SURE: i64 = 10_000_000_000;
/// VLANs on a VLAN.
const MAX_TAGS: usize = 2;

/// What is known of one destination.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// How frames to it begin; none if the kernel sends to it.
    frame: Option<Frame>,
    /// The neighbour that packets to it go through, by interface and address.
    through: Option<(u32, IpAddr)>,
    hardware: Option<[u8; 6]>,
    /// The kernel is no longer sure of the neighbour, and asks it when it has a packet for it.
    stale: bool,
    /// When the kernel is next asked, or given a packet, ns of raw time.
    due: i64,
}

impl Known {
    const KERNEL: Self = Self {
        frame: None,
        through: None,
        hardware: None,
        stale: false,
        due: i64::MAX,
    };
}

/// The ways by one interface, kept up to date.
#[derive(Debug)]
pub(super) struct Ways {
    routes: Routes,
    watch: Watch,
    links: Vec<Link>,
    /// Ours, while it is there.
    interface: Option<u32>,
    /// Where packets come from; the address is unspecified if the route says so.
    local: SocketAddr,
    known: HashMap<SocketAddr, Known>,
}

impl Ways {
    /// Ways for a socket bound to `local`: the kernel's only, until an interface is told.
    pub(super) fn open(local: SocketAddr) -> io::Result<Self> {
        // Listening comes first, so that nothing falls between.
        let watch = Watch::open()?;
        Ok(Self {
            routes: Routes::open()?,
            watch,
            links: netlink::links()?,
            interface: None,
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            known: HashMap::with_capacity(ROOM),
        })
    }

    /// From now on ways lead by this interface, or all by the kernel.
    pub(super) fn lead_by(&mut self, interface: Option<u32>) {
        self.interface = interface;
        self.known.clear();
    }

    /// The interface of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The addresses at which packets for us arrive.
    pub(super) fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        if self.local.ip().is_unspecified() {
            netlink::addresses()
        } else {
            Ok(vec![self.local.ip()])
        }
    }

    /// The VLAN's interface, or ours: what gives link-local addresses their meaning.
    pub(super) fn scope(&self, vlan: Option<u16>) -> Option<u32> {
        let interface = self.interface?;
        let of_vlan = |id| {
            let tagged = |link: &&Link| {
                link.lower == Some(interface) && link.vlan.is_some_and(|tag| tag.id == id)
            };
            self.links.iter().find(tagged).map(|link| link.index)
        };
        Some(vlan.and_then(of_vlan).unwrap_or(interface))
    }

    /// How frames to `to` with `len` bytes of content begin at `now`; none if the kernel is to send
    /// the packet.
    pub(super) fn find(&mut self, to: SocketAddr, len: usize, now: i64) -> Option<Frame> {
        let known = match self.known.get(&to) {
            Some(known) if known.frame.is_some() || now < known.due => *known,
            _ => self.learn(to, now),
        };
        let frame = known.frame?;
        if known.stale && now >= known.due {
            self.known.insert(
                to,
                Known {
                    due: now.saturating_add(MAKE_SURE),
                    ..known
                },
            );
            return None;
        }
        let mtu = self.link(self.interface?)?.mtu as usize;
        let ethernet = frame.ethernet_len();
        (frame.header_len() - ethernet + len <= mtu).then_some(frame)
    }

    fn learn(&mut self, to: SocketAddr, now: i64) -> Known {
        let known = self.ask(to, now);
        if self.known.len() == ROOM {
            self.known.clear();
        }
        self.known.insert(to, known);
        known
    }

    fn ask(&mut self, to: SocketAddr, now: i64) -> Known {
        let later = Known {
            due: now.saturating_add(ASK_AGAIN),
            ..Known::KERNEL
        };
        let Ok(route) = self.routes.route_to(to) else {
            return later;
        };
        if !route.unicast {
            return Known::KERNEL;
        }
        let Some((tags, hardware)) = self.below(route.interface) else {
            return Known::KERNEL;
        };
        let hop = route.gateway.unwrap_or(to.ip());
        let through = Some((route.interface, hop));
        let neighbour = self.routes.neighbour(route.interface, hop);
        let Ok(Neighbour {
            hardware: Some(theirs),
            stale,
            ..
        }) = neighbour
        else {
            return Known { through, ..later };
        };
        Known {
            frame: self.frame(&route, to, &tags, [hardware, theirs]),
            through,
            hardware: Some(theirs),
            stale,
            due: now,
        }
    }

    fn frame(
        &self,
        route: &Route,
        to: SocketAddr,
        tags: &[Tag],
        [ours, theirs]: [[u8; 6]; 2],
    ) -> Option<Frame> {
        let ip = match self.local.ip() {
            ip if ip.is_unspecified() => route.source?,
            ip => ip,
        };
        let ends = Ends {
            from: SocketAddr::new(ip, self.local.port()),
            to,
        };
        Frame::new(ours, theirs, tags, ends)
    }

    /// The tags, outermost first, and the hardware address of packets by interface number `index`;
    /// none if they do not leave by ours, or it is down.
    fn below(&self, index: u32) -> Option<(Vec<Tag>, [u8; 6])> {
        let interface = self.interface?;
        let mut link = self.link(index)?;
        let hardware = link.hardware?;
        let mut tags = Vec::new();
        while link.index != interface {
            tags.insert(0, link.vlan.filter(|_| tags.len() < MAX_TAGS)?);
            link = self.link(link.lower.filter(|_| !link.lower_elsewhere)?)?;
        }
        link.up.then_some((tags, hardware))
    }

    fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Takes in what has changed.
    pub(super) fn attend(&mut self) -> Changes {
        let Self {
            watch,
            known,
            links,
            interface,
            ..
        } = self;
        let (mut addresses, mut forget, mut gone) = (false, false, false);
        let complete = watch.poll(|change| match change {
            Change::Neighbour(neighbour) => known.retain(|_, known| fits(known, &neighbour)),
            Change::Routes => forget = true,
            Change::Addresses => {
                addresses = true;
                forget = true;
            }
            Change::Link(LinkChange::Changed(new)) => {
                match links.iter_mut().find(|link| link.index == new.index) {
                    Some(old) if *old == new => return,
                    Some(old) => *old = new,
                    None => links.push(new),
                }
                forget = true;
            }
            Change::Link(LinkChange::Gone(index)) => {
                links.retain(|link| link.index != index);
                forget = true;
                // Another may come under the same number, without our program.
                gone |= *interface == Some(index);
            }
        });
        if !complete && let Ok(all) = netlink::links() {
            self.links = all;
            let ours = |link: &Link| self.interface == Some(link.index) && link.xdp;
            gone |= !self.links.iter().any(ours);
        }
        if forget || !complete {
            self.known.clear();
        }
        Changes {
            addresses: addresses || !complete,
            gone,
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changes {
    /// Perhaps addresses of this host.
    pub(super) addresses: bool,
    /// Our interface is gone, even if there is another in its place.
    pub(super) gone: bool,
}

/// Whether what is known of a destination goes with what was heard of a neighbour; some of it is
/// taken in.
fn fits(known: &mut Known, neighbour: &Neighbour) -> bool {
    if known.through != Some((neighbour.interface, neighbour.address)) {
        return true;
    }
    known.stale = neighbour.stale;
    known.hardware == neighbour.hardware
}

impl AsFd for Ways {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_sends_to_ourselves() {
        let lo = netlink::links().unwrap();
        let lo = lo.iter().find(|link| link.loopback).unwrap().index;
        let mut ways = Ways::open("[::]:9".parse().unwrap()).unwrap();
        ways.lead_by(Some(lo));
        let to = "127.0.0.1:9".parse().unwrap();
        assert_eq!(ways.find(to, 1, 0), None);
        assert_eq!(ways.known[&to].due, i64::MAX, "asked once for all");
        assert!(!ways.own_addresses().unwrap().is_empty());
        let bound = Ways::open("192.0.2.1:9".parse().unwrap()).unwrap();
        let only: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(bound.own_addresses().unwrap(), [only]);
    }

    #[test]
    fn vlans_are_followed_down_to_our_interface() {
        let mut ways = Ways::open("[::]:9".parse().unwrap()).unwrap();
        ways.lead_by(Some(7));
        let link = |index, lower, id: Option<u16>| Link {
            index,
            lower,
            up: true,
            hardware: Some([index as u8; 6]),
            vlan: id.map(|id| Tag {
                protocol: 0x8100,
                id,
            }),
            ..Link::default()
        };
        ways.links = vec![
            link(7, None, None),
            link(8, Some(7), Some(100)),
            link(9, Some(8), Some(200)),
            link(10, Some(9), Some(300)),
            link(11, Some(3), Some(100)),
        ];
        let ids = |index| {
            let (tags, hardware) = ways.below(index)?;
            Some((
                tags.iter().map(|tag| tag.id).collect::<Vec<_>>(),
                hardware[0],
            ))
        };
        assert_eq!(ids(7), Some((vec![], 7)));
        assert_eq!(ids(8), Some((vec![100], 8)));
        assert_eq!(ids(9), Some((vec![100, 200], 9)));
        assert_eq!(ids(10), None, "three tags");
        assert_eq!(ids(11), None, "another interface");
        assert_eq!(
            (ways.scope(Some(100)), ways.scope(None)),
            (Some(8), Some(7))
        );
        ways.links[0].up = false;
        assert_eq!(ways.below(8), None);
        ways.links[0].up = true;
        ways.lead_by(None);
        assert_eq!(
            (ways.below(7), ways.scope(None)),
            (None, None),
            "it is gone"
        );
    }

    #[test]
    fn what_is_heard_of_a_neighbour_is_taken_in_or_ends_what_was_known() {
        let through: IpAddr = "192.0.2.2".parse().unwrap();
        let mut known = Known {
            through: Some((7, through)),
            hardware: Some([1; 6]),
            ..Known::KERNEL
        };
        let heard = Neighbour {
            interface: 7,
            address: through,
            hardware: Some([1; 6]),
            stale: true,
        };
        assert!(fits(&mut known, &heard) && known.stale);
        let elsewhere = Neighbour {
            interface: 8,
            hardware: None,
            ..heard
        };
        assert!(fits(&mut known, &elsewhere) && known.stale);
        let sure = Neighbour {
            stale: false,
            ..heard
        };
        assert!(fits(&mut known, &sure) && !known.stale);
        for hardware in [None, Some([2; 6])] {
            assert!(!fits(&mut known, &Neighbour { hardware, ..heard }));
        }
    }
}

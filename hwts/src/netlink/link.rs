//! What the kernel tells of network interfaces (`RTM_NEWLINK`, linux/if_link.h).

use super::message::{Attribute, attributes, attributes_after, read_u32};
use crate::packet::Tag;

/// `struct ifinfomsg`: family u8, pad u8, type u16, index i32, flags u32, change u32.
const IFINFO: usize = 16;
const IFINFO_INDEX: usize = 4;
const IFINFO_FLAGS: usize = 8;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_BOND_MODE: u16 = 1;
const IFLA_BOND_ACTIVE_SLAVE: u16 = 2;
const IFLA_XDP_ATTACHED: u16 = 2;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 1 << 3;
const IFF_LOWER_UP: u32 = 1 << 16;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its number in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The administrator wants it up.
    pub up: bool,
    /// It has a carrier.
    pub carrier: bool,
    /// It is the loopback.
    pub loopback: bool,
    /// What made it (`vlan`, `bond`, `veth`, …); none for drivers of real devices.
    pub kind: Option<String>,
    /// The device it stands on, in another network namespace if
    /// [`lower_elsewhere`](Self::lower_elsewhere).
    pub lower: Option<u32>,
    /// The device it stands on is not in this network namespace.
    pub lower_elsewhere: bool,
    /// The bond or bridge it belongs to.
    pub master: Option<u32>,
    /// For a bond: its mode, 1 being active-backup.
    pub bond_mode: Option<u8>,
    /// For a bond: the member that carries the traffic.
    pub active_member: Option<u32>,
    /// Its hardware address, if it has one as Ethernet has.
    pub hardware: Option<[u8; 6]>,
    /// The longest packet it takes, bytes.
    pub mtu: u32,
    /// For a VLAN: its tag.
    pub vlan: Option<Tag>,
    /// An XDP program is attached to it.
    pub xdp: bool,
}

impl Link {
    /// From the body of an `RTM_NEWLINK` or `RTM_DELLINK`; none from those that bridges send of
    /// their ports in the same form, which say little, and that a port is gone when it only left.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        if i32::from(*body.first()?) != libc::AF_UNSPEC {
            return None;
        }
        let flags = read_u32(body, IFINFO_FLAGS)?;
        let mut link = Self {
            index: read_u32(body, IFINFO_INDEX)?,
            up: flags & IFF_UP != 0,
            carrier: flags & IFF_LOWER_UP != 0,
            loopback: flags & IFF_LOOPBACK != 0,
            ..Self::default()
        };
        for attribute in attributes_after(body, IFINFO) {
            match attribute.kind {
                IFLA_ADDRESS => link.hardware = attribute.data.try_into().ok(),
                IFLA_MTU => link.mtu = attribute.u32().unwrap_or(0),
                IFLA_IFNAME => link.name = attribute.text(),
                IFLA_LINK => link.lower = attribute.u32().filter(|lower| *lower != 0),
                IFLA_LINK_NETNSID => link.lower_elsewhere = true,
                IFLA_MASTER => link.master = attribute.u32(),
                IFLA_LINKINFO => link.read_kind(attribute),
                IFLA_XDP => {
                    link.xdp = attributes(attribute.data)
                        .any(|inner| inner.kind == IFLA_XDP_ATTACHED && inner.u8() > Some(0));
                }
                _ => {}
            }
        }
        Some(link)
    }

    fn read_kind(&mut self, info: Attribute<'_>) {
        for attribute in attributes(info.data) {
            if attribute.kind == IFLA_INFO_KIND {
                self.kind = Some(attribute.text());
            }
        }
        let data = attributes(info.data).find(|a| a.kind == IFLA_INFO_DATA);
        let data = data.map_or(&[][..], |a| a.data);
        match self.kind.as_deref() {
            Some("bond") => self.read_bond(data),
            Some("vlan") => self.read_vlan(data),
            _ => {}
        }
    }

    fn read_vlan(&mut self, data: &[u8]) {
        let (mut id, mut protocol) = (None, 0x8100);
        for attribute in attributes(data) {
            match (attribute.kind, attribute.u16()) {
                (IFLA_VLAN_ID, found) => id = found,
                // In network order.
                (IFLA_VLAN_PROTOCOL, Some(found)) => protocol = u16::from_be(found),
                _ => {}
            }
        }
        self.vlan = id.map(|id| Tag { protocol, id });
    }

    fn read_bond(&mut self, data: &[u8]) {
        for attribute in attributes(data) {
            match attribute.kind {
                IFLA_BOND_MODE => self.bond_mode = attribute.u8(),
                IFLA_BOND_ACTIVE_SLAVE => self.active_member = attribute.u32(),
                _ => {}
            }
        }
    }
}

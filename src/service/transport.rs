//! The time socket by configuration: past the kernel where that is best, and with the stamps of
//! cards where those can be had.

use hwts::transport::{
    AnyTransport, CardWish, StampRequest, Transport, UdpConfig, UdpTransport, WaitMode, XdpConfig,
    XdpTransport,
};
use hwts::xdp::{Copying, XdpError};

use super::{ServiceError, cards};
use crate::config::{Config, InterfaceConfig, PacketPath, Stamps, TransportConfig, Wait};
use crate::wire::MAX_DATAGRAM;

/// Opens it, and says in the log what was chosen and why.
pub(super) fn open(config: &Config) -> Result<AnyTransport, ServiceError> {
    let settings = &config.transport;
    let udp = UdpConfig {
        stamps: match settings.stamps {
            Stamps::Auto | Stamps::Hardware | Stamps::Kernel => StampRequest::Kernel,
            Stamps::User => StampRequest::User,
        },
        wait: match settings.wait {
            Wait::Block => WaitMode::Block,
            Wait::BusyPoll => WaitMode::BusyPoll {
                micros: (settings.busy_poll.as_nanos() / 1_000) as u32,
            },
            Wait::Spin => WaitMode::Spin,
        },
        // One loop in one thread is for small devices and for simulators, which know no more.
        whole_millis: config.single_thread,
        max_datagram: MAX_DATAGRAM,
        ..UdpConfig::new(config.listen)
    };
    // Nor do those know sockets of that kind.
    let path = match settings.path {
        PacketPath::Auto if config.single_thread => PacketPath::Udp,
        path => path,
    };
    let mut transport = along(path, settings.xdp_interface.as_deref(), udp)?;
    let capabilities = transport.capabilities();
    let (local, rx, tx) = (transport.local_addr(), capabilities.rx, capabilities.tx);
    tracing::info!("time socket on {local}; stamps: receive {rx}, transmit {tx}");
    if let Some(reason) = &capabilities.fallback {
        tracing::warn!("worse stamps than asked for: {reason}");
    }
    use_cards(&mut transport, settings)?;
    Ok(transport)
}

/// A transport that takes this path; `auto` says in the log why it takes which.
///
/// # Errors
/// AF_XDP was asked for and cannot be had, or there is no socket at all.
pub(super) fn along(
    path: PacketPath,
    interface: Option<&str>,
    udp: UdpConfig,
) -> Result<AnyTransport, ServiceError> {
    let xdp = |only_if_best| {
        let opened = XdpTransport::open(&XdpConfig {
            interface: interface.map(str::to_owned),
            copying: if only_if_best {
                Copying::Never
            } else {
                Copying::IfNeeded
            },
            only_if_best,
            ..XdpConfig::new(udp)
        })?;
        tracing::info!(
            "AF_XDP on {}, {}, {} queues",
            opened.interface(),
            if opened.is_zero_copy() {
                "without copies"
            } else {
                "packets are copied"
            },
            opened.queues()
        );
        Ok::<_, XdpError>(AnyTransport::from(opened))
    };
    match path {
        PacketPath::Udp => {}
        PacketPath::Xdp => return xdp(false).map_err(ServiceError::NoXdp),
        PacketPath::Auto => match xdp(true) {
            Ok(opened) => return Ok(opened),
            // UDP would fail in the same way.
            Err(XdpError::Udp(error)) => return Err(error.into()),
            Err(why) => tracing::info!("the kernel's UDP rather than AF_XDP: {why}"),
        },
    }
    Ok(UdpTransport::open(&udp)?.into())
}

fn use_cards(transport: &mut AnyTransport, settings: &TransportConfig) -> Result<(), ServiceError> {
    if !matches!(settings.stamps, Stamps::Auto | Stamps::Hardware) {
        return Ok(());
    }
    let port = transport.local_addr().port();
    let wishes = settings.interfaces.iter().map(wish).collect();
    let udp = transport.udp_mut();
    let used = udp.use_cards(wishes);
    if settings.stamps == Stamps::Hardware {
        match &used {
            Err(error) => return Err(ServiceError::NoHardware(error.to_string())),
            Ok(()) if udp.cards().is_empty() => {
                return Err(ServiceError::NoHardware(cards::why_none(port)));
            }
            Ok(()) => {}
        }
    }
    if let Err(error) = used {
        tracing::debug!("kernel stamps only: {error}");
    }
    Ok(())
}

fn wish(interface: &InterfaceConfig) -> CardWish {
    CardWish {
        interface: interface.name.clone(),
        hardware: interface.hardware,
        tx_compensation: interface.tx_compensation.as_nanos(),
        rx_compensation: interface.rx_compensation.as_nanos(),
        in_flight: interface.in_flight.map(u32::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn loopback(path: PacketPath) -> Result<AnyTransport, ServiceError> {
        along(
            path,
            Some("lo"),
            UdpConfig::new((Ipv4Addr::LOCALHOST, 0).into()),
        )
    }

    #[test]
    fn loopback_goes_by_udp_and_xdp_says_why_not() {
        for path in [PacketPath::Udp, PacketPath::Auto] {
            assert!(matches!(loopback(path), Ok(AnyTransport::Udp(_))), "{path}");
        }
        let refused = loopback(PacketPath::Xdp).map(drop).unwrap_err().to_string();
        assert!(refused.contains("lo is no Ethernet interface"), "{refused}");
        assert!(refused.contains("path = \"auto\""), "{refused}");
    }
}

//! Opening the listening sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use libp2p::Swarm;
use libp2p::swarm::SwarmEvent;
use tokio::time::timeout;

use super::behaviour::Behaviour;
use super::id;
use crate::engine::EngineError;

/// Limit on the first listening address to appear.
const LISTEN: Duration = Duration::from_secs(5);

/// Listens on `addr`, and on IPv4 too if that is every IPv6 address; where, with the port it got.
pub(super) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addr: SocketAddr,
) -> Result<SocketAddr, EngineError> {
    let port = listen_on(swarm, addr).await?;
    if addr.ip() == Ipv6Addr::UNSPECIFIED {
        // libp2p's IPv6 sockets take no IPv4.
        if let Err(error) = listen_on(swarm, (Ipv4Addr::UNSPECIFIED, port).into()).await {
            tracing::warn!(%error, "the DHT listens on IPv6 only");
        }
    }
    Ok(SocketAddr::new(addr.ip(), port))
}

/// Listens on `addr`; the port it got.
async fn listen_on(swarm: &mut Swarm<Behaviour>, addr: SocketAddr) -> Result<u16, EngineError> {
    let failed = |reason: String| EngineError::Listen { addr, reason };
    let listener = swarm
        .listen_on(id::multiaddr(addr))
        .map_err(|e| failed(e.to_string()))?;
    let first = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr {
                    listener_id,
                    address,
                } if listener_id == listener => {
                    return Ok(id::socket_addr(&address).map_or(addr.port(), |addr| addr.port()));
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } if listener_id == listener => {
                    return Err(reason
                        .err()
                        .map_or("closed".into(), |error| error.to_string()));
                }
                SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                    return Err(error.to_string());
                }
                _ => {}
            }
        }
    };
    match timeout(LISTEN, first).await {
        Ok(port) => port.map_err(failed),
        Err(_) => Err(failed("no address appeared".into())),
    }
}

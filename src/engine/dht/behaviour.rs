//! The libp2p swarm: QUIC, Kademlia, identify, limits; every buffer small.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStore};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, Swarm, identify, quic, swarm};
use libp2p_connection_limits::{self as limits, ConnectionLimits};

use super::{DhtConfig, agent};
use crate::engine::EngineError;

/// Bytes in flight on a stream and on a connection; the longest message, twenty peers with their
/// addresses, has some two kilobytes.
const STREAM_WINDOW: u32 = 16 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024;
/// Streams a peer may open at once.
const STREAMS: u32 = 16;
/// Connections being set up, and connections at all.
const PENDING: u32 = 32;
const INCOMING: u32 = 96;
const OUTGOING: u32 = 96;
/// Both sides may dial at once, and a restarted peer comes before its old connection has died.
const PER_PEER: u32 = 3;

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) identify: identify::Behaviour,
    limits: limits::Behaviour,
}

/// The protocol names of a network.
pub(super) fn identify_protocol(network: &str) -> String {
    format!("/parisync/{network}/1")
}

/// The name of the network's Kademlia protocol.
pub(super) fn kad_protocol(network: &str) -> Result<StreamProtocol, EngineError> {
    StreamProtocol::try_from_owned(format!("/parisync/{network}/kad/1"))
        .map_err(|_| EngineError::NetworkName(network.to_owned()))
}

/// A swarm that does not listen yet. Needs a tokio runtime around it.
pub(super) fn swarm(config: &DhtConfig, key: &Keypair) -> Result<Swarm<Behaviour>, EngineError> {
    let tuning = &config.tuning;
    let local = key.public().to_peer_id();

    // MTU discovery would only probe: no message fills a datagram.
    let mut quic = quic::Config::new(key).disable_path_mtu_discovery();
    quic.handshake_timeout = tuning.handshake_timeout;
    quic.max_idle_timeout = tuning.silence.as_millis().try_into().unwrap_or(u32::MAX);
    quic.keep_alive_interval = tuning.keep_alive;
    quic.max_concurrent_stream_limit = STREAMS;
    quic.max_stream_data = STREAM_WINDOW;
    quic.max_connection_data = CONNECTION_WINDOW;
    let transport = quic::tokio::Transport::new(quic)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .boxed();

    let mut kad = kad::Config::new(kad_protocol(&config.network)?);
    // Peers enter the table, lookups start and records are stored only when we say so; records
    // are of no use here at all.
    kad.set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_periodic_bootstrap_interval(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        .disjoint_query_paths(true)
        .set_parallelism(NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN))
        .set_query_timeout(Duration::from_secs(20));
    let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), kad);
    kad.set_mode(Some(kad::Mode::Server));

    let identify = identify::Config::new(identify_protocol(&config.network), key.public())
        .with_agent_version(agent::format(config.time_port))
        .with_interval(Duration::from_secs(3600))
        .with_cache_size(0);

    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING))
        .with_max_pending_outgoing(Some(PENDING))
        .with_max_established_incoming(Some(INCOMING))
        .with_max_established_outgoing(Some(OUTGOING))
        .with_max_established_per_peer(Some(PER_PEER));

    let behaviour = Behaviour {
        kad,
        identify: identify::Behaviour::new(identify),
        limits: limits::Behaviour::new(limits),
    };
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(tuning.idle_timeout)
        .with_max_negotiating_inbound_streams(STREAMS as usize);
    Ok(Swarm::new(transport, behaviour, local, config))
}

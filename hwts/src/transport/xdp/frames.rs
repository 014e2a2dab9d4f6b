//! Frames out and in, and the stamps of those that went out.

use std::net::SocketAddr;

use super::XdpTransport;
use super::door::TxStamps;
use crate::packet;
use crate::stamp::{Domain, Source, Stamp};
use crate::transport::inflight::{CAPACITY, Match};
use crate::transport::tx::Losses;
use crate::transport::{Received, TransportError, TxEvent, TxToken};
use crate::xdp::{Metadata, RxFrame};

impl XdpTransport {
    /// Sends by a frame; none if that is the kernel's to do.
    pub(super) fn queue_frame(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<TxToken> {
        self.door.as_ref()?;
        let before = Stamp::user_now();
        let frame = self.ways.find(to, bytes.len(), before.nanos)?;
        let token = self.inflight.next_token();
        let number = self.number;
        let socket = self.door.as_mut()?.sockets.first_mut()?;
        if !socket.queue(token.0, |room| frame.write(room, bytes, number)) {
            // Perhaps some that were sent are still to be taken back.
            self.collect();
            let socket = self.door.as_mut()?.sockets.first_mut()?;
            if !socket.queue(token.0, |room| frame.write(room, bytes, number)) {
                return None;
            }
        }
        self.number = number.wrapping_add(1);
        self.counters.sent += 1;
        Some(match self.tx_stamps {
            TxStamps::User => self.inflight.sent_with(before, true),
            TxStamps::Tai | TxStamps::Card(_) => self.inflight.sent(before.nanos, None),
        })
    }

    pub(super) fn queue_udp(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<TxToken, TransportError> {
        let now = Domain::MonotonicRaw.now();
        let theirs = self.udp.send(to, bytes)?.0;
        self.counters.sent += 1;
        let ours = self.inflight.sent(now, None);
        self.by_udp[(theirs % CAPACITY) as usize] = Some((theirs, ours));
        Ok(ours)
    }

    /// Takes the stamps of frames that were sent.
    pub(super) fn collect(&mut self) {
        let Self {
            door,
            inflight,
            tai,
            tx_stamps,
            counters,
            losses,
            ..
        } = self;
        let Some(socket) = door
            .as_mut()
            .and_then(|door| door.sockets.first_mut())
            .filter(|socket| socket.has_completions())
        else {
            return;
        };
        let sure = *tx_stamps != TxStamps::Tai || tai.refresh();
        socket.completions(|token, nanos| {
            let stamp = nanos.filter(|_| sure).and_then(|nanos| match *tx_stamps {
                TxStamps::User => None,
                TxStamps::Tai => tai.stamp(nanos),
                TxStamps::Card(phc) => card_stamp(phc, nanos),
            });
            let Some(stamp) = stamp else { return };
            match inflight.stamped(token, stamp) {
                Match::Packet => *losses = Losses::default(),
                Match::None | Match::OutOfStep => counters.tx_unmatched += 1,
            }
        });
    }

    pub(super) fn collect_udp(&mut self) -> Result<(), TransportError> {
        let Self {
            udp,
            inflight,
            by_udp,
            ..
        } = self;
        udp.poll_tx(|event| {
            let TxEvent::Stamped { token, stamp, .. } = event else {
                // It has been with us as long, and times out here as well.
                return;
            };
            let entry = &mut by_udp[(token.0 % CAPACITY) as usize];
            if let Some((_, ours)) = entry.take_if(|(theirs, _)| *theirs == token.0) {
                inflight.stamped(ours.0, stamp);
            }
        })
        .map(drop)
    }

    /// Hands what was received to `sink`; returns how much was taken.
    pub(super) fn take_in(
        &mut self,
        budget: usize,
        mut sink: impl FnMut(Received<'_>),
    ) -> Result<usize, TransportError> {
        self.attend();
        let Self {
            door,
            udp,
            ways,
            tai,
            counters,
            max_datagram,
            user_stamps,
            ..
        } = self;
        let (sockets, phc) = match door {
            Some(door) => (&mut door.sockets[..], door.phc),
            None => (&mut [][..], None),
        };
        let mut taken = 0;
        let mut sure = None;
        for socket in sockets {
            if !socket.has_frames() {
                continue;
            }
            let sure = *sure.get_or_insert_with(|| tai.refresh());
            taken += socket.receive(budget - taken, |RxFrame { bytes, metadata }| {
                let Some(datagram) = packet::parse(bytes) else {
                    return;
                };
                if datagram.bytes.len() > *max_datagram {
                    counters.truncated += 1;
                    return;
                }
                let metadata = metadata.filter(|_| !*user_stamps);
                let hook = metadata
                    .filter(|_| sure)
                    .and_then(|metadata| tai.stamp(metadata.hook));
                let card = metadata.and_then(|metadata| card_of(metadata, phc));
                let (stamp, beside) = match card {
                    Some(card) => (card, hook),
                    None => (hook.unwrap_or_else(Stamp::user_now), None),
                };
                counters.received += 1;
                counters.count_rx(stamp.source);
                sink(Received {
                    bytes: datagram.bytes,
                    from: scoped(datagram.ends.from, || ways.scope(datagram.vlan)),
                    stamp,
                    beside,
                });
            });
        }
        // Looking costs a system call, so under load only if there is something.
        if taken < budget && (taken == 0 || self.udp_ready.take()) {
            taken += udp.receive(budget - taken, sink)?;
        }
        Ok(taken)
    }
}

fn card_stamp(phc: u32, nanos: u64) -> Option<Stamp> {
    Some(Stamp {
        nanos: i64::try_from(nanos).ok().filter(|nanos| *nanos != 0)?,
        domain: Domain::Phc(phc),
        source: Source::Hardware,
    })
}

fn card_of(metadata: Metadata, phc: Option<u32>) -> Option<Stamp> {
    (metadata.hardware_result == 0)
        .then(|| card_stamp(phc?, metadata.hardware))
        .flatten()
}

/// Link-local addresses mean something on one interface only.
fn scoped(from: SocketAddr, interface: impl FnOnce() -> Option<u32>) -> SocketAddr {
    match from {
        SocketAddr::V6(mut v6) if v6.ip().is_unicast_link_local() => {
            v6.set_scope_id(interface().unwrap_or(0));
            v6.into()
        }
        _ => from,
    }
}

//! The core at work between its queues.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use hwts::Wake;
use hwts::sync::Newest;

use super::board::Board;
use super::core::{Core, Notice, Outgoing};
use super::latency::{Latencies, Way};
use super::local::LocalClock;
use super::truth::SystemRate;
use crate::discipline::asleep;
use crate::engine::PeerEvent;
use crate::export::status::Status;
use crate::node::{LinkId, RawStamp};
use crate::time::{RawTime, Span};
use crate::wire::MAX_DATAGRAM;

/// Datagrams and stamps on their way to the core.
pub(super) const INBOX: usize = 256;

/// No thread sleeps longer, so that a stop is never missed for long.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The core never spins, whatever its timers say.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);

/// A shorter sleep cannot be told from the noise of comparing clocks.
const SHORTEST_NAP: Span = Span::from_millis(50);

/// From the socket to the core. Datagrams lie in the queue itself: a box each would be an
/// allocation for every packet.
#[expect(clippy::large_enum_variant, reason = "queued in place, never boxed")]
pub(super) enum Input {
    Datagram {
        from: SocketAddr,
        stamp: RawStamp,
        read: RawTime,
        len: usize,
        bytes: [u8; MAX_DATAGRAM],
    },
    Sent {
        packet: (LinkId, u32),
        stamp: RawStamp,
    },
}

/// From the core to the socket.
pub(super) struct Output {
    pub(super) outgoing: Outgoing,
    pub(super) bytes: [u8; MAX_DATAGRAM],
}

/// From the surroundings to the core.
pub(super) enum Order {
    Peer(PeerEvent),
    Status(Sender<Status>),
}

/// The core, and its ends of the queues.
pub(super) struct CoreSide {
    pub(super) core: Core,
    pub(super) truth: Option<SystemRate>,
    pub(super) local: LocalClock,
    pub(super) board: Board,
    pub(super) inbox: Arc<Newest<Input>>,
    pub(super) outbox: Arc<Newest<Output>>,
    pub(super) orders: Receiver<Order>,
    pub(super) notices: Sender<Notice>,
    pub(super) latencies: Latencies,
    /// How long the host has slept since it booted.
    pub(super) asleep: Span,
}

impl CoreSide {
    /// On a thread of its own, until `stop` is set; `wake` wakes that of the socket.
    pub(super) fn run(mut self, wake: &Wake, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.turn(|| wake.wake());
            thread::park_timeout(self.idle());
        }
    }

    /// How long there is nothing to do, unless something comes.
    pub(super) fn idle(&self) -> Duration {
        let due = (self.core.next_timeout() - self.local.now()).to_duration();
        due.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }

    /// Does what is due; `ship` sends what the outbox holds.
    pub(super) fn turn(&mut self, mut ship: impl FnMut()) {
        let slept = asleep() - self.asleep;
        if slept > SHORTEST_NAP {
            self.asleep += slept;
            self.core.slept(self.local.now(), slept);
        }
        // No more than there can be at once: a flood must not keep timers and a stop waiting. What
        // comes meanwhile wakes the core again.
        for _ in 0..INBOX {
            let Some(input) = self.inbox.pop() else {
                break;
            };
            let now = self.local.now();
            match input {
                Input::Sent { packet, stamp } => self.core.sent(packet, stamp),
                Input::Datagram {
                    from,
                    stamp,
                    read,
                    len,
                    bytes,
                } => {
                    match self.core.datagram(now, from, &bytes[..len], stamp) {
                        Ok(true) => self.latencies.add(&Way {
                            stamped: stamp.at,
                            read,
                            taken: now,
                            used: self.local.now(),
                        }),
                        Ok(false) => {}
                        Err(refusal) => tracing::trace!(%from, "refused: {refusal}"),
                    }
                    // An answer that leaves at once keeps the exchange short.
                    self.send(&mut ship);
                }
            }
        }
        while let Ok(order) = self.orders.try_recv() {
            let now = self.local.now();
            match order {
                Order::Peer(event) => self.core.peer_event(now, event),
                Order::Status(reply) => {
                    let mut status = self.core.status(now);
                    let tracking = &mut status.tracking;
                    tracking.latency = self.latencies.describe();
                    tracking.counters.samples_dropped = self.inbox.overruns();
                    tracking.counters.sends_dropped = self.outbox.overruns();
                    // Whoever asked may have lost patience.
                    let _ = reply.try_send(status);
                }
            }
        }
        let now = self.local.now();
        if let Some(truth) = self.truth.as_mut().and_then(|truth| truth.look(now)) {
            self.core.truth(truth);
        }
        if now >= self.core.next_timeout() {
            self.core.tick(now);
        }
        while let Some(notice) = self.core.poll_notice(now) {
            // A full channel means that nobody attends; notices are not worth waiting for.
            let _ = self.notices.try_send(notice);
        }
        self.board.publish(self.core.clock());
        self.send(&mut ship);
    }

    fn send(&mut self, ship: &mut impl FnMut()) {
        let mut any = false;
        loop {
            let mut bytes = [0; MAX_DATAGRAM];
            let now = self.local.now();
            let Some(outgoing) = self.core.poll_send(now, &mut bytes) else {
                break;
            };
            self.outbox.push(Output { outgoing, bytes });
            any = true;
        }
        if any {
            ship();
        }
    }
}

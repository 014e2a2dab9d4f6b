//! From the socket to the queue of the core, and from its other queue to the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use hwts::Wake;
use hwts::sync::Newest;
use hwts::transport::{Transport, TransportError};

use super::core_side::{INBOX, Input, LONGEST_SLEEP, Output};
use super::port::{BUDGET, Incoming, Port};
use crate::wire::MAX_DATAGRAM;

/// Pause after the socket failed: it may go on saying that it is ready.
const FAULT_PAUSE: Duration = Duration::from_millis(100);

/// Between turns of the core so many batches are taken from the socket at most: in a flood the
/// newest are worth more than what waits in the kernel before them.
const BATCHES: usize = 2 * INBOX / BUDGET;

/// The socket, and its ends of the queues.
pub(super) struct SocketSide {
    port: Port,
    inbox: Arc<Newest<Input>>,
    outbox: Arc<Newest<Output>>,
    /// Transmit stamps that never came.
    lost: Arc<AtomicU64>,
    /// Ends a rest.
    wake: Arc<Wake>,
    failing: bool,
}

impl SocketSide {
    pub(super) const fn new(
        port: Port,
        inbox: Arc<Newest<Input>>,
        outbox: Arc<Newest<Output>>,
        lost: Arc<AtomicU64>,
        wake: Arc<Wake>,
    ) -> Self {
        Self {
            port,
            inbox,
            outbox,
            lost,
            wake,
            failing: false,
        }
    }

    /// On a thread of its own, until `stop` is set; `core` is parked meanwhile.
    pub(super) fn run(mut self, core: &Thread, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.send_out();
            let taken = self.take_in();
            // A transmit stamp alone is no reason to wake anybody: it is ahead of the answer in
            // the queue, and the core looks there before it sends.
            if matches!(taken, Ok(true)) {
                core.unpark();
            }
            self.rest(taken.map(drop), LONGEST_SLEEP);
        }
    }

    /// Sends what waits to be sent.
    pub(super) fn send_out(&mut self) {
        while let Some(output) = self.outbox.pop() {
            let bytes = &output.bytes[..output.outgoing.len];
            if let Err(error) = self.port.send(&output.outgoing, bytes) {
                tracing::debug!(to = %output.outgoing.to, "not sent: {error}");
            }
        }
    }

    /// Queues what has come; whether datagrams were among it.
    pub(super) fn take_in(&mut self) -> Result<bool, TransportError> {
        let mut arrived = false;
        let inbox = &self.inbox;
        let mut drained = Ok(true);
        for _ in 0..BATCHES {
            drained = self.port.drain(|incoming| {
                arrived |= matches!(incoming, Incoming::Datagram { .. });
                inbox.push(into_input(&incoming));
            });
            if !matches!(drained, Ok(true)) {
                break;
            }
        }
        let lost = self.port.transport().counters().tx_lost;
        self.lost.store(lost, Ordering::Relaxed);
        drained.map(|_| arrived)
    }

    /// Sleeps until something comes, at most for `sleep`.
    pub(super) fn rest(&mut self, taken: Result<(), TransportError>, sleep: Duration) {
        match taken.and_then(|()| self.port.wait(sleep, Some(&self.wake))) {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    tracing::warn!("the time socket fails: {error}");
                }
                self.failing = true;
                thread::park_timeout(FAULT_PAUSE);
            }
        }
    }
}

fn into_input(incoming: &Incoming<'_>) -> Input {
    match *incoming {
        Incoming::Sent { packet, stamp } => Input::Sent { packet, stamp },
        Incoming::Datagram {
            from,
            bytes,
            stamp,
            read,
        } => {
            // Longer ones are not ours; what is cut off fails to authenticate.
            let len = bytes.len().min(MAX_DATAGRAM);
            let mut copy = [0; MAX_DATAGRAM];
            copy[..len].copy_from_slice(&bytes[..len]);
            Input::Datagram {
                from,
                stamp,
                read,
                len,
                bytes: copy,
            }
        }
    }
}

//! The threads of one node and the queues between them.
//!
//! ```text
//! io    socket, stamps ──inbox (newest wins)──► core   sessions, node ──board──► steer  the clock
//!              ◄───────────outbox──────────────────┘  ▲ orders │ notices
//!                                                     └──attend ◄── engines, control socket
//! ```
//!
//! The io thread sleeps in `poll(2)`, the core is parked until something comes or is due, the
//! steering sleeps between updates. No lock is on the way of a sample.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender, TrySendError};
use hwts::Wake;
use hwts::sync::Newest;
use hwts::transport::Transport;

use super::assemble::{Clocks, Parts};
use super::board::Board;
use super::core::{Core, Notice, Outgoing};
use super::latency::{Latencies, Way};
use super::local::LocalClock;
use super::port::{Incoming, Port};
use super::steer::{self, SharedReport, Steerer};
use crate::discipline::asleep;
use crate::engine::{PeerEvent, PeerSource, Sources};
use crate::export::status::Status;
use crate::node::{LinkId, RawStamp};
use crate::time::{RawTime, Span};
use crate::wire::MAX_DATAGRAM;

/// Datagrams and stamps on their way to the core.
const INBOX: usize = 256;

/// Datagrams on their way to the socket.
const OUTBOX: usize = 128;

/// Orders and notices on their way; beyond that they are dropped, as they come again.
const ORDERS: usize = 64;

/// No thread sleeps longer, so that a stop is never missed for long.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The core never spins, whatever its timers say.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);

/// A shorter sleep cannot be told from the noise of comparing clocks.
const SHORTEST_NAP: Span = Span::from_millis(50);

/// How long the status may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// From the socket to the core. Datagrams lie in the queue itself: a box each would be an
/// allocation for every packet.
#[expect(clippy::large_enum_variant, reason = "queued in place, never boxed")]
enum Input {
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
struct Output {
    outgoing: Outgoing,
    bytes: [u8; MAX_DATAGRAM],
}

/// From the surroundings to the core.
enum Order {
    Peer(PeerEvent),
    Status(Sender<Status>),
}

/// What the threads on the way of a sample ask of the scheduler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// The io thread and the core stay on this CPU.
    pub cpu: Option<usize>,
    /// The io thread and the core run with `SCHED_FIFO` at this priority.
    pub fifo: Option<u8>,
}

/// A node that runs.
pub struct Daemon {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    wake: Arc<Wake>,
    desk: Desk,
    notices: Receiver<Notice>,
    peers: Sources,
    /// What found no room among the orders.
    pending: Option<PeerEvent>,
}

/// Where anybody can ask a running node for its status.
#[derive(Clone)]
pub struct Desk {
    orders: Sender<Order>,
    core: Thread,
    report: Option<SharedReport>,
    lost: Arc<AtomicU64>,
    sources: Arc<Mutex<Vec<String>>>,
    clocks: Clocks,
}

impl Desk {
    /// The status now; `None` if the node has stopped or does not answer.
    pub fn status(&self) -> Option<Status> {
        let (reply, answer) = channel::bounded(1);
        self.orders.try_send(Order::Status(reply)).ok()?;
        self.core.unpark();
        let mut status = answer.recv_timeout(STATUS_PATIENCE).ok()?;
        status.tracking.counters.stamps_lost = self.lost.load(Ordering::Relaxed);
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        status.tracking.sources.clone_from(&sources);
        steer::describe(self.report.as_ref(), &mut status.tracking);
        self.clocks.cards.describe(&mut status.tracking);
        Some(status)
    }

    /// The node's clocks.
    pub const fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// What the steering did last, if there is any.
    pub const fn report(&self) -> Option<&SharedReport> {
        self.report.as_ref()
    }
}

impl Daemon {
    /// Start all threads.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn start(parts: Parts, peers: Sources, scheduling: Scheduling) -> io::Result<Self> {
        let Parts {
            port,
            core,
            steerer,
            board,
            clocks,
            recorder: _,
        } = parts;
        let stop = Arc::new(AtomicBool::new(false));
        let wake = Arc::new(Wake::new()?);
        let inbox = Arc::new(Newest::new(INBOX));
        let outbox = Arc::new(Newest::new(OUTBOX));
        let lost = Arc::new(AtomicU64::new(0));
        let (orders, incoming_orders) = channel::bounded(ORDERS);
        let (notice, notices) = channel::bounded(ORDERS);
        let report = steerer.as_ref().map(Steerer::report);

        let core = CoreThread {
            core,
            local: LocalClock::new(port.clock().raw().clone()),
            board,
            inbox: Arc::clone(&inbox),
            outbox: Arc::clone(&outbox),
            wake: Arc::clone(&wake),
            orders: incoming_orders,
            notices: notice,
            latencies: Latencies::default(),
            asleep: asleep(),
            stop: Arc::clone(&stop),
        };
        // A sample has waited for nothing if it waits for the core instead. On the io thread's
        // processor the core takes over at once when that sleeps; to wake another takes longer.
        let core = spawn("core", move || {
            schedule(scheduling);
            core.run();
        })?;
        let desk = Desk {
            orders,
            core: core.thread().clone(),
            report,
            lost: Arc::clone(&lost),
            sources: Arc::default(),
            clocks,
        };
        // From here on a failure drops the daemon, which stops what runs already.
        let mut daemon = Self {
            stop: Arc::clone(&stop),
            threads: vec![core],
            wake: Arc::clone(&wake),
            desk,
            notices,
            peers,
            pending: None,
        };
        let io = IoThread {
            port,
            core: daemon.desk.core.clone(),
            inbox,
            outbox,
            wake,
            lost,
            stop: Arc::clone(&stop),
        };
        daemon.threads.push(spawn("io", move || {
            schedule(scheduling);
            io.run();
        })?);
        if let Some(steerer) = steerer {
            let body = move || run_steerer(steerer, &stop);
            daemon.threads.push(spawn("steer", body)?);
        }
        Ok(daemon)
    }

    /// Where to ask for the status.
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Pass on what the engines learnt and what the node wants. Call it a few times a second; it
    /// never blocks. Returns what happened, for the log.
    pub fn attend(&mut self) -> Vec<Notice> {
        let mut woken = false;
        while let Some(event) = self.pending.take().or_else(|| self.peers.poll()) {
            match self.desk.orders.try_send(Order::Peer(event)) {
                Ok(()) => woken = true,
                // Not every engine repeats itself: keep it until the core has made room.
                Err(TrySendError::Full(Order::Peer(event))) => {
                    self.pending = Some(event);
                    break;
                }
                Err(_) => break,
            }
        }
        if woken {
            self.desk.core.unpark();
        }
        let health = self.peers.lines();
        *self
            .desk
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = health;
        let notices: Vec<Notice> = self.notices.try_iter().collect();
        for notice in &notices {
            if let Notice::WantPeers(count) = notice {
                self.peers.sample(*count);
            }
        }
        notices
    }

    /// Whether all threads are alive.
    pub fn is_sound(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Stop, and leave the steered clock at its last good rate.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake.wake();
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread ended in a panic");
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.halt();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// The calling thread gets the processor and the priority it was configured for, if possible.
pub(super) fn schedule(scheduling: Scheduling) {
    if let Some(cpu) = scheduling.cpu
        && let Err(error) = hwts::sched::pin_to_cpu(cpu)
    {
        tracing::warn!("{error}");
    }
    if let Some(priority) = scheduling.fifo
        && let Err(error) = hwts::sched::set_fifo(priority)
    {
        tracing::warn!("{error}");
    }
}

struct IoThread {
    port: Port,
    core: Thread,
    inbox: Arc<Newest<Input>>,
    outbox: Arc<Newest<Output>>,
    wake: Arc<Wake>,
    /// Transmit stamps that never came.
    lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl IoThread {
    fn run(mut self) {
        let mut failing = false;
        while !self.stop.load(Ordering::Acquire) {
            while let Some(output) = self.outbox.pop() {
                let bytes = &output.bytes[..output.outgoing.len];
                if let Err(error) = self.port.send(&output.outgoing, bytes) {
                    tracing::debug!(to = %output.outgoing.to, "not sent: {error}");
                }
            }
            let mut arrived = false;
            let inbox = &self.inbox;
            let drained = self.port.drain(|incoming| {
                arrived |= matches!(incoming, Incoming::Datagram { .. });
                inbox.push(into_input(&incoming));
            });
            // A transmit stamp alone is no reason to wake anybody: it is ahead of the answer in
            // the queue, and the core looks there before it sends.
            if arrived {
                self.core.unpark();
            }
            let lost = self.port.transport().counters().tx_lost;
            self.lost.store(lost, Ordering::Relaxed);
            let waited = drained.and_then(|()| self.port.wait(LONGEST_SLEEP, Some(&self.wake)));
            match waited {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!("the time socket fails: {error}");
                    }
                    failing = true;
                    thread::park_timeout(Duration::from_millis(100));
                }
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

struct CoreThread {
    core: Core,
    local: LocalClock,
    board: Board,
    inbox: Arc<Newest<Input>>,
    outbox: Arc<Newest<Output>>,
    wake: Arc<Wake>,
    orders: Receiver<Order>,
    notices: Sender<Notice>,
    latencies: Latencies,
    /// How long the host has slept since it booted.
    asleep: Span,
    stop: Arc<AtomicBool>,
}

impl CoreThread {
    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            self.turn();
            let sleep = (self.core.next_timeout() - self.local.now()).to_duration();
            thread::park_timeout(sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
        }
    }

    fn turn(&mut self) {
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
                    self.send();
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
        if now >= self.core.next_timeout() {
            self.core.tick(now);
        }
        while let Some(notice) = self.core.poll_notice(now) {
            // A full channel means that nobody attends; notices are not worth waiting for.
            let _ = self.notices.try_send(notice);
        }
        self.board.publish(self.core.clock());
        self.send();
    }

    fn send(&mut self) {
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
            self.wake.wake();
        }
    }
}

fn run_steerer(mut steerer: Steerer, stop: &AtomicBool) {
    let interval = steerer.interval().to_duration();
    while !stop.load(Ordering::Acquire) {
        steerer.update();
        thread::park_timeout(interval);
    }
    steerer.stop();
}

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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender, TrySendError};
use hwts::Wake;
use hwts::sync::Newest;

use super::board::{Board, BoardReader};
use super::core::{Core, Notice, Outgoing};
use super::local::LocalClock;
use super::port::{Incoming, Port};
use super::steer::{self, SharedReport, Steerer};
use crate::engine::{PeerEvent, PeerSource};
use crate::export::status::Status;
use crate::node::{LinkId, RawStamp};
use crate::time::Span;
use crate::topology::FoundBy;
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

/// How long the status may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// From the socket to the core.
enum Input {
    Datagram {
        from: SocketAddr,
        stamp: RawStamp,
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

/// What the io thread asks of the scheduler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Stay on this CPU.
    pub cpu: Option<usize>,
    /// Run with `SCHED_FIFO` at this priority.
    pub fifo: Option<u8>,
}

/// The parts of a node, ready to run.
pub struct Parts {
    /// Socket and stamps.
    pub port: Port,
    /// Sessions and node.
    pub core: Core,
    /// The clock to steer, if any.
    pub steerer: Option<Steerer>,
    /// Where the virtual clock is published.
    pub board: (Board, BoardReader),
    /// Where peers come from.
    pub peers: Box<dyn PeerSource>,
}

/// A node that runs.
pub struct Daemon {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    wake: Arc<Wake>,
    desk: Desk,
    notices: Receiver<Notice>,
    peers: Box<dyn PeerSource>,
    board: BoardReader,
}

/// Where anybody can ask a running node for its status.
#[derive(Clone)]
pub struct Desk {
    orders: Sender<Order>,
    core: Thread,
    report: Option<SharedReport>,
}

impl Desk {
    /// The status now; `None` if the node has stopped or does not answer.
    pub fn status(&self) -> Option<Status> {
        let (reply, answer) = channel::bounded(1);
        self.orders.try_send(Order::Status(reply)).ok()?;
        self.core.unpark();
        let mut status = answer.recv_timeout(STATUS_PATIENCE).ok()?;
        steer::describe(self.report.as_ref(), &mut status.tracking);
        Some(status)
    }
}

impl Daemon {
    /// Start all threads. `before_rest` runs when the io thread has what it needs of the
    /// scheduler and before any other thread starts: the place to give up privileges.
    ///
    /// # Errors
    /// The system gives no thread or descriptor, or `before_rest` fails.
    pub fn start<E: From<io::Error>>(
        parts: Parts,
        scheduling: Scheduling,
        before_rest: impl FnOnce() -> Result<(), E>,
    ) -> Result<Self, E> {
        let Parts {
            port,
            core,
            steerer,
            board: (board, reader),
            peers,
        } = parts;
        let stop = Arc::new(AtomicBool::new(false));
        let wake = Arc::new(Wake::new()?);
        let inbox = Arc::new(Newest::new(INBOX));
        let outbox = Arc::new(Newest::new(OUTBOX));
        let (orders, incoming_orders) = channel::bounded(ORDERS);
        let (notice, notices) = channel::bounded(ORDERS);
        let (core_known, core_thread) = channel::bounded(1);
        let (ready, is_ready) = channel::bounded(1);
        let mut threads = Vec::new();

        let host = port.clock().clone();
        let io = IoThread {
            port,
            inbox: Arc::clone(&inbox),
            outbox: Arc::clone(&outbox),
            wake: Arc::clone(&wake),
            stop: Arc::clone(&stop),
        };
        threads.push(spawn("io", move || {
            schedule(scheduling);
            // Nobody waits any more if the start was given up.
            let _ = ready.send(());
            if let Ok(core) = core_thread.recv() {
                io.run(&core);
            }
        })?);
        let _ = is_ready.recv();
        if let Err(error) = before_rest() {
            drop(core_known);
            return Err(error);
        }

        let core = CoreThread {
            core,
            host,
            board,
            inbox,
            outbox,
            wake: Arc::clone(&wake),
            orders: incoming_orders,
            notices: notice,
            stop: Arc::clone(&stop),
        };
        let core = spawn("core", move || core.run())?;
        let core_handle = core.thread().clone();
        let _ = core_known.send(core_handle.clone());
        threads.push(core);
        let report = steerer.as_ref().map(Steerer::report);
        if let Some(steerer) = steerer {
            let stop = Arc::clone(&stop);
            threads.push(spawn("steer", move || run_steerer(steerer, &stop))?);
        }
        Ok(Self {
            stop,
            threads,
            wake,
            desk: Desk {
                orders,
                core: core_handle,
                report,
            },
            notices,
            peers,
            board: reader,
        })
    }

    /// The published virtual clock.
    pub const fn board(&self) -> &BoardReader {
        &self.board
    }

    /// Where to ask for the status.
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Pass on what the engines learnt and what the node wants. Call it a few times a second; it
    /// never blocks. Returns what happened, for the log.
    pub fn attend(&mut self) -> Vec<Notice> {
        let mut woken = false;
        while let Some(event) = self.peers.poll() {
            match self.desk.orders.try_send(Order::Peer(event)) {
                Ok(()) => woken = true,
                // Engines repeat themselves.
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => break,
            }
        }
        if woken {
            self.desk.core.unpark();
        }
        let notices: Vec<Notice> = self.notices.try_iter().collect();
        for notice in &notices {
            if let Notice::WantPeers(count) = notice {
                self.peers.sample(*count);
            }
        }
        notices
    }

    /// One line on how the engines are doing.
    pub fn health(&self) -> String {
        self.peers.health()
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

fn schedule(scheduling: Scheduling) {
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
    inbox: Arc<Newest<Input>>,
    outbox: Arc<Newest<Output>>,
    wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
}

impl IoThread {
    fn run(mut self, core: &Thread) {
        let mut failing = false;
        while !self.stop.load(Ordering::Acquire) {
            while let Some(output) = self.outbox.pop() {
                let bytes = &output.bytes[..output.outgoing.len];
                if let Err(error) = self.port.send(&output.outgoing, bytes) {
                    tracing::debug!(to = %output.outgoing.to, "not sent: {error}");
                }
            }
            let mut news = false;
            let inbox = &self.inbox;
            let drained = self.port.drain(|incoming| {
                news = true;
                inbox.push(into_input(&incoming));
            });
            if news {
                core.unpark();
            }
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
        Incoming::Datagram { from, bytes, stamp } => {
            // Longer ones are not ours; what is cut off fails to authenticate.
            let len = bytes.len().min(MAX_DATAGRAM);
            let mut copy = [0; MAX_DATAGRAM];
            copy[..len].copy_from_slice(&bytes[..len]);
            Input::Datagram {
                from,
                stamp,
                len,
                bytes: copy,
            }
        }
    }
}

struct CoreThread {
    core: Core,
    host: LocalClock,
    board: Board,
    inbox: Arc<Newest<Input>>,
    outbox: Arc<Newest<Output>>,
    wake: Arc<Wake>,
    orders: Receiver<Order>,
    notices: Sender<Notice>,
    stop: Arc<AtomicBool>,
}

impl CoreThread {
    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            self.turn();
            let sleep = (self.core.next_timeout() - self.host.now()).to_duration();
            thread::park_timeout(sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
        }
    }

    fn turn(&mut self) {
        while let Some(input) = self.inbox.pop() {
            let now = self.host.now();
            match input {
                Input::Sent { packet, stamp } => self.core.sent(packet, stamp),
                Input::Datagram {
                    from,
                    stamp,
                    len,
                    bytes,
                } => {
                    if let Err(refusal) = self.core.datagram(now, from, &bytes[..len], stamp) {
                        tracing::trace!(%from, "refused: {refusal}");
                    }
                    // An answer that leaves at once keeps the exchange short.
                    self.send();
                }
            }
        }
        while let Ok(order) = self.orders.try_recv() {
            let now = self.host.now();
            match order {
                Order::Peer(event) => self.core.peer_event(now, event),
                Order::Status(reply) => {
                    // Whoever asked may have lost patience.
                    let _ = reply.try_send(self.core.status(now));
                }
            }
        }
        let now = self.host.now();
        if now >= self.core.next_timeout() {
            self.core.tick(now);
        }
        while let Some(notice) = self.core.poll_notice(now) {
            // A full channel means that nobody attends; notices are not worth waiting for.
            let _ = self.notices.try_send(notice);
        }
        self.board.publish(self.core.node().clock());
        self.send();
    }

    fn send(&mut self) {
        let mut any = false;
        loop {
            let mut bytes = [0; MAX_DATAGRAM];
            let now = self.host.now();
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

/// Peers worth remembering, from a status: those that were found, not those that found us.
pub fn worth_keeping(status: &Status) -> impl Iterator<Item = &crate::export::status::Peer> {
    let fresh = |peer: &&crate::export::status::Peer| {
        peer.found_by != FoundBy::Inbound && peer.reach != 0
    };
    status.peers.iter().filter(fresh)
}

/// How long a start may wait for the first answer of anybody, in tests and the demo.
pub const PATIENCE: Span = Span::from_secs(10);

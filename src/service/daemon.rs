//! The threads of one node and the queues between them.
//!
//! ```text
//! socket, stamps ──inbox (newest wins)──► core: sessions, node ──board──► steer: the clock
//!        ◄───────────outbox──────────────────┘  ▲ orders │ notices
//!                                               └──attend ◄── engines, control socket
//! ```
//!
//! Socket and core are one thread, which sleeps in `ppoll(2)`: to wake another for each sample takes
//! longer than to use it. Where stamps depend on how soon the socket is read, they are two
//! ([`Scheduling::apart`]). No lock is on the way of a sample.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender, TrySendError};
use hwts::Wake;
use hwts::sync::Newest;

use super::assemble::{Clocks, Parts};
use super::core::Notice;
use super::core_side::{CoreSide, INBOX, Order};
use super::latency::Latencies;
use super::local::LocalClock;
use super::socket_side::SocketSide;
use super::steer::{self, SharedReport, Steerer};
use crate::discipline::asleep;
use crate::engine::{PeerEvent, PeerSource, Sources};
use crate::export::status::Status;

/// Datagrams on their way to the socket.
const OUTBOX: usize = 128;

/// Orders and notices on their way; beyond that they are dropped, as they come again.
const ORDERS: usize = 64;

/// How long the status may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// What the threads on the way of a sample ask of the scheduler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// They stay on this CPU.
    pub cpu: Option<usize>,
    /// They run with `SCHED_FIFO` at this priority.
    pub fifo: Option<u8>,
    /// The socket has a thread of its own, beside that of the core.
    pub apart: bool,
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

/// Wakes the thread that the core runs in.
#[derive(Clone)]
enum Bell {
    /// It is parked.
    Parked(Thread),
    /// It waits for packets as well.
    Waiting(Arc<Wake>),
}

impl Bell {
    fn ring(&self) {
        match self {
            Self::Parked(thread) => thread.unpark(),
            Self::Waiting(wake) => wake.wake(),
        }
    }
}

/// Where anybody can ask a running node for its status.
#[derive(Clone)]
pub struct Desk {
    orders: Sender<Order>,
    bell: Bell,
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
        self.bell.ring();
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
            truth,
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

        let core = CoreSide {
            core,
            truth,
            local: LocalClock::new(port.clock().raw().clone()),
            board,
            inbox: Arc::clone(&inbox),
            outbox: Arc::clone(&outbox),
            orders: incoming_orders,
            notices: notice,
            latencies: Latencies::default(),
            asleep: asleep(),
        };
        let socket = SocketSide::new(port, inbox, outbox, Arc::clone(&lost), Arc::clone(&wake));
        // A sample has waited for nothing if it waits for the core instead: where that has a thread
        // of its own, it is scheduled in the same way.
        let (first, bell, second) = if scheduling.apart {
            let (halt, wake) = (Arc::clone(&stop), Arc::clone(&wake));
            let core = spawn("core", move || {
                schedule(scheduling);
                core.run(&wake, &halt);
            })?;
            let bell = Bell::Parked(core.thread().clone());
            (core, bell, Some(socket))
        } else {
            let (halt, bell) = (Arc::clone(&stop), Bell::Waiting(Arc::clone(&wake)));
            let both = spawn("core", move || {
                schedule(scheduling);
                run_together(socket, core, &halt);
            })?;
            (both, bell, None)
        };
        let desk = Desk {
            orders,
            bell,
            report,
            lost,
            sources: Arc::default(),
            clocks,
        };
        // From here on a failure drops the daemon, which stops what runs already.
        let mut daemon = Self {
            stop: Arc::clone(&stop),
            threads: vec![first],
            wake,
            desk,
            notices,
            peers,
            pending: None,
        };
        if let Some(socket) = second {
            let (halt, core) = (Arc::clone(&stop), daemon.threads[0].thread().clone());
            daemon.threads.push(spawn("io", move || {
                schedule(scheduling);
                socket.run(&core, &halt);
            })?);
        }
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
            self.desk.bell.ring();
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

/// Socket and core in one thread.
fn run_together(mut socket: SocketSide, mut core: CoreSide, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let taken = socket.take_in();
        core.turn(|| socket.send_out());
        socket.rest(taken.map(drop), core.idle());
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Instant;

    use hwts::transport::Transport;

    use crate::node::Strategies;
    use crate::service::testing::{knowing, parts};
    use crate::wire::ClockState;

    /// A node on loopback that knows of `peer`, and its address.
    fn node(seed: u64, apart: bool, peer: Option<SocketAddr>) -> (Daemon, SocketAddr) {
        let parts = parts(seed, Strategies::default());
        let address = parts.port.transport().local_addr();
        let scheduling = Scheduling {
            apart,
            ..Scheduling::default()
        };
        let daemon = Daemon::start(parts, knowing(peer), scheduling).unwrap();
        (daemon, address)
    }

    #[test]
    fn one_thread_and_two_do_the_same() {
        let (one, address) = node(1, false, None);
        let (two, _) = node(2, true, Some(address));
        assert_eq!((one.threads.len(), two.threads.len()), (2, 3), "one steers");
        let mut nodes = [one, two];
        let deadline = Instant::now() + Duration::from_secs(60);
        for at in [0, 1] {
            loop {
                for node in &mut nodes {
                    node.attend();
                }
                let tracking = nodes[at].desk().status().unwrap().tracking;
                let done = tracking.state == ClockState::Synchronized;
                // Whoever waits for nobody's packets answers all the same.
                if done && tracking.counters.exchanges > 4 && !tracking.latency.is_empty() {
                    break;
                }
                assert!(Instant::now() < deadline, "{at}: {tracking:?}");
                thread::sleep(Duration::from_millis(20));
            }
            assert!(nodes[at].is_sound());
        }
        for node in nodes {
            let start = Instant::now();
            node.stop();
            assert!(
                start.elapsed() < Duration::from_secs(2),
                "a thread sleeps on"
            );
        }
    }
}

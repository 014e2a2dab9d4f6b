//! One node in one thread: a single `poll(2)` loop, for small devices and clock simulators.

use std::time::Duration;

use hwts::clock::RawClock;
use hwts::transport::{Transport, TransportError};

use super::assemble::{Clocks, Parts};
use super::core::Notice;
use super::latency::{Latencies, Way};
use super::port::Incoming;
use super::steer::{self, SharedReport};
use crate::engine::{PeerSource, Sources};
use crate::export::control::{ControlServer, StatusProvider};
use crate::export::status::{ClockReading, Status};
use crate::time::{RawTime, Span};
use crate::wire::MAX_DATAGRAM;

/// The loop looks at signals and the control socket at least this often.
const LONGEST_SLEEP: Span = Span::from_millis(250);

/// The least that `poll(2)` can wait.
const SHORTEST_SLEEP: Span = Span::from_millis(1);

/// Pause after the time socket failed: it may go on saying that it is ready.
const FAULT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that says so often in a row that it is ready, and then gives nothing, is sick.
const EMPTY_TURNS: u32 = 16;

/// Requests of one client answered in a turn: it connects, then asks.
const ANSWERS: usize = 4;

/// A node, one turn of its loop at a time.
pub struct Single {
    parts: Parts,
    peers: Sources,
    control: Option<ControlServer>,
    next_steer: RawTime,
    report: Option<SharedReport>,
    failing: bool,
    raw: RawClock,
    latencies: Latencies,
    /// Turns in a row that did not sleep although nothing had come.
    empty_turns: u32,
}

struct Answers {
    status: Status,
    clocks: Clocks,
}

impl StatusProvider for Answers {
    fn status(&self) -> Option<Status> {
        Some(self.status.clone())
    }

    fn clock_at(&self, mono_raw: i64) -> ClockReading {
        self.clocks.at(mono_raw)
    }
}

impl Single {
    /// A loop over `parts`, with peers from `peers`.
    pub fn new(parts: Parts, peers: Sources, control: Option<ControlServer>) -> Self {
        Self {
            next_steer: parts.port.clock().now(),
            report: parts.steerer.as_ref().map(steer::Steerer::report),
            raw: parts.port.clock().raw().clone(),
            parts,
            peers,
            control,
            failing: false,
            latencies: Latencies::default(),
            empty_turns: 0,
        }
    }

    /// The clock's report, if one is steered.
    pub fn report(&self) -> Option<&SharedReport> {
        self.report.as_ref()
    }

    /// The node's status now.
    pub fn status(&self) -> Status {
        let mut status = self.parts.core.status(self.now());
        status.tracking.counters.stamps_lost = self.parts.port.transport().counters().tx_lost;
        status.tracking.sources = self.peers.lines();
        status.tracking.latency = self.latencies.describe();
        steer::describe(self.report.as_ref(), &mut status.tracking);
        self.parts.port.cards().describe(&mut status.tracking);
        status
    }

    /// Do what is due, then sleep until something is, or a quarter of a second. Returns what
    /// happened.
    pub fn turn(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let now = self.now();
        while let Some(event) = self.peers.poll() {
            self.parts.core.peer_event(now, event);
        }
        if now >= self.parts.core.next_timeout() {
            self.parts.core.tick(now);
        }
        if let Some(truth) = self.parts.truth.as_mut().and_then(|truth| truth.look(now)) {
            self.parts.core.truth(truth);
        }
        let exchanged = self.exchange(&mut notices);
        for notice in &notices {
            if let Notice::WantPeers(count) = notice {
                self.peers.sample(*count);
            }
        }
        self.parts.board.publish(self.parts.core.clock());
        let mut due = self.parts.core.next_timeout();
        if let Some(steerer) = &mut self.parts.steerer {
            if now >= self.next_steer {
                steerer.update();
                self.next_steer = now + steerer.interval();
            }
            due = due.min(self.next_steer);
        }
        self.answer();
        let sleep = (due - self.now()).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
        self.rest(sleep, exchanged);
        notices
    }

    /// Stop: leave the clock at its last good rate.
    pub fn stop(&mut self) {
        if let Some(steerer) = &mut self.parts.steerer {
            steerer.stop();
        }
    }

    fn now(&self) -> RawTime {
        self.parts.port.clock().now()
    }

    /// Send and receive until there is nothing left to do at once. Returns whether anything came.
    fn exchange(&mut self, notices: &mut Vec<Notice>) -> Result<bool, TransportError> {
        let mut received = self.receive();
        loop {
            let now = self.now();
            while let Some(notice) = self.parts.core.poll_notice(now) {
                notices.push(notice);
            }
            let mut bytes = [0; MAX_DATAGRAM];
            let Some(outgoing) = self.parts.core.poll_send(now, &mut bytes) else {
                return received;
            };
            if let Err(error) = self.parts.port.send(&outgoing, &bytes[..outgoing.len]) {
                tracing::debug!(to = %outgoing.to, "not sent: {error}");
            }
            // Clock simulators keep only the last transmit stamp: take it at once.
            received = received.and_then(|before| Ok(self.receive()? || before));
        }
    }

    fn receive(&mut self) -> Result<bool, TransportError> {
        let Self {
            parts: Parts { port, core, .. },
            latencies,
            raw,
            ..
        } = self;
        let now = port.clock().now();
        let mut received = false;
        port.drain(|incoming| {
            received = true;
            match incoming {
                Incoming::Sent { packet, stamp } => core.sent(packet, stamp),
                Incoming::Datagram {
                    from,
                    bytes,
                    stamp,
                    read,
                } => match core.datagram(now, from, bytes, stamp) {
                    Ok(true) => latencies.add(&Way {
                        stamped: stamp.at,
                        read,
                        taken: read,
                        used: RawTime::from_nanos(raw.now()),
                    }),
                    Ok(false) => {}
                    Err(refusal) => tracing::trace!(%from, "refused: {refusal}"),
                },
            }
        })?;
        Ok(received)
    }

    fn answer(&mut self) {
        for _ in 0..ANSWERS {
            let Some(control) = &self.control else { return };
            if !control.is_wanted() {
                return;
            }
            let answers = Answers {
                status: self.status(),
                clocks: self.parts.clocks.clone(),
            };
            if let Some(control) = &mut self.control
                && let Err(error) = control.turn(Some(Duration::ZERO), None, &answers)
            {
                tracing::warn!("the control socket fails: {error}");
                self.control = None;
            }
        }
    }

    /// Sleep until a datagram comes, at most for `sleep`, and never not at all.
    fn rest(&mut self, sleep: Span, exchanged: Result<bool, TransportError>) {
        let before = self.now();
        let rested = exchanged.and_then(|received| {
            self.parts.port.wait(sleep.to_duration(), None)?;
            Ok(received || self.now() - before >= SHORTEST_SLEEP)
        });
        match rested {
            Ok(true) => (self.failing, self.empty_turns) = (false, 0),
            Ok(false) if self.empty_turns < EMPTY_TURNS => self.empty_turns += 1,
            Ok(false) => std::thread::sleep(SHORTEST_SLEEP.to_duration()),
            Err(error) => {
                if !self.failing {
                    tracing::warn!("the time socket fails: {error}");
                }
                self.failing = true;
                std::thread::sleep(FAULT_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use crate::consensus::strategies::CombineKind;
    use crate::link::EstimatorKind;
    use crate::node::Strategies;
    use crate::service::testing::{knowing, parts};
    use crate::wire::ClockState;

    /// A node on loopback that knows of `peer`.
    fn node(seed: u64, strategies: Strategies, peer: Option<&Single>) -> Single {
        let peer = peer.map(|peer| peer.parts.port.transport().local_addr());
        Single::new(parts(seed, strategies), knowing(peer), None)
    }

    /// Turn until the clocks of both nodes are steered by synchronized nodes: each needs the other
    /// until then.
    fn settle(mut node: Single, settled: &AtomicUsize) -> Single {
        let start = Instant::now();
        let mut done = false;
        while !done || settled.load(Ordering::SeqCst) < 2 {
            node.turn();
            let tracking = node.status().tracking;
            let steered = node
                .report()
                .is_some_and(|r| steer::lock(r).steady.is_some());
            if !done && tracking.state == ClockState::Synchronized && steered {
                done = true;
                settled.fetch_add(1, Ordering::SeqCst);
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{tracking:?}");
        }
        node
    }

    #[test]
    fn two_loops_agree_and_stop_at_a_good_rate() {
        // Whatever strategies they have.
        let unusual = Strategies {
            estimator: EstimatorKind::Kalman,
            combine: CombineKind::Median,
        };
        let one = node(1, Strategies::default(), None);
        let two = node(2, unusual, Some(&one));
        let named = |node: &Single| {
            let tracking = node.status().tracking;
            (tracking.estimator, tracking.combine)
        };
        assert_eq!(named(&one), ("default".to_owned(), "default".to_owned()));
        assert_eq!(named(&two), ("kalman".to_owned(), "median".to_owned()));
        let settled = AtomicUsize::new(0);
        let mut two = std::thread::scope(|scope| {
            scope.spawn(|| settle(one, &settled));
            settle(two, &settled)
        });
        assert!(two.status().tracking.counters.exchanges > 0);
        two.stop();
        let steady = steer::lock(two.report().unwrap()).steady;
        let rate = two.status().tracking.clock_rate_ppm;
        assert!((rate.unwrap() - steady.unwrap().as_ppm()).abs() < 1e-3);
    }

    #[test]
    fn a_sick_socket_makes_nobody_spin() {
        let mut node = node(1, Strategies::default(), None);
        // From now on it is always ready and never gives anything.
        let socket = socket2::SockRef::from(node.parts.port.transport().udp());
        let _ = socket.shutdown(std::net::Shutdown::Read);
        let (start, mut turns) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(200) {
            node.turn();
            turns += 1;
        }
        assert!(turns < 300, "{turns}");
    }
}

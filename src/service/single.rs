//! One node in one thread: a single `poll(2)` loop, for small devices and clock simulators.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::assemble::{Clocks, Parts};
use super::core::Notice;
use super::port::Incoming;
use super::steer::{self, SharedReport};
use crate::engine::{PeerSource, Sources};
use crate::export::control::{ControlServer, StatusProvider};
use crate::export::status::{ClockReading, Status};
use crate::time::{RawTime, Span};
use crate::wire::MAX_DATAGRAM;

/// The loop looks at signals and the control socket at least this often.
const LONGEST_SLEEP: Span = Span::from_millis(250);

/// Rounded up to what `poll(2)` can wait: it never returns before the time.
const SHORTEST_SLEEP: Span = Span::from_micros(50);

/// A node, one turn of its loop at a time.
pub struct Single {
    parts: Parts,
    peers: Sources,
    control: Option<ControlServer>,
    next_steer: RawTime,
    report: Option<SharedReport>,
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
    pub fn new(mut parts: Parts, peers: Sources, control: Option<ControlServer>) -> Self {
        let next_steer = parts.port.clock().now();
        if let Some(steerer) = &mut parts.steerer {
            steerer.ignore_sleep();
        }
        Self {
            report: parts.steerer.as_ref().map(steer::Steerer::report),
            parts,
            peers,
            control,
            next_steer,
        }
    }

    /// The clock's report, if one is steered.
    pub fn report(&self) -> Option<&SharedReport> {
        self.report.as_ref()
    }

    /// The node's status now.
    pub fn status(&self) -> Status {
        let mut status = self.parts.core.status(self.parts.port.clock().now());
        status.tracking.counters.stamps_lost = self.parts.port.transport().counters().tx_lost;
        status.tracking.sources = self.peers.lines();
        steer::describe(self.report.as_ref(), &mut status.tracking);
        status
    }

    /// Do what is due, then sleep until something is. Returns what happened.
    pub fn turn(&mut self, stop: &AtomicBool) -> Vec<Notice> {
        let mut notices = Vec::new();
        let now = self.now();
        while let Some(event) = self.peers.poll() {
            self.parts.core.peer_event(now, event);
        }
        if now >= self.parts.core.next_timeout() {
            self.parts.core.tick(now);
        }
        self.exchange(&mut notices);
        self.parts.board.publish(self.parts.core.node().clock());
        let mut due = self.parts.core.next_timeout();
        if let Some(steerer) = &mut self.parts.steerer {
            if now >= self.next_steer {
                steerer.update();
                self.next_steer = now + steerer.interval();
            }
            due = due.min(self.next_steer);
        }
        self.answer();
        if !stop.load(Ordering::Acquire) {
            let sleep = (due - self.now()).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
            self.sleep(sleep.to_duration());
        }
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

    /// Send and receive until there is nothing left to do at once.
    fn exchange(&mut self, notices: &mut Vec<Notice>) {
        self.receive();
        loop {
            let now = self.now();
            while let Some(notice) = self.parts.core.poll_notice(now) {
                notices.push(notice);
            }
            let mut bytes = [0; MAX_DATAGRAM];
            let Some(outgoing) = self.parts.core.poll_send(now, &mut bytes) else {
                break;
            };
            if let Err(error) = self.parts.port.send(&outgoing, &bytes[..outgoing.len]) {
                tracing::debug!(to = %outgoing.to, "not sent: {error}");
            }
            // Clock simulators keep only the last transmit stamp: take it at once.
            self.receive();
        }
    }

    fn receive(&mut self) {
        let Parts { port, core, .. } = &mut self.parts;
        let now = port.clock().now();
        let drained = port.drain(|incoming| match incoming {
            Incoming::Sent { packet, stamp } => core.sent(packet, stamp),
            Incoming::Datagram { from, bytes, stamp } => {
                if let Err(refusal) = core.datagram(now, from, bytes, stamp) {
                    tracing::trace!(%from, "refused: {refusal}");
                }
            }
        });
        if let Err(error) = drained {
            tracing::debug!("the time socket fails: {error}");
        }
    }

    fn answer(&mut self) {
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

    fn sleep(&self, sleep: Duration) {
        if let Err(error) = self.parts.port.wait(sleep, None) {
            tracing::debug!("the time socket fails: {error}");
            std::thread::sleep(sleep);
        }
    }
}

//! The way of TX stamps: from the error queue to the packets they belong to.

use std::io;
use std::os::fd::AsFd;

use super::inflight::{CAPACITY, Match};
use super::socket::{FLAGS, is_network_error, kernel_stamp, set_timestamping};
use super::{FallbackReason, TransportError, TxEvent, UdpTransport, cmsg};
use crate::stamp::{Domain, Source};
use crate::sys;

/// That many TX stamps lost in a row, over at least [`STOPPED_NANOS`], mean that none will come.
const STOPPED_COUNT: u32 = 16;
const STOPPED_NANOS: i64 = 10_000_000_000;

/// TX stamps lost since the last that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Losses {
    count: u32,
    since: i64,
}

impl Losses {
    /// Some more were lost, known at the raw instant `now`. Whether to expect no more stamps.
    pub(super) fn add(&mut self, lost: u32, now: i64) -> bool {
        if self.count == 0 {
            self.since = now;
        }
        self.count = self.count.saturating_add(lost);
        self.count >= STOPPED_COUNT && now.saturating_sub(self.since) >= STOPPED_NANOS
    }
}

impl UdpTransport {
    /// Reports the stamps of sent datagrams, and those that will never come. Returns how many.
    ///
    /// Reads the kernel's error queue only while a stamp is awaited, so it costs next to nothing
    /// when there is nothing to know.
    ///
    /// # Errors
    /// [`TransportError::Receive`] if the socket cannot be read at all.
    pub fn poll_tx(&mut self, sink: impl FnMut(TxEvent)) -> Result<usize, TransportError> {
        let stopped = self.capabilities.fallback == Some(FallbackReason::TxStampsStopped);
        if self.inflight.waiting() > 0 || self.error_seen.get() || stopped {
            self.drain_error_queue()?;
        }
        if self.inflight.waiting() > 0 {
            let now = Domain::MonotonicRaw.now();
            let (cards, counters) = (&mut self.cards, &mut self.counters);
            self.inflight
                .expire(now - self.tx_timeout, |card, crowded| {
                    counters.tx_hardware_missed += 1;
                    if let Some(cards) = cards {
                        cards.missed(card, crowded, now);
                    }
                });
        }
        let reported = self.inflight.report(&mut self.counters, sink);
        if reported.lost > 0 {
            self.note_lost(reported.lost);
        }
        Ok(reported.events)
    }

    pub(super) fn drain_error_queue(&mut self) -> Result<(), TransportError> {
        // The packet comes back cut to nothing (OPT_TSONLY); ICMP errors bring some of theirs.
        let mut bytes = [0; 64];
        let mut read_any = false;
        // Bounded, since a flood of ICMP errors must not keep us here.
        for _ in 0..4 * CAPACITY {
            let message = match sys::recv_message(
                self.fd.as_fd(),
                &mut bytes,
                &mut self.control,
                libc::MSG_ERRQUEUE,
            ) {
                Ok(message) => message,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if is_network_error(&e) => {
                    self.counters.network_errors += 1;
                    continue;
                }
                Err(e) => return Err(TransportError::Receive(e)),
            };
            read_any = true;
            let control = cmsg::parse(&self.control.0[..message.control_len]);
            if control.network_error {
                self.counters.network_errors += 1;
            }
            if let (Some(nanos), Some(id)) = (control.hardware, control.id) {
                self.note_card_stamp(id, nanos);
            }
            if let (Some(nanos), Some(id)) = (control.kernel, control.id) {
                // Linux keeps the packet to itself and numbers its stamp, as it was asked to. Who
                // gives the packet back, as simulators do, did not understand that.
                self.note_stamp((message.len == 0).then_some(id), nanos);
            }
            if self.inflight.waiting() == 0 {
                break;
            }
        }
        if self.error_seen.take() && !read_any {
            // An error is pending without anything on the queue: unless it is taken, every later
            // wait would return at once.
            let pending = sys::take_error(self.fd.as_fd()).map_err(TransportError::Receive)?;
            self.counters.network_errors += u64::from(pending != 0);
        }
        Ok(())
    }

    fn note_card_stamp(&mut self, id: u32, nanos: i64) {
        let card = self.inflight.card_of(id);
        let stamp = match (card, &mut self.cards) {
            (Some(card), Some(cards)) => cards.sent(card, nanos),
            // Nobody waits for it: it is too late, or its card is not used.
            _ => None,
        };
        match stamp {
            Some(stamp) => {
                self.inflight.stamped(id, stamp);
            }
            None => self.counters.tx_unmatched += 1,
        }
    }

    fn note_stamp(&mut self, id: Option<u32>, nanos: i64) {
        let stamp = kernel_stamp(nanos);
        let found = match id {
            Some(id) => self.inflight.stamped(id, stamp),
            None => self.inflight.stamped_only(stamp),
        };
        match found {
            Match::Packet => {
                self.losses = Losses::default();
                return;
            }
            Match::None => {}
            Match::OutOfStep => self.out_of_step = true,
        }
        if self.capabilities.fallback == Some(FallbackReason::TxStampsStopped) {
            // They come again.
            self.capabilities.tx = Source::Kernel;
            self.capabilities.fallback = None;
            self.losses = Losses::default();
        } else {
            self.counters.tx_unmatched += 1;
        }
    }

    fn note_lost(&mut self, lost: u32) {
        if self.out_of_step {
            self.resync();
        }
        let stopped = self.losses.add(lost, Domain::MonotonicRaw.now());
        if stopped && self.capabilities.tx == Source::Kernel {
            self.capabilities.tx = Source::User;
            self.capabilities.fallback = Some(FallbackReason::TxStampsStopped);
        }
    }

    /// A refused packet may have been counted by the kernel (it was, if it got as far as a queue)
    /// or not (no route, bad address). Where that is open, counting starts anew.
    pub(super) fn after_failed_send(&mut self, error: &io::Error) {
        let uncounted = matches!(
            error.raw_os_error(),
            Some(
                libc::ENETUNREACH
                    | libc::EHOSTUNREACH
                    | libc::EADDRNOTAVAIL
                    | libc::EAFNOSUPPORT
                    | libc::EDESTADDRREQ
                    | libc::EACCES
                    | libc::EINVAL
            )
        );
        if self.numbered && !uncounted {
            self.resync();
        }
    }

    fn resync(&mut self) {
        self.out_of_step = false;
        // What has come already can still be matched.
        if self.drain_error_queue().is_err() {
            return;
        }
        let fd = self.fd.as_fd();
        match set_timestamping(fd, FLAGS).and_then(|()| set_timestamping(fd, self.flags)) {
            Ok(()) => {
                self.counters.resyncs += 1;
                if self.inflight.waiting() > 0 {
                    // Their stamps may still come, under numbers that are used again now.
                    self.kernel_tx_from = Domain::MonotonicRaw.now() + self.tx_timeout;
                }
            }
            Err(e) => {
                self.numbered = false;
                self.capabilities.tx = Source::User;
                self.capabilities.fallback = Some(FallbackReason::TxStampsUnidentified {
                    errno: e.raw_os_error().unwrap_or(0),
                });
            }
        }
        self.inflight.restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_losses_over_a_long_time_mean_that_stamps_stopped() {
        let mut burst = Losses::default();
        assert!(!burst.add(1_000, 5));
        assert!(!burst.add(1_000, STOPPED_NANOS));
        assert!(burst.add(1, 5 + STOPPED_NANOS));

        let mut rare = Losses::default();
        for k in 1..i64::from(STOPPED_COUNT) {
            assert!(!rare.add(1, k * STOPPED_NANOS));
        }
        assert!(rare.add(1, 100 * STOPPED_NANOS));
    }
}

//! One round of the consensus: what the neighbours say moves our clock.

use super::anchor::Anchor;
use super::clock::{Known, Leash};
use super::vicinity::Vicinity;
use super::{Event, Node, Size};
use crate::consensus::{
    self, Combine, Correction, Gain, MAX_READINGS, Reading, Round, Verdict, Window, tolerated_liars,
};
use crate::link::LinkEstimator;
use crate::time::{Rate, RawTime, Span, VirtualLine};
use crate::wire::{ClockState, Tier};

/// Share of the agreed offset that one round corrects: at first, and once settled.
const OFFSET_GAIN: (f64, f64) = (0.7, 0.3);

/// The same for the frequency.
const RATE_GAIN: (f64, f64) = (0.5, 0.1);

/// How fast the leash's fixed point follows the oscillators around us, a round.
const LEASH_GAIN: f64 = 0.02;

/// Rounds that have more to correct than to keep.
const EAGER_ROUNDS: u32 = 10;

/// Rounds in a row that must agree before the state changes.
pub(super) const STREAK: u8 = 3;

/// Fresh peers that a settled node asks for when the majority turns out to be elsewhere: of 48
/// drawn at random with 30 % liars, the honest are outnumbered once in 350 times.
const FRESH_SAMPLE: usize = 48;

/// A promise holds for so many quarters of a poll and a round: longer than anybody should have to
/// do without hearing us, and hardly longer than that, as it binds us when our oscillator changes.
pub(super) const HELD_QUARTERS: i64 = 5;

/// The leash is longer by this many sigma of where it is tied: who sees few of many different
/// oscillators must still be able to follow the network.
const LEASH_SIGMAS: f64 = 3.0;

/// A majority this far away, and beyond six sigma, is joined anew rather than slewed to.
pub(super) const ELSEWHERE: f64 = 20_000.0;

/// Nobody's oscillator is taken to wander by more than so many times what was measured of it.
const WANDER_RESERVE: f64 = 1.5;

/// Share of our guaranteed bound that nobody minds to have on top of theirs, so that the promise
/// leaves us as much room; of no more than so many ns.
const SPARE: f64 = 0.02;
const MOST_SPARE: f64 = 1e6;

/// Rounds are no farther apart than this, however rare the polls: each takes in what came of any
/// neighbour since the last, and the oscillators wander all the while.
pub(super) const LONGEST_ROUND: Span = Span::from_secs(1);

/// The readings of one round, on the stack.
pub(super) struct Readings {
    readings: [Reading; MAX_READINGS],
    slots: [u16; MAX_READINGS],
    len: usize,
}

impl Readings {
    /// Whose they are.
    pub(super) fn slots(&self) -> &[u16] {
        &self.slots[..self.len]
    }

    pub(super) fn as_slice(&self) -> &[Reading] {
        &self.readings[..self.len]
    }
}

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// Take a round at `now` and plan the next.
    pub(super) fn round(&mut self, now: RawTime) {
        let mut period = self.poll_period().min(LONGEST_ROUND);
        self.next_round = now + period;
        self.plan_refinement(now);
        if let Some(pace) = self.combine.pace() {
            period = period.min(pace);
        }
        let readings = self.read(now);
        let view = &mut self.clock.view;
        match view.state {
            ClockState::Synchronized => self.stability.follow(now, &view.line),
            _ => self.stability.interrupt(),
        }
        view.line = view.line.anchored_at(now);
        view.heard = readings.len as u16;
        self.clock.missing.heard(now, readings.len);
        if readings.len == 0 {
            view.used = 0;
            return self.hold_over(now);
        }
        match view.state {
            ClockState::Joining => self.join(now, &readings),
            ClockState::Synchronized => self.agree(now, period, &readings),
            ClockState::Unsynchronized | ClockState::Holdover | ClockState::FreeRunning => {
                self.come_back(now, &readings);
            }
        }
        self.publish_window(now, &readings);
    }

    fn read(&mut self, now: RawTime) -> Readings {
        const NOTHING: Reading = Reading {
            offset: 0.0,
            sigma: 0.0,
            lower: 0.0,
            upper: 0.0,
            rate: 0.0,
            rate_sigma: 0.0,
            raw_rate: 0.0,
            ready: false,
            key: 0,
            tier: Tier::NONE,
        };
        let mut all = Readings {
            readings: [NOTHING; MAX_READINGS],
            slots: [0; MAX_READINGS],
            len: 0,
        };
        let (line, wander) = (self.clock.view.line, self.wander_limit());
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(slot) = slot else { continue };
            if !slot.is_neighbour() || !slot.reachable() {
                slot.verdict = None;
                continue;
            }
            slot.expect_wander(wander, self.config.oscillator.wander);
            if let Some(reading) = slot.reading(&line, now, &self.config)
                && all.len < MAX_READINGS
            {
                all.readings[all.len] = reading;
                all.slots[all.len] = index as u16;
                all.len += 1;
            }
        }
        all
    }

    /// Follow the consensus by slewing; if the majority is elsewhere, join it.
    fn agree(&mut self, now: RawTime, period: Span, readings: &Readings) {
        let verdicts = self.judge(readings);
        let slice = readings.as_slice();
        self.look_around(&verdicts[..readings.len]);
        // Newcomers and few others do not move a settled clock.
        if !is_here(slice)
            && consensus::established(slice, true)
            && let Some(target) = consensus::target(slice, true)
            && target.offset.abs() > elsewhere(target.sigma.max(target.unknown))
        {
            self.clock.streak = self.clock.streak.saturating_add(1);
            if self.clock.streak >= STREAK {
                self.clock.joining_since = Some(now);
                // Those around us misled us, or do now: see more than them.
                self.emit(Event::WantPeers(FRESH_SAMPLE));
                return self.enter(ClockState::Joining);
            }
        } else {
            self.clock.streak = 0;
        }
        let line = self.clock.view.line;
        if self.clock.settled_rounds == 0 {
            let (sigma, rate_sigma) = self.clock.entered_with;
            self.combine.join(now, &line, sigma, rate_sigma);
        }
        let correction = self.combine.combine(&Round {
            readings: slice,
            verdicts: &verdicts[..readings.len],
            period,
            now,
            line,
        });
        let eager = self.clock.settled_rounds < EAGER_ROUNDS;
        let pick = |(first, then): (f64, f64)| if eager { first } else { then };
        self.clock.settled_rounds = self.clock.settled_rounds.saturating_add(1);
        let gain = correction.gain.unwrap_or(Gain {
            offset: pick(OFFSET_GAIN),
            rate: pick(RATE_GAIN),
        });
        self.tie_leash(readings);
        // Between two rounds the clock may take in what comes several times.
        let until_next = self.next_round - now;
        let leaning = self.anchor(now, until_next, readings);
        self.combine.lean(now, leaning);
        self.steer(now, period, &correction, gain, leaning);
        self.agree_nearby(now, until_next, readings);
    }

    /// Among so many liars nobody knows who they are: see more than those at hand.
    fn look_around(&mut self, verdicts: &[Verdict]) {
        let elsewhere = verdicts.iter().filter(|v| **v == Verdict::Falseticker);
        let beset = elsewhere.count() > tolerated_liars(verdicts.len() + 1);
        let rounds = if beset {
            self.clock.beset.saturating_add(1)
        } else {
            0
        };
        self.clock.beset = rounds;
        if rounds == STREAK {
            self.emit(Event::WantPeers(FRESH_SAMPLE));
        }
    }

    /// Between rounds: take in what was observed since.
    pub(super) fn refine(&mut self, now: RawTime) {
        self.plan_refinement(now);
        let Some(pace) = self.combine.pace() else {
            return;
        };
        let view = &mut self.clock.view;
        if view.state != ClockState::Synchronized || self.clock.settled_rounds == 0 {
            return;
        }
        self.stability.follow(now, &view.line);
        view.line = view.line.anchored_at(now);
        let correction = self.combine.refine(now, &view.line);
        let gain = correction.gain.unwrap_or(Gain {
            offset: 0.0,
            rate: 0.0,
        });
        self.steer(now, pace, &correction, gain, 0.0);
        self.clock.publish_bound(now, self.next_round);
        self.publish_statistical(now);
    }

    fn plan_refinement(&mut self, now: RawTime) {
        let due = self.combine.pace().map(|pace| now + pace);
        self.next_refinement = due.filter(|due| *due < self.next_round);
    }

    /// Move the clock by `gain` of `correction` within `period`, as far as was promised, and change
    /// its frequency by `leaning` as all others do.
    fn steer(
        &mut self,
        now: RawTime,
        period: Span,
        correction: &Correction,
        gain: Gain,
        leaning: f64,
    ) {
        // Beyond what a promise holds for, others reckon with `max_correction`.
        let share = period.as_nanos_f64() / self.poll_period().as_nanos_f64();
        let change = Rate::from_fraction(gain.rate * correction.rate)
            .clamp_abs(self.config.max_correction * (0.3 * share));
        let leaning = Rate::from_fraction(leaning);
        let rate = self.leashed(self.clock.view.line.rate() + change + leaning);
        let limit = 0.7 * self.config.max_correction.over(period);
        let slew = (gain.offset * correction.offset).clamp(-limit, limit);
        let hold = self.poll_period() / 4 * HELD_QUARTERS + LONGEST_ROUND;
        let line = self.clock.view.line;
        let wanted = (rate.as_fraction(), slew);
        let spare = SPARE * self.clock.view.bound.as_nanos_f64().min(MOST_SPARE);
        let (rate, slew) = self
            .clock
            .promise
            .keep(now, &line, wanted, period, hold, spare);
        let view = &mut self.clock.view;
        view.line = line
            .with_rate(now, Rate::from_fraction(rate))
            .with_slew(now, slew, period);
        view.last_offset = correction.offset;
        view.sigma = Span::from_nanos_f64(correction.sigma);
        self.clock.vicinity.follow(now, &self.clock.view.line);
        self.clock.corrected = now;
        // What is known of the error but must not be corrected yet.
        self.clock.pending = (gain.offset * correction.offset - slew).abs();
    }

    /// Nobody is heard: run on at the last rate, and say how far that may have led.
    fn hold_over(&mut self, now: RawTime) {
        let view = &mut self.clock.view;
        view.line = view.line.with_slew(now, 0.0, Span::from_nanos(1));
        match view.state {
            ClockState::Synchronized => self.enter(ClockState::Holdover),
            ClockState::Joining => self.enter(ClockState::Unsynchronized),
            _ => {}
        }
        self.carry_bound(now);
        let view = &self.clock.view;
        let worn_out = view.bound != Span::MAX && view.bound > self.config.holdover_limit;
        if worn_out && view.state == ClockState::Holdover {
            self.enter(ClockState::FreeRunning);
        }
    }

    /// No reading can be measured against: the last bound goes on growing.
    fn carry_bound(&mut self, now: RawTime) {
        let wander = self.wander_limit();
        if let Some(known) = &mut self.clock.known {
            let wandered = 4.0 * wander * (now - known.at).as_secs_f64().sqrt();
            // What the others promised, they promised for a while.
            let promised = self.config.max_correction.as_fraction();
            known.carried = known.growth.max(promised) + wandered;
        }
        self.clock.publish_bound(now, self.next_round);
        self.publish_statistical(now);
    }

    /// One sigma that the frequency of our oscillator walks by no more than, as a fraction per √s:
    /// what was measured with a reserve, as far as that is less than specified.
    pub(super) fn wander_limit(&self) -> f64 {
        let specified = self.config.oscillator.wander;
        self.combine.wander().map_or(specified, |measured| {
            (WANDER_RESERVE * measured).min(specified)
        })
    }

    pub(super) fn judge(&mut self, readings: &Readings) -> [Verdict; MAX_READINGS] {
        let mut verdicts = [Verdict::NotReady; MAX_READINGS];
        let judge = if self.combine.gated() {
            consensus::judge
        } else {
            consensus::admit
        };
        judge(readings.as_slice(), &mut verdicts[..readings.len]);
        let mut used = 0;
        for (slot, verdict) in readings.slots[..readings.len].iter().zip(verdicts) {
            used += u16::from(verdict == Verdict::Used);
            if let Some(slot) = self.slots[usize::from(*slot)].as_mut() {
                slot.verdict = Some(verdict);
            }
        }
        self.clock.view.used = used;
        verdicts
    }

    /// Tie the leash to the oscillators around us: it keeps colluders from dragging the common
    /// frequency away for good.
    pub(super) fn tie_leash(&mut self, readings: &Readings) {
        if let Some(centre) = consensus::oscillator_centre(readings.as_slice()) {
            // Who the neighbours are may change at once; where the leash is tied may not. It is as
            // long as oscillators may differ: the median of a few is off the network's by a good
            // part of that.
            let length =
                self.config.oscillator.max_drift.as_fraction() + LEASH_SIGMAS * centre.sigma;
            let tied = self.clock.leash.map_or(centre.rate, |leash| leash.tied);
            self.clock.leash = Some(Leash {
                tied: tied + LEASH_GAIN * (centre.rate - tied),
                length,
            });
        }
    }

    /// As much of a lasting frequency as the leash allows.
    pub(super) fn leashed(&self, rate: Rate) -> Rate {
        self.clock.leash.map_or(rate, |leash| {
            let limits = (leash.tied - leash.length, leash.tied + leash.length);
            Rate::from_fraction(rate.as_fraction().clamp(limits.0, limits.1))
        })
    }

    pub(super) fn step(&mut self, now: RawTime, offset: f64) {
        self.clock.view.line = self.clock.view.line.stepped(now, offset);
        self.stability.interrupt();
        self.totals.steps += 1;
        self.emit(Event::Stepped(Span::from_nanos_f64(offset)));
    }

    /// Publish what the readings guarantee; re-read, as the clock may just have jumped.
    fn publish_window(&mut self, now: RawTime, readings: &Readings) {
        if self.clock.view.state != ClockState::Synchronized {
            self.clock.known = None;
            self.clock.publish_bound(now, self.next_round);
            return self.publish_statistical(now);
        }
        let line = self.clock.view.line.settled();
        // What the frequencies are is not known exactly either, least of all on a young link. Ends
        // of windows bend both ways: by wander, and where another packet comes to limit them.
        let period = self.next_round - now;
        let after = [Span::ZERO, period / 8, period, period + period / 2];
        let [window, then @ ..] = self.windows(&after.map(|after| now + after), &line, readings);
        let Some(window) = window else {
            return self.carry_bound(now);
        };
        let growth = then.iter().zip(&after[1..]).map(|(then, after)| {
            then.map_or(0.0, |then| {
                (then.upper - window.upper).max(window.lower - then.lower) / after.as_nanos_f64()
            })
        });
        self.clock.known = Some(Known {
            at: now,
            line,
            window,
            growth: growth.fold(0.0, f64::max),
            carried: 0.0,
        });
        self.clock.doubt = consensus::disagreement(readings.as_slice());
        let view = &mut self.clock.view;
        view.sampled = window.sampled as u16;
        view.liars = window.liars as u16;
        view.liar_risk =
            consensus::liar_risk(window.sampled, window.liars, self.config.assumed_liars);
        self.clock.publish_bound(now, self.next_round);
        self.publish_statistical(now);
    }

    fn publish_statistical(&mut self, now: RawTime) {
        let wander = self.combine.wander();
        let wander = wander.unwrap_or(self.config.oscillator.wander);
        self.clock
            .publish_statistical(wander, self.next_round - now);
    }

    /// What the readings guarantee a clock on `line`, which does not slew, at each of the instants `at`.
    fn windows<const N: usize>(
        &self,
        at: &[RawTime; N],
        line: &VirtualLine,
        readings: &Readings,
    ) -> [Option<Window>; N] {
        let mut limits = [[(0.0, 0.0); MAX_READINGS]; N];
        let (mut ready, mut heard) = ([0; N], [0; N]);
        for index in &readings.slots[..readings.len] {
            let Some(slot) = &self.slots[usize::from(*index)] else {
                continue;
            };
            let is_ready = slot.is_ready();
            let possible = slot.limits(line, at, &self.config);
            for (k, possible) in possible.into_iter().enumerate() {
                let Some(possible) = possible else { continue };
                heard[k] += 1;
                if is_ready {
                    limits[k][ready[k]] = possible;
                    ready[k] += 1;
                }
            }
        }
        std::array::from_fn(|k| {
            // Where clocks have only just met, a few that say so first are not the network.
            if self.clock.settled_rounds < EAGER_ROUNDS && 2 * ready[k] < heard[k] {
                return None;
            }
            consensus::enclosed(limits[k][..ready[k]].iter().copied())
        })
    }

    /// Our raw clock has missed `span`: what was known of ours and of the others' is void.
    pub(super) fn restart_clock(&mut self, now: RawTime, span: Span) {
        self.step(now, span.as_nanos_f64());
        self.clock.known = None;
        let view = &mut self.clock.view;
        (view.bound, view.as_of) = (Span::MAX, now);
        (view.statistical, view.sigma) = (Span::MAX, Span::MAX);
        (view.heard, view.used) = (0, 0);
        self.next_round = now + self.config.fast_poll;
        self.enter(ClockState::Unsynchronized);
    }

    pub(super) fn enter(&mut self, state: ClockState) {
        if self.clock.view.state != state {
            self.clock.view.state = state;
            self.clock.streak = 0;
            if state == ClockState::Joining {
                // The clock is about to jump: what was known of it is void.
                self.clock.known = None;
                self.clock.vicinity = Vicinity::default();
                self.clock.anchor = Anchor::default();
                self.clock.scatter = f64::INFINITY;
                self.clock.knowing_since = None;
                self.clock.view.sigma = Span::MAX;
                self.combine.restart();
            }
            self.emit(Event::State(state));
        }
    }
}

/// Whether every clock that is ready is so near that their majority, wherever it is, is not elsewhere.
fn is_here(readings: &[Reading]) -> bool {
    let mut ready = readings.iter().filter(|r| r.ready);
    ready.all(|r| r.offset.abs() <= ELSEWHERE)
}

pub(super) fn elsewhere(sigma: f64) -> f64 {
    ELSEWHERE.max(6.0 * sigma)
}

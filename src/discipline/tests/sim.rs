//! A clock with a rate error, a rate quantum and noisy readings, and a virtual line to follow.

use crate::discipline::{
    ClockLimits, ClockTime, CrossRead, Discipline, KernelState, Leap, Publication, SteerError,
    SteeredClock, Target, Tick,
};
use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use crate::wire::ClockState;

/// Small deterministic noise source.
#[derive(Debug, Clone)]
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15))
    }

    pub(super) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn gauss(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// How the clock rounds the rates it is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Quantum {
    /// To multiples of this, and says so.
    Reported(f64),
    /// To multiples of this, and says nothing.
    Hidden(f64),
}

#[derive(Debug)]
pub(super) struct SimClock {
    pub(super) now: i64,
    pub(super) base: f64,
    pub(super) quantum: Quantum,
    pub(super) limits: ClockLimits,
    pub(super) read_sigma: f64,
    pub(super) noise: Noise,
    pub(super) refuse: Option<SteerError>,
    pub(super) kernel_loop: bool,
    pub(super) pending: Span,
    pub(super) leap: Leap,
    pub(super) steps: Vec<Span>,
    pub(super) rates: Vec<f64>,
    pub(super) published: Vec<Publication>,
    /// What happened since start, in order: `r`ate, `s`tep, `p`ublish.
    pub(super) log: String,
    anchor: (i64, i64, f64),
    visible: f64,
    effective: f64,
}

impl SimClock {
    /// Starts `offset` ns off the raw clock, running `base_ppm` off by itself.
    pub(super) fn new(offset: i64, base_ppm: f64, quantum: Quantum, read_sigma: f64) -> Self {
        let hidden = match quantum {
            Quantum::Hidden(q) => q,
            Quantum::Reported(_) => 0.0,
        };
        Self {
            now: 0,
            base: base_ppm * 1e-6,
            quantum,
            limits: ClockLimits {
                max_rate: Rate::from_fraction(0.1),
                hidden_quantum: Rate::from_fraction(hidden),
                jitter: Span::ZERO,
            },
            read_sigma,
            noise: Noise::new(7),
            refuse: None,
            kernel_loop: false,
            pending: Span::ZERO,
            leap: Leap::None,
            steps: Vec::new(),
            rates: Vec::new(),
            published: Vec::new(),
            log: String::new(),
            anchor: (0, offset, 0.0),
            visible: 0.0,
            effective: 0.0,
        }
    }

    /// The true reading at `raw`: whole nanoseconds and the rest.
    pub(super) fn at(&self, raw: i64) -> (i64, f64) {
        let (raw0, clock0, rest) = self.anchor;
        let span = (raw - raw0) as f64;
        let extra = rest + span * ((1.0 + self.base) * (1.0 + self.effective) - 1.0);
        let whole = extra.floor();
        (clock0 + (raw - raw0) + whole as i64, extra - whole)
    }

    pub(super) fn cross_read(&mut self) -> CrossRead {
        let (clock, rest) = self.at(self.now);
        let limit = 2.0 * self.read_sigma;
        let noise = (self.read_sigma * self.noise.gauss()).clamp(-limit, limit);
        CrossRead {
            raw: RawTime::from_nanos(self.now),
            clock: ClockTime::from_nanos(clock + (rest + noise).round() as i64),
            error: Span::from_nanos(limit as i64),
        }
    }

    /// Somebody sets the rate, us or another daemon.
    pub(super) fn force_rate(&mut self, rate: f64) -> f64 {
        let (clock, rest) = self.at(self.now);
        self.anchor = (self.now, clock, rest);
        let round = |q: f64| {
            if q > 0.0 {
                (rate / q).round() * q
            } else {
                rate
            }
        };
        (self.visible, self.effective) = match self.quantum {
            Quantum::Reported(q) => (round(q), round(q)),
            Quantum::Hidden(q) => (rate, round(q)),
        };
        self.visible
    }

    /// Somebody steps the clock.
    pub(super) fn force_step(&mut self, by: i64) {
        self.anchor.1 += by;
    }
}

impl SteeredClock for SimClock {
    fn limits(&self) -> ClockLimits {
        self.limits
    }

    fn take_over(&mut self) -> Result<(), SteerError> {
        self.kernel_loop = false;
        self.pending = Span::ZERO;
        Ok(())
    }

    fn set_rate(&mut self, rate: Rate) -> Result<Rate, SteerError> {
        if let Some(error) = &self.refuse {
            return Err(error.clone());
        }
        self.rates.push(rate.as_fraction());
        self.log.push('r');
        Ok(Rate::from_fraction(self.force_rate(rate.as_fraction())))
    }

    fn step(&mut self, by: Span) -> Result<(), SteerError> {
        if let Some(error) = &self.refuse {
            return Err(error.clone());
        }
        self.force_step(by.as_nanos());
        self.steps.push(by);
        self.log.push('s');
        Ok(())
    }

    fn publish(&mut self, publication: &Publication) -> Result<(), SteerError> {
        if let Some(error) = &self.refuse {
            return Err(error.clone());
        }
        self.published.push(*publication);
        self.log.push('p');
        Ok(())
    }

    fn kernel_state(&mut self) -> Result<KernelState, SteerError> {
        Ok(KernelState {
            rate: Rate::from_fraction(self.visible),
            kernel_loop: self.kernel_loop,
            pending: self.pending,
            leap: self.leap,
        })
    }
}

/// A node's clock that runs `rate_ppm` off raw, synchronized.
pub(super) fn steady_target(rate_ppm: f64) -> Target {
    Target {
        line: VirtualLine::new(
            RawTime::from_nanos(0),
            VirtualTime::from_nanos(1_000_000_000_000),
            Rate::from_ppm(rate_ppm),
        ),
        bound: Span::from_micros(5),
        estimated_error: Span::from_nanos(100),
        state: ClockState::Synchronized,
    }
}

/// The clock minus the line at `raw`, in ns.
pub(super) fn error(clock: &SimClock, target: &Target, raw: i64) -> f64 {
    let (reading, rest) = clock.at(raw);
    let (line, fraction) = target.line.at_exact(RawTime::from_nanos(raw));
    (reading - line.as_nanos()) as f64 + (rest - fraction)
}

/// A discipline, its clock and its node.
pub(super) struct Bench {
    pub(super) discipline: Discipline,
    pub(super) clock: SimClock,
    pub(super) target: Option<Target>,
    pub(super) asleep: Span,
}

impl Bench {
    pub(super) fn new(discipline: Discipline, clock: SimClock, target: Target) -> Self {
        Self {
            discipline,
            clock,
            target: Some(target),
            asleep: Span::ZERO,
        }
    }

    /// One update at the time it is.
    pub(super) fn update(&mut self) {
        let tick = Tick {
            now: RawTime::from_nanos(self.clock.now),
            read: self.clock.cross_read(),
            target: self.target,
            asleep: self.asleep,
        };
        self.discipline.update(&mut self.clock, &tick);
    }

    /// One update; then time goes on by one interval.
    pub(super) fn turn(&mut self) {
        self.update();
        self.clock.now += self.discipline.interval().as_nanos();
    }

    /// The clock minus the node's line now, in ns.
    pub(super) fn error(&self) -> f64 {
        let target = self.target.unwrap_or(steady_target(0.0));
        error(&self.clock, &target, self.clock.now)
    }

    pub(super) fn turns(&mut self, n: usize) {
        for _ in 0..n {
            self.turn();
        }
    }
}

/// Root mean square.
pub(super) fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
}

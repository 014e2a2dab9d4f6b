//! What holds whatever comes in.

use proptest::prelude::*;

use super::sim::{Bench, Quantum, SimClock, steady_target};
use crate::discipline::{
    ClockTime, CrossRead, Discipline, Settings, SteeringState, StepPolicy, Target, Tick,
};
use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};
use crate::wire::ClockState;

const TRUE: i64 = 1_000_000_000_000;

fn quantum() -> impl Strategy<Value = Quantum> {
    prop_oneof![
        Just(Quantum::Reported(0.0)),
        (1e-9..400e-9).prop_map(Quantum::Reported),
        (1e-9..400e-9).prop_map(Quantum::Hidden),
    ]
}

fn any_state() -> impl Strategy<Value = ClockState> {
    prop_oneof![
        Just(ClockState::Unsynchronized),
        Just(ClockState::Joining),
        Just(ClockState::Synchronized),
        Just(ClockState::Holdover),
        Just(ClockState::FreeRunning),
    ]
}

fn any_tick() -> impl Strategy<Value = Tick> {
    let wild = prop_oneof![
        any::<i64>(),
        -1_000_000..1_000_000_i64,
        Just(i64::MAX),
        Just(i64::MIN)
    ];
    let rate = prop_oneof![
        any::<f64>(),
        -1e-3..1e-3_f64,
        Just(f64::NAN),
        Just(f64::INFINITY)
    ];
    let line = (wild.clone(), wild.clone(), rate.clone(), rate, any::<i64>());
    let target = (line, any::<i64>(), any::<i64>(), any_state());
    (
        (wild.clone(), wild.clone(), wild.clone(), wild.clone()),
        proptest::option::of(target),
        wild,
    )
        .prop_map(|((now, raw, clock, error), target, asleep)| Tick {
            now: RawTime::from_nanos(now),
            read: CrossRead {
                raw: RawTime::from_nanos(raw),
                clock: ClockTime::from_nanos(clock),
                error: Span::from_nanos(error),
            },
            target: target.map(
                |((origin, epoch, rate, slew, span), bound, estimate, state)| {
                    let origin = RawTime::from_nanos(origin);
                    Target {
                        line: VirtualLine::new(
                            origin,
                            VirtualTime::from_nanos(epoch),
                            Rate::from_fraction(rate),
                        )
                        .with_slew(origin, slew, Span::from_nanos(span)),
                        bound: Span::from_nanos(bound),
                        estimated_error: Span::from_nanos(estimate),
                        state,
                    }
                },
            ),
            asleep: Span::from_nanos(asleep),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn converges_slews_within_the_limit_and_steps_only_if_allowed(
        offset in -20_000_000..20_000_000_i64,
        base in -80.0..80.0_f64,
        line in -80.0..80.0_f64,
        quantum in quantum(),
        read_sigma in 0.0..100.0_f64,
        interval_ms in 100..1_000_i64,
        may_step in any::<bool>(),
    ) {
        let policy = StepPolicy::default();
        let startup = if may_step { policy.startup } else { Span::ZERO };
        let settings = Settings {
            interval: Span::from_millis(interval_ms),
            step: StepPolicy { threshold: Span::from_micros(100), startup, ..policy },
            ..Settings::virtual_clock()
        };
        let discipline = Discipline::new(settings, None).unwrap();
        let clock = SimClock::new(TRUE + offset, base, quantum, read_sigma);
        let mut bench = Bench::new(discipline, clock, steady_target(line));
        let turns = 90_000 / interval_ms;
        let mut before = bench.error();
        for turn in 0..turns {
            let steps = bench.clock.steps.len();
            bench.turn();
            let now = bench.error();
            if steps == bench.clock.steps.len() && turn > 20 {
                // Continuous: it moves against the line by no more than the slew limit allows.
                let most = interval_ms as f64 * 1e6 * 505e-6;
                prop_assert!((now - before).abs() < most, "{now} {before}");
            }
            before = now;
        }
        prop_assert_eq!(bench.discipline.status().state, SteeringState::Synchronized);
        prop_assert!(may_step || bench.clock.steps.is_empty());
        prop_assert!(bench.clock.steps.len() <= 1);
        let q = match quantum { Quantum::Reported(q) | Quantum::Hidden(q) => q };
        let most = 5.0 + 3.0 * read_sigma + 4.0 * q * interval_ms as f64 * 1e6;
        prop_assert!(bench.error().abs() < most, "{} {most}", bench.error());
        prop_assert_eq!(bench.discipline.status().foreign, 0, "nobody else was there");
        let steady = (1.0 + line * 1e-6) / (1.0 + base * 1e-6) - 1.0;
        for rate in bench.clock.rates.iter().skip(20) {
            prop_assert!((rate - steady).abs() < 501e-6);
        }
    }

    #[test]
    fn wild_inputs_never_reach_the_clock_as_nonsense(
        ticks in proptest::collection::vec(any_tick(), 1..60),
    ) {
        let step = StepPolicy { startup: Span::ZERO, ..StepPolicy::default() };
        let settings = Settings { step, ..Settings::system() };
        let mut discipline = Discipline::new(settings, Some(Rate::from_fraction(f64::NAN))).unwrap();
        let mut clock = SimClock::new(0, 0.0, Quantum::Reported(0.0), 0.0);
        for tick in &ticks {
            discipline.update(&mut clock, tick);
            let status = discipline.status();
            let numbers = [status.offset_ns, status.sigma_ns, status.rate_ppm, status.base_ppm];
            for number in numbers.into_iter().flatten() {
                prop_assert!(number.is_finite(), "{status:?}");
            }
        }
        prop_assert!(clock.steps.is_empty(), "forbidden");
        prop_assert!(clock.rates.iter().all(|rate| rate.is_finite()));
        prop_assert!(discipline.stop(&mut clock).is_ok());

        // And it works again once the readings do.
        clock.now = 0;
        clock.force_rate(0.0);
        let mut bench = Bench::new(discipline, clock, steady_target(0.0));
        bench.target.as_mut().unwrap().line =
            VirtualLine::new(RawTime::from_nanos(0), VirtualTime::from_nanos(37_000_000_000), Rate::ZERO);
        bench.turns(120);
        let state = bench.discipline.status().state;
        let recovered = matches!(
            state,
            SteeringState::Synchronized | SteeringState::HeldBack | SteeringState::Suspended
        );
        prop_assert!(recovered, "{:?}", bench.discipline.status());
    }
}

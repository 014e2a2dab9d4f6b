//! States, steps and the company of others.

use super::sim::{Bench, Quantum, SimClock, steady_target};
use crate::discipline::{
    Discipline, Event, ForeignSign, Leap, Reason, Settings, SteerError, SteeringState, StepPolicy,
};
use crate::time::{Rate, RawTime, Span, VirtualTime};
use crate::wire::ClockState;

const KERNEL: Quantum = Quantum::Reported(155e-9);
/// What the target of the bench reads at raw zero.
const TRUE: i64 = 1_000_000_000_000;
const MINUTE: usize = 240;

fn bench(offset: i64, settings: Settings) -> Bench {
    let discipline = Discipline::new(settings, None).unwrap();
    let clock = SimClock::new(TRUE + offset, 23.4, KERNEL, 30.0);
    Bench::new(discipline, clock, steady_target(-17.0))
}

fn settled(offset: i64) -> Bench {
    let mut bench = bench(offset, Settings::virtual_clock());
    bench.turns(2 * MINUTE);
    while bench.discipline.poll_event().is_some() {}
    bench
}

fn state(bench: &Bench) -> SteeringState {
    bench.discipline.status().state
}

fn events(bench: &mut Bench) -> Vec<Event> {
    std::iter::from_fn(|| bench.discipline.poll_event()).collect()
}

#[test]
fn a_large_offset_is_stepped_once_and_published_right_after() {
    let mut bench = bench(-400_000_000, Settings::virtual_clock());
    bench.turns(MINUTE);
    assert_eq!(state(&bench), SteeringState::Synchronized);
    assert_eq!(bench.clock.steps.len(), 1);
    assert!(bench.error().abs() < 150.0, "{}", bench.error());
    let step = bench.clock.log.find('s').unwrap();
    assert_eq!(&bench.clock.log[step..=step + 1], "sp");
    let last = bench.clock.published.last().unwrap();
    assert!(last.synchronized);
    assert_eq!(last.tai_minus_utc, 37);
    assert!(last.max_error > Span::from_micros(5) && last.max_error < Span::from_micros(6));
    assert!(last.estimated_error < Span::from_micros(1));
}

#[test]
fn without_steps_the_same_is_slewed_within_the_limit() {
    let settings = Settings {
        step: StepPolicy {
            startup: Span::ZERO,
            ..StepPolicy::default()
        },
        ..Settings::virtual_clock()
    };
    let mut bench = bench(30_000_000, settings);
    bench.turns(40);
    assert!(matches!(
        bench.discipline.status().reason,
        Reason::Slewing(_)
    ));
    assert!((bench.discipline.status().slew_ppm + 500.0).abs() < 1e-6);
    // 30 ms at 500 ppm take a minute.
    bench.turns(MINUTE);
    assert!(bench.error().abs() < 150.0, "{}", bench.error());
    assert!(bench.clock.steps.is_empty());
    for rate in &bench.clock.rates {
        assert!((rate + 40.4e-6).abs() < 501e-6, "{rate}");
    }
}

#[test]
fn a_saved_rate_is_set_before_anything_is_heard() {
    let saved = Rate::from_ppm(-40.4);
    let discipline = Discipline::new(Settings::virtual_clock(), Some(saved)).unwrap();
    let clock = SimClock::new(TRUE, 23.4, KERNEL, 30.0);
    let mut bench = Bench::new(discipline, clock, steady_target(-17.0));
    bench.target = None;
    bench.turns(3);
    assert_eq!(bench.clock.rates, [saved.as_fraction()]);
    assert_eq!(state(&bench), SteeringState::Unsynchronized);
    assert!(bench.clock.published.is_empty(), "nothing to say yet");
}

#[test]
fn holdover_keeps_the_rate_slews_nothing_and_publishes_a_growing_error() {
    let mut bench = settled(0);
    let steady = bench.discipline.steady_rate().unwrap().as_fraction();
    let before = bench.clock.rates.len();
    for bound in 6..20 {
        let target = bench.target.as_mut().unwrap();
        target.state = ClockState::Holdover;
        target.bound = Span::from_micros(bound);
        bench.turn();
        let said = bench.clock.published.last().unwrap();
        assert!(said.synchronized && said.max_error > Span::from_micros(bound));
    }
    assert_eq!(state(&bench), SteeringState::Holdover);
    for rate in &bench.clock.rates[before..] {
        assert!((rate - steady).abs() < 20e-9);
    }
    bench.target.as_mut().unwrap().state = ClockState::FreeRunning;
    bench.turn();
    assert!(!bench.clock.published.last().unwrap().synchronized);
    assert_eq!(state(&bench), SteeringState::FreeRunning);
}

#[test]
fn stopping_leaves_the_last_good_rate_without_the_slew() {
    let mut bench = settled(0);
    let target = bench.target.as_mut().unwrap();
    let raw = RawTime::from_nanos(bench.clock.now);
    target.line = target.line.stepped(raw, 5e6);
    bench.turns(2);
    assert!(bench.discipline.status().slew_ppm > 499.0);
    bench.discipline.stop(&mut bench.clock).unwrap();
    let left = bench.clock.rates.last().unwrap();
    assert!((left + 40.4e-6).abs() < 50e-9, "{left}");
}

#[test]
fn beyond_the_panic_threshold_nothing_moves_until_it_is_over() {
    let mut bench = settled(0);
    let (steps, rates) = (bench.clock.steps.len(), bench.clock.rates.len());
    let raw = RawTime::from_nanos(bench.clock.now);
    let good = bench.target.unwrap();
    bench.target.as_mut().unwrap().line = good.line.stepped(raw, 11e9);
    bench.turns(MINUTE);
    assert_eq!(state(&bench), SteeringState::Panic);
    assert_eq!(bench.clock.steps.len(), steps);
    let since: Vec<_> = bench.clock.rates[rates..].to_vec();
    assert!(since.len() <= 1, "the slew is taken off, no more");
    assert!(
        since.iter().all(|rate| (rate + 40.4e-6).abs() < 20e-9),
        "{since:?}"
    );
    assert!(!bench.clock.published.last().unwrap().synchronized);
    let warning = bench.discipline.status().warning().unwrap();
    assert!(warning.contains("panic threshold of 10.0s"), "{warning}");
    let events = events(&mut bench);
    assert!(matches!(events[0], Event::TargetJumped(_)), "{events:?}");
    assert_eq!(
        events.len(),
        2,
        "one line in the log, not one per update: {events:?}"
    );
    bench.target = Some(good);
    bench.turns(20);
    assert_eq!(state(&bench), SteeringState::Synchronized);
}

#[test]
fn another_daemon_is_named_then_given_way_then_tried_again() {
    let mut bench = settled(0);
    for k in 0..3 {
        bench.turns(MINUTE);
        assert_eq!(state(&bench), SteeringState::Synchronized, "{k}");
        bench.clock.force_rate(3e-6);
    }
    bench.turn();
    assert_eq!(state(&bench), SteeringState::HeldBack);
    let warning = bench.discipline.status().warning().unwrap();
    assert!(warning.contains("set to +2.9"), "{warning}");
    let seen = events(&mut bench);
    let signs = seen
        .iter()
        .filter(|event| matches!(event, Event::Foreign(_)));
    assert_eq!(signs.count(), 3);
    let touched = bench.clock.log.len();
    bench.turns(10 * MINUTE);
    assert_eq!(bench.clock.log.len(), touched, "left alone");
    bench.turns(6 * MINUTE);
    assert_eq!(state(&bench), SteeringState::Synchronized);
    assert!(events(&mut bench).contains(&Event::Resumed));
    bench.turns(20 * MINUTE);
    assert!(bench.error().abs() < 150.0, "{}", bench.error());
}

#[test]
fn the_kernel_loop_and_foreign_slews_are_noticed() {
    let mut bench = settled(0);
    bench.clock.kernel_loop = true;
    bench.turns(40);
    bench.clock.pending = Span::from_millis(3);
    bench.turn();
    let seen = events(&mut bench);
    assert!(seen.contains(&Event::Foreign(ForeignSign::KernelLoop)));
    assert!(seen.contains(&Event::Foreign(ForeignSign::Pending(Span::from_millis(3)))));
    assert!(!bench.clock.kernel_loop, "turned off again");
}

#[test]
fn a_foreign_step_is_measured_and_taken_back_unless_forbidden() {
    for allowed in [true, false] {
        let mut settings = Settings::virtual_clock();
        settings.step.after_interruption = allowed;
        let mut bench = bench(0, settings);
        bench.turns(2 * MINUTE);
        events(&mut bench);
        let steps = bench.clock.steps.len();
        bench.clock.force_step(2_000_000);
        bench.turns(2);
        let by = events(&mut bench)
            .into_iter()
            .find_map(|event| match event {
                Event::Foreign(ForeignSign::Moved(by)) => Some(by),
                _ => None,
            });
        let error = by.unwrap() - Span::from_millis(2);
        assert!(error.abs() < Span::from_nanos(500), "{by:?}");
        assert_eq!(bench.clock.steps.len() - steps, usize::from(allowed));
        bench.turns(MINUTE);
        assert!(bench.error().abs() < 150.0, "{}", bench.error());
    }
}

#[test]
fn a_leap_second_stays_pending_and_is_nobodys_step() {
    let mut bench = bench(-37_000_000_000, Settings::system());
    bench.turns(2 * MINUTE);
    let steps = bench.clock.steps.len();
    bench.clock.leap = Leap::Insert;
    bench.turns(4);
    let before = *bench.clock.published.last().unwrap();
    assert_eq!((before.tai_minus_utc, before.leap), (37, Leap::Insert));
    events(&mut bench);
    // The kernel steps its clock and is still told to.
    bench.clock.force_step(-1_000_000_000);
    bench.turn();
    let after = *bench.clock.published.last().unwrap();
    assert_eq!((after.tai_minus_utc, after.leap), (38, Leap::None));
    assert_eq!(events(&mut bench), [Event::LeapSecond(38)]);
    bench.clock.leap = Leap::None;
    bench.turns(MINUTE);
    assert_eq!(bench.clock.steps.len(), steps);
    assert_eq!(state(&bench), SteeringState::Synchronized);
    assert!(bench.discipline.status().offset_ns.unwrap().abs() < 150.0);
    assert!(bench.clock.published.last().unwrap().max_error < Span::from_micros(6));
}

#[test]
fn after_a_sleep_the_clock_waits_for_the_node() {
    let mut bench = settled(0);
    // The system clock was moved on by the kernel, the raw clock and the line were not.
    bench.asleep += Span::from_secs(600);
    bench.clock.force_step(600_000_000_000);
    bench.turn();
    assert_eq!(state(&bench), SteeringState::Suspended);
    assert_eq!(events(&mut bench)[0], Event::Slept(Span::from_secs(600)));
    let steps = bench.clock.steps.len();
    bench.turns(20);
    assert_eq!(bench.clock.steps.len(), steps, "the line is still late");
    assert!(!bench.clock.published.last().unwrap().synchronized);
    let target = bench.target.as_mut().unwrap();
    target.line = target
        .line
        .stepped(RawTime::from_nanos(bench.clock.now), 600e9 + 2e6);
    bench.turns(MINUTE);
    assert_eq!(state(&bench), SteeringState::Synchronized);
    assert_eq!(bench.clock.steps.len(), steps + 1);
    assert!(bench.error().abs() < 150.0);
}

#[test]
fn without_privilege_it_measures_and_says_so_once() {
    let mut bench = bench(100, Settings::system());
    bench.target.as_mut().unwrap().line = steady_target(-17.0)
        .line
        .stepped(RawTime::from_nanos(0), 37e9);
    bench.clock.refuse = Some(SteerError::NotPermitted("CAP_SYS_TIME is missing".into()));
    bench.turns(MINUTE);
    let status = bench.discipline.status();
    assert_eq!(status.state, SteeringState::MeasureOnly);
    assert!(status.warning().unwrap().contains("CAP_SYS_TIME"));
    assert_eq!(status.refused, 1);
    // It runs 40.4 ppm fast, and starts 100 ns ahead.
    let expected = 100.0 + 40.4e-6 * 59.75e9;
    let offset = status.offset_ns.unwrap();
    assert!((offset - expected).abs() < 200.0, "{offset} {expected}");
    assert!(events(&mut bench).len() <= 3);
}

#[test]
fn a_clock_that_fails_for_a_while_is_steered_again() {
    let mut bench = settled(0);
    bench.clock.refuse = Some(SteerError::Os("device busy".into()));
    bench.turns(40);
    assert_eq!(state(&bench), SteeringState::Failing);
    assert!(events(&mut bench).len() <= 2);
    bench.clock.refuse = None;
    bench.turns(40);
    assert_eq!(state(&bench), SteeringState::Synchronized);
}

#[test]
fn measure_only_never_touches_the_clock() {
    let settings = Settings {
        measure_only: true,
        ..Settings::virtual_clock()
    };
    let mut bench = bench(5_000_000, settings);
    bench.turns(MINUTE);
    bench.clock.force_rate(9e-6);
    bench.turns(MINUTE);
    assert_eq!(state(&bench), SteeringState::MeasureOnly);
    assert!(bench.clock.log.is_empty());
    assert!(bench.discipline.status().warning().is_none());
    assert_eq!(bench.discipline.status().foreign, 0);
}

#[test]
fn a_node_that_still_joins_is_not_followed() {
    let mut bench = bench(5_000_000_000, Settings::virtual_clock());
    bench.target.as_mut().unwrap().state = ClockState::Joining;
    bench.turns(MINUTE);
    assert_eq!(state(&bench), SteeringState::Joining);
    assert!(bench.clock.steps.is_empty());
    let target = bench.target.as_mut().unwrap();
    target.state = ClockState::Synchronized;
    target.line = target.line.stepped(RawTime::from_nanos(0), 1.0);
    assert_eq!(
        target.line.at(RawTime::from_nanos(0)),
        VirtualTime::from_nanos(TRUE + 1)
    );
    bench.turns(MINUTE);
    assert_eq!(bench.clock.steps.len(), 1);
}

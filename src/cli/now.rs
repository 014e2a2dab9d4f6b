//! `parisync now`: the network's time, with the earliest and the latest it can be.

use serde::Serialize;

use super::output::{CliError, Context, Exit};
use super::text::{premise, risk, state};
use crate::export::status::{ClockReading, Tracking};
use crate::present::utc;
use crate::time::{Span, VirtualTime};
use crate::wire::ClockState;

/// What is printed; UTC as nanoseconds since 1970 without leap seconds.
#[derive(Debug, PartialEq, Serialize)]
struct Now {
    /// The network's time is not before this, if a bound is known.
    earliest_ns: Option<i64>,
    /// The best estimate.
    estimate_ns: i64,
    /// The network's time is not after this, if a bound is known.
    latest_ns: Option<i64>,
    /// Half the width of that interval: the guaranteed bound.
    bound_ns: Option<i64>,
    /// Liars among the neighbours sampled that it tolerates.
    tolerated_liars: usize,
    /// The probability that more of them lie, if a bound is known.
    liar_risk: Option<f64>,
    /// The statistical bound: 99.9 % of errors are smaller.
    statistical_ns: Option<i64>,
    /// The estimate on the network's own scale, nanoseconds since 1970-01-01 TAI.
    tai_ns: i64,
    /// State of the clock.
    state: ClockState,
}

/// Asks the daemon and prints.
pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client()?;
    let tracking = client.tracking()?.content;
    // The clock is asked for at an instant that we read ourselves, so that the answer's way here
    // costs nothing.
    let now = Now::new(&client.clock_now()?, &tracking);
    context.show(&now, |now| human(now, &tracking))?;
    // A script that takes the time must notice that it is worth nothing.
    Ok(if now.bound_ns.is_some() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

impl Now {
    fn new(reading: &ClockReading, tracking: &Tracking) -> Self {
        // A disciplined clock of the daemon's own is what the bound is about.
        let tai_ns = reading.clock_ns.unwrap_or(reading.virtual_ns);
        let estimate = VirtualTime::from_nanos(tai_ns);
        let bound = reading.bound_ns.map(Span::from_nanos);
        Self {
            earliest_ns: bound.map(|bound| utc::unix_nanos(estimate - bound)),
            estimate_ns: utc::unix_nanos(estimate),
            latest_ns: bound.map(|bound| utc::unix_nanos(estimate + bound)),
            bound_ns: reading.bound_ns,
            tolerated_liars: tracking.tolerated_liars,
            liar_risk: tracking.liar_risk.filter(|_| bound.is_some()),
            statistical_ns: reading.statistical_ns,
            tai_ns,
            state: tracking.state,
        }
    }
}

fn human(now: &Now, tracking: &Tracking) -> String {
    let estimate = VirtualTime::from_nanos(now.tai_ns);
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:<9} {value}\n");
    match now.bound_ns.map(Span::from_nanos) {
        Some(bound) => {
            line("earliest", utc::rfc3339(estimate - bound));
            line("estimate", utc::rfc3339(estimate));
            line("latest", utc::rfc3339(estimate + bound));
            line("bound", format!("±{bound}, {}", state(now.state)));
            line("premise", premise(tracking));
            if let Some(risk) = risk(tracking) {
                line("risk", risk);
            }
        }
        None => {
            line("estimate", utc::rfc3339(estimate));
            line("bound", format!("none, {}", state(now.state)));
        }
    }
    if let Some(bound) = now.statistical_ns.map(Span::from_nanos) {
        line("99.9 %", format!("±{bound}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::tracking;

    const READING: ClockReading = ClockReading {
        mono_raw_ns: 5,
        virtual_ns: 37_000_000_000 + 1_050_000,
        clock_ns: None,
        bound_ns: Some(1_000),
        statistical_ns: Some(240),
    };

    #[test]
    fn the_bound_goes_both_ways_and_utc_is_37_seconds_behind() {
        let tracking = tracking();
        let now = Now::new(&READING, &tracking);
        assert_eq!(now.earliest_ns, Some(1_049_000));
        assert_eq!(now.estimate_ns, 1_050_000);
        assert_eq!(now.latest_ns, Some(1_051_000));
        let text = human(&now, &tracking);
        assert!(text.contains("estimate  1970-01-01T00:00:00.001050000Z"));
        assert!(text.ends_with(
            "bound     ±1.00µs, synchronized\n\
             premise   at most 2 of the 8 neighbours sampled lie\n\
             risk      3.8 % that more lie, if 10 % of all do\n\
             99.9 %    ±240ns\n"
        ));
    }

    #[test]
    fn the_bound_is_about_the_disciplined_clock_if_there_is_one() {
        let reading = ClockReading {
            clock_ns: Some(READING.virtual_ns + 300),
            ..READING
        };
        assert_eq!(Now::new(&reading, &tracking()).estimate_ns, 1_050_300);
    }

    #[test]
    fn without_a_bound_there_is_no_interval() {
        let reading = ClockReading {
            bound_ns: None,
            statistical_ns: None,
            ..READING
        };
        let mut tracking = tracking();
        tracking.state = ClockState::Joining;
        let now = Now::new(&reading, &tracking);
        assert_eq!((now.earliest_ns, now.latest_ns), (None, None));
        assert_eq!((now.statistical_ns, now.liar_risk), (None, None));
        assert!(human(&now, &tracking).ends_with("none, joining\n"));
    }
}

//! `parisync now`: the network's time, with the earliest and the latest it can be.

use serde::Serialize;

use super::output::{CliError, Context, Exit};
use super::text::state;
use super::utc;
use crate::export::client::Answer;
use crate::export::status::Tracking;
use crate::time::{Rate, Span, VirtualTime};
use crate::wire::ClockState;

/// The most by which the virtual clock's rate can differ from the one in the answer while the
/// answer travels.
const RATE_MARGIN: Rate = Rate::from_ppm(500.0);

/// What is printed; UTC as nanoseconds since 1970 without leap seconds.
#[derive(Debug, PartialEq, Serialize)]
struct Now {
    /// The network's time is not before this, if a bound is known.
    earliest_ns: Option<i64>,
    /// The best estimate.
    estimate_ns: i64,
    /// The network's time is not after this, if a bound is known.
    latest_ns: Option<i64>,
    /// Half the width of that interval.
    bound_ns: Option<i64>,
    /// The estimate on the network's own scale, nanoseconds since 1970-01-01 TAI.
    tai_ns: i64,
    /// State of the clock.
    state: ClockState,
}

/// Asks the daemon and prints.
pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let answer = context.client()?.tracking()?;
    let now = carried_on(&answer, answer.age_ns());
    context.show(&now, human)?;
    // A script that takes the time must notice that it is worth nothing.
    Ok(if now.bound_ns.is_some() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The answer's time and bound, carried on by the answer's least and greatest age.
fn carried_on(answer: &Answer<Tracking>, [least, most]: [i64; 2]) -> Now {
    let tracking = &answer.content;
    let age = Span::from_nanos(least + (most - least) / 2);
    let gained = Span::from_nanos_f64(Rate::from_ppm(tracking.rate_ppm).over(age));
    let taken = VirtualTime::from_nanos(tracking.virtual_time_ns);
    let estimate = taken + age + gained;
    let doubt = Span::from_nanos((most - least) / 2 + 1)
        + Span::from_nanos_f64(RATE_MARGIN.over(Span::from_nanos(most)).ceil());
    let bound = tracking
        .bound_ns
        .map(|bound| Span::from_nanos(bound) + doubt);
    Now {
        earliest_ns: bound.map(|bound| utc::unix_nanos(estimate - bound)),
        estimate_ns: utc::unix_nanos(estimate),
        latest_ns: bound.map(|bound| utc::unix_nanos(estimate + bound)),
        bound_ns: bound.map(Span::as_nanos),
        tai_ns: estimate.as_nanos(),
        state: tracking.state,
    }
}

fn human(now: &Now) -> String {
    let estimate = VirtualTime::from_nanos(now.tai_ns);
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:<9} {value}\n");
    match now.bound_ns.map(Span::from_nanos) {
        Some(bound) => {
            line("earliest", utc::rfc3339(estimate - bound));
            line("estimate", utc::rfc3339(estimate));
            line("latest", utc::rfc3339(estimate + bound));
            line("bound", format!("±{bound}, {}", state(now.state)));
        }
        None => {
            line("estimate", utc::rfc3339(estimate));
            line("bound", format!("none, {}", state(now.state)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::tracking;

    #[test]
    fn age_moves_the_estimate_and_widens_the_bound() {
        let mut content = tracking();
        content.virtual_time_ns = 37_000_000_000 + 1_000_000;
        content.bound_ns = Some(1_000);
        content.rate_ppm = 0.0;
        let answer = Answer {
            content,
            taken_ns: [0, 0],
        };
        let now = carried_on(&answer, [40_000, 60_000]);
        assert_eq!(now.estimate_ns, 1_050_000);
        // 1 µs claimed, ±10 µs of age, 30 ns for 60 µs at 500 ppm, 1 ns for rounding.
        assert_eq!(now.bound_ns, Some(1_000 + 10_000 + 30 + 1));
        assert_eq!(now.earliest_ns, Some(1_050_000 - 11_031));
        assert_eq!(now.latest_ns, Some(1_050_000 + 11_031));
        assert!(human(&now).contains("estimate  1970-01-01T00:00:00.001050000Z"));
    }

    #[test]
    fn without_a_bound_there_is_no_interval() {
        let mut content = tracking();
        content.bound_ns = None;
        let now = carried_on(
            &Answer {
                content,
                taken_ns: [0, 0],
            },
            [0, 0],
        );
        assert_eq!(
            (now.earliest_ns, now.latest_ns, now.bound_ns),
            (None, None, None)
        );
        assert!(human(&now).contains("none, synchronized"));
    }
}

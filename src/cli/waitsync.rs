//! `parisync waitsync`: waits until the clock is synchronized.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::output::{CliError, Context, Exit};
use super::text::{span_or_dash, state};
use crate::config::DurationText;
use crate::discipline::SteeringState;
use crate::export::client::ClientError;
use crate::export::status::Tracking;
use crate::time::Span;
use crate::wire::ClockState;

/// Options of `parisync waitsync`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Wait for a bound of at most this as well (1us, 500ns, …)
    #[arg(long, value_name = "TIME", value_parser = positive)]
    max_bound: Option<Span>,
    /// The bound that has to be so small: the one that holds unless too many neighbours lie, or
    /// the one that 99.9 % of errors stay within
    #[arg(
        long,
        value_enum,
        value_name = "WHICH",
        default_value_t,
        requires = "max_bound"
    )]
    bound: Bound,
    /// Give up after this long; a number without a unit is seconds
    #[arg(short, long, value_name = "TIME", default_value = "60s", value_parser = DurationText::parse_or_seconds)]
    timeout: DurationText,
}

/// Which bound is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Bound {
    /// The guaranteed one
    #[default]
    Guaranteed,
    /// The statistical one, which 99.9 % of errors stay within
    Statistical,
}

impl Bound {
    const fn of(self, tracking: &Tracking) -> Option<i64> {
        match self {
            Self::Guaranteed => tracking.bound_ns,
            Self::Statistical => tracking.statistical_ns,
        }
    }
}

/// How long a daemon may be absent or without any source of peers: it may just be starting, or
/// being restarted.
const GRACE: Duration = Duration::from_secs(3);

/// A clock this close to the virtual one has arrived, if nothing stricter is asked for.
const ARRIVED: Span = Span::from_millis(1);

/// How often the daemon is asked.
const INTERVAL: Duration = Duration::from_millis(100);

fn positive(text: &str) -> Result<Span, String> {
    let span = text
        .parse::<DurationText>()
        .map_err(|error| error.to_string())?;
    if span.span() == Span::ZERO {
        return Err("no clock has a bound of zero".to_owned());
    }
    Ok(span.span())
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Outcome {
    ready: bool,
    waited_s: f64,
    state: Option<ClockState>,
    bound_ns: Option<i64>,
    statistical_ns: Option<i64>,
}

/// Asks the daemon again and again until it is ready, time is up, or it can never be.
pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let start = Instant::now();
    let timeout = args.timeout.span().to_duration();
    let mut last = None;
    // When there was last hope.
    let mut hope = start;
    loop {
        match context.client().and_then(|mut client| client.tracking()) {
            Ok(answer) => {
                let tracking = last.insert(answer.content);
                if is_ready(tracking, args.bound, args.max_bound) {
                    return conclude(context, start, last.as_ref(), true);
                }
                match hopeless(tracking) {
                    None => hope = Instant::now(),
                    Some(_) if hope.elapsed() < GRACE => {}
                    Some(why) => {
                        let why = format!("it can never be ready: {why}");
                        return Err(CliError::Impossible(why));
                    }
                }
            }
            Err(error) if may_pass(&error) && hope.elapsed() < GRACE => {}
            Err(error) => return Err(CliError::Impossible(error.to_string())),
        }
        let left = timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            return conclude(context, start, last.as_ref(), false);
        }
        thread::sleep(INTERVAL.min(left));
    }
}

/// Whether the virtual clock is there, and the clock that follows it has arrived.
fn is_ready(tracking: &Tracking, bound: Bound, max_bound: Option<Span>) -> bool {
    let off = match tracking.clock_state {
        Some(SteeringState::Synchronized) => {
            Span::from_nanos_f64(tracking.clock_offset_ns.unwrap_or(0.0).abs())
        }
        // Nothing follows, by choice or for lack of privilege: the virtual clock is all there is.
        None | Some(SteeringState::MeasureOnly) => Span::ZERO,
        Some(_) => return false,
    };
    let fits = match (max_bound, bound.of(tracking)) {
        (None, _) => off <= ARRIVED,
        (Some(most), Some(bound)) => Span::from_nanos(bound) + off <= most,
        (Some(_), None) => false,
    };
    tracking.state == ClockState::Synchronized && fits
}

/// Why this daemon will never be synchronized, if so.
fn hopeless(tracking: &Tracking) -> Option<&'static str> {
    let alone = tracking.sources.is_empty() && tracking.neighbours == 0;
    alone.then_some(
        "the daemon has nobody to synchronize with and looks for nobody; \
         name `peers`, a `bootstrap` address, or turn `lan` on",
    )
}

/// Whether a daemon that is just starting or stopping causes this.
fn may_pass(error: &ClientError) -> bool {
    matches!(error, ClientError::NoDaemon { .. })
}

fn conclude(
    context: &Context,
    start: Instant,
    tracking: Option<&Tracking>,
    ready: bool,
) -> Result<Exit, CliError> {
    let outcome = Outcome {
        ready,
        waited_s: start.elapsed().as_secs_f64(),
        state: tracking.map(|tracking| tracking.state),
        bound_ns: tracking.and_then(|tracking| tracking.bound_ns),
        statistical_ns: tracking.and_then(|tracking| tracking.statistical_ns),
    };
    context.show(&outcome, |outcome| {
        let words = outcome.state.map_or("no daemon", state);
        let verdict = if ready { "ready" } else { "timeout" };
        let bound = match outcome.bound_ns {
            Some(_) => format!(
                "bound {} guaranteed, {} in 99.9 % of all cases",
                span_or_dash(outcome.bound_ns),
                span_or_dash(outcome.statistical_ns)
            ),
            None => "no bound yet".to_owned(),
        };
        let waited = outcome.waited_s;
        format!("{verdict} after {waited:.1} s: {words}, {bound}\n")
    })?;
    Ok(if ready { Exit::Done } else { Exit::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::tracking;

    fn is_ready(tracking: &Tracking, max_bound: Option<Span>) -> bool {
        super::is_ready(tracking, Bound::Guaranteed, max_bound)
    }

    #[test]
    fn ready_means_synchronized_within_the_bound() {
        let mut t = tracking();
        t.bound_ns = Some(1_000);
        assert!(is_ready(&t, None));
        assert!(is_ready(&t, Some(Span::from_micros(1))));
        assert!(!is_ready(&t, Some(Span::from_nanos(999))));
        t.bound_ns = None;
        assert!(is_ready(&t, None));
        assert!(!is_ready(&t, Some(Span::MAX)));
        t.bound_ns = Some(1);
        t.state = ClockState::Holdover;
        assert!(!is_ready(&t, None));
    }

    #[test]
    fn ready_means_that_the_clock_has_followed() {
        let mut t = tracking();
        t.clock_state = Some(SteeringState::Joining);
        assert!(!is_ready(&t, None));
        t.clock_state = Some(SteeringState::Synchronized);
        t.clock_offset_ns = Some(-8e6);
        assert!(!is_ready(&t, None));
        t.clock_offset_ns = Some(-800.0);
        t.bound_ns = Some(1_000);
        assert!(is_ready(&t, None));
        assert!(!is_ready(&t, Some(Span::from_micros(1))));
        assert!(is_ready(&t, Some(Span::from_micros(2))));
        // Without privilege there is only the virtual clock to wait for.
        t.clock_state = Some(SteeringState::MeasureOnly);
        t.clock_offset_ns = Some(5e9);
        assert!(is_ready(&t, Some(Span::from_micros(1))));
    }

    #[test]
    fn the_bound_waited_for_is_the_one_named() {
        let mut t = tracking();
        let (most, either) = (Some(Span::from_nanos(300)), Bound::Statistical);
        assert!(super::is_ready(&t, either, most), "{t:?}");
        assert!(!is_ready(&t, most));
        t.statistical_ns = Some(301);
        assert!(!super::is_ready(&t, either, most));
        t.statistical_ns = None;
        assert!(!super::is_ready(&t, either, Some(Span::MAX)));
    }

    #[test]
    fn a_daemon_without_any_peer_source_is_hopeless() {
        let mut t = tracking();
        assert_eq!(hopeless(&t), None);
        t.sources.clear();
        assert_eq!(hopeless(&t), None, "somebody is there all the same");
        t.neighbours = 0;
        assert!(hopeless(&t).is_some());
    }

    #[test]
    fn a_bound_of_zero_is_refused() {
        assert!(positive("0s").is_err());
        assert!(positive("1").is_err());
        assert_eq!(positive("1us"), Ok(Span::from_micros(1)));
    }
}

//! `parisync tracking`: the state of this node's clock.

use super::output::{CliError, Context, Exit};
use super::text::{premise, risk, signed, span_or_dash, state};
use crate::export::status::{Stage, Tracking};
use crate::present::{text::columns, utc};
use crate::time::{Span, VirtualTime};

/// Asks the daemon and prints.
pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let tracking = context.client()?.tracking()?.content;
    context.show(&tracking, human)?;
    Ok(Exit::Done)
}

fn human(t: &Tracking) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![format!("{name:<16}"), value]);
    row("Identity", t.id.to_string());
    row("State", format!("{}: {}", state(t.state), t.reason));
    row(
        "Network time",
        utc::rfc3339(VirtualTime::from_nanos(t.virtual_time_ns)),
    );
    row(
        "Guaranteed",
        match t.bound_ns {
            Some(_) => format!(
                "{} from the network's clock, while {}",
                span_or_dash(t.bound_ns),
                premise(t)
            ),
            None => "no bound yet".to_owned(),
        },
    );
    if let Some(risk) = risk(t) {
        row("Liar risk", risk);
    }
    row(
        "Statistical",
        match t.statistical_ns {
            Some(_) => format!(
                "{} from the network's clock, in 99.9 % of all cases",
                span_or_dash(t.statistical_ns)
            ),
            None => "no bound yet".to_owned(),
        },
    );
    row(
        "Expected error",
        match t.estimated_error_ns {
            Some(_) => format!("{} (one sigma)", span_or_dash(t.estimated_error_ns)),
            None => "not known yet".to_owned(),
        },
    );
    row(
        "Last offset",
        format!(
            "{} from the neighbours' consensus",
            signed(t.last_offset_ns)
        ),
    );
    if t.local_ns != 0.0 {
        row(
            "Nearby",
            format!("{} agreed on with peers near us", signed(t.local_ns)),
        );
    }
    row(
        "Rate",
        format!("{:+.3} ppm against this host's oscillator", t.rate_ppm),
    );
    if t.references > 0 {
        let excess = t.excess_ppm.map_or_else(
            || "what they ask for is not known yet".to_owned(),
            |ppm| format!("they ask the network's clock to be {ppm:+.3} ppm slower"),
        );
        row("References", format!("{} heard; {excess}", t.references));
    }
    if let Some(oscillator) = oscillator(t) {
        row("Oscillator", oscillator);
    }
    row(
        "Neighbours",
        format!("{} heard, {} used", t.neighbours, t.used),
    );
    row(
        "Strategies",
        format!("estimator {}, combine {}", t.estimator, t.combine),
    );
    for source in &t.sources {
        row("Peers from", source.clone());
    }
    for interface in &t.interfaces {
        row("Interface", interface.clone());
    }
    let steering = match (t.clock_offset_ns, t.clock_rate_ppm) {
        (None, None) => String::new(),
        (offset, rate) => {
            let offset = offset.map_or_else(
                || "offset unknown".to_owned(),
                |ns| format!("{} from the network's clock", signed(ns)),
            );
            let rate = rate.map_or_else(String::new, |ppm| format!(", corrected by {ppm:+.3} ppm"));
            format!(": {offset}{rate}")
        }
    };
    row("Disciplines", format!("{}{steering}", t.discipline));
    let c = &t.counters;
    row(
        "Packets",
        format!(
            "{} sent, {} received, {} refused; {} exchanges, {} steps",
            c.sent, c.received, c.refused, c.exchanges, c.steps
        ),
    );
    row(
        "Stamps",
        format!(
            "{} hardware, {} kernel, {} user, {} lost",
            c.stamps_hardware, c.stamps_kernel, c.stamps_user, c.stamps_lost
        ),
    );
    if let Some(latency) = latency(t) {
        row("Sample latency", latency);
    }
    for warning in &t.warnings {
        row("Warning", warning.clone());
    }
    columns(&rows, &[])
}

/// How long samples take to the estimator, and how many never got there.
fn latency(t: &Tracking) -> Option<String> {
    let of = |stage| t.latency.iter().find(|of| of.stage == stage);
    let short = |ns: u64| Span::from_nanos(ns.cast_signed()).to_string();
    let total = of(Stage::Total)?;
    let mut text = format!(
        "half within {}, 99 % within {}, at most {}",
        short(total.p50_ns),
        short(total.p99_ns),
        short(total.max_ns)
    );
    if let Some(queue) = of(Stage::Queue) {
        text += &format!("; in the queue 99 % within {}", short(queue.p99_ns));
    }
    if t.counters.samples_dropped > 0 {
        text += &format!("; {} dropped for newer ones", t.counters.samples_dropped);
    }
    Some(text)
}

/// How this host's oscillator keeps its frequency: as much as a line holds.
fn oscillator(t: &Tracking) -> Option<String> {
    let wander = t.wander_ppb?;
    let mut text = format!("wanders by {wander:.2} ppb/√s");
    let shown = [1.0, 16.0, 256.0, 4_096.0];
    let known: Vec<String> = t
        .stability
        .iter()
        .filter(|s| shown.contains(&s.tau_s))
        .map(|s| format!("{:.2e} at {} s", s.allan_deviation, s.tau_s))
        .collect();
    if !known.is_empty() {
        text += "; Allan deviation ";
        text += &known.join(", ");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::status::Latency;

    #[test]
    fn a_bound_comes_with_what_it_rests_on() {
        let mut t = crate::cli::tests::tracking();
        let text = human(&t);
        assert!(text.contains(
            "Guaranteed       1.20µs from the network's clock, while at most 2 of the 8 \
             neighbours sampled lie\nLiar risk        3.8 % that more lie, if 10 % of all do\n\
             Statistical      280ns from the network's clock, in 99.9 % of all cases\n"
        ));
        (t.bound_ns, t.statistical_ns, t.liar_risk) = (None, None, None);
        let text = human(&t);
        assert!(text.contains("Guaranteed       no bound yet\nStatistical      no bound yet\n"));
    }

    #[test]
    fn an_oscillator_is_shown_as_far_as_it_is_known() {
        let mut t = crate::cli::tests::tracking();
        let line = "Oscillator       wanders by 1.25 ppb/√s";
        let measured = format!("{line}; Allan deviation 2.50e-9 at 16 s\n");
        assert!(human(&t).contains(&measured));
        t.stability.clear();
        assert!(human(&t).contains(&format!("{line}\n")));
        t.wander_ppb = None;
        assert!(!human(&t).contains("Oscillator"));
    }

    #[test]
    fn latency_has_a_line_once_there_were_samples() {
        let mut t = crate::cli::tests::tracking();
        assert!(!human(&t).contains("Sample latency"));
        t.latency = [(Stage::Queue, 7_000), (Stage::Total, 19_000)]
            .map(|(stage, p99_ns)| Latency {
                stage,
                count: 9,
                sum_ns: 90_000,
                p50_ns: 5_000,
                p99_ns,
                max_ns: 20_000,
                buckets: Vec::new(),
            })
            .to_vec();
        t.counters.samples_dropped = 2;
        assert!(human(&t).contains(
            "Sample latency   half within 5.00µs, 99 % within 19.0µs, at most 20.0µs; \
             in the queue 99 % within 7.00µs; 2 dropped for newer ones\n"
        ));
    }

    #[test]
    fn warnings_and_sources_have_a_line_each() {
        let mut t = crate::cli::tests::tracking();
        t.sources = vec!["lan: 2 heard".to_owned(), "dht: 9 known".to_owned()];
        t.warnings = vec!["somebody else steers".to_owned()];
        let text = human(&t);
        assert_eq!(text.matches("Peers from").count(), 2);
        assert!(text.contains("Strategies       estimator default, combine w-msr\n"));
        assert!(text.contains("Warning          somebody else steers\n"));
        t.clock_offset_ns = None;
        t.clock_rate_ppm = None;
        t.discipline = "none".to_owned();
        assert!(human(&t).contains("Disciplines      none\n"));
    }
}

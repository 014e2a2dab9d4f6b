//! The status as metrics, in the text format that Prometheus scrapes and node_exporter's textfile
//! collector reads (*Exposition formats*, text-based format 0.0.4).
//!
//! Names end in their unit, as that format's conventions ask: seconds, ratios of one, totals. What
//! is not known has no line, rather than one that looks like a number.

use std::fmt::{Display, Write as _};

use super::status::{Latency, Peer, Status, Tracking, Use};
use crate::discipline::SteeringState;
use crate::wire::ClockState;

/// The content type of what [`text`] gives, for whoever serves it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of `status`, a metric a line, each family with its help and type before it.
pub fn text(status: &Status) -> String {
    let mut page = Page(String::new());
    clock(&mut page, &status.tracking);
    steering(&mut page, &status.tracking);
    counters(&mut page, &status.tracking);
    latency(&mut page, &status.tracking.latency);
    peers(&mut page, &status.peers);
    page.0
}

fn clock(page: &mut Page, t: &Tracking) {
    page.gauge("node_info", "Always 1; who this node is.");
    page.line("node_info", &[("id", &t.id)], 1);
    page.gauge(
        "strategies_info",
        "Always 1; how it makes time of what it measures.",
    );
    let strategies: [(&str, &dyn Display); 2] =
        [("estimator", &t.estimator), ("combine", &t.combine)];
    page.line("strategies_info", &strategies, 1);
    page.gauge(
        "state",
        "1 for the state of the virtual clock, 0 for the others.",
    );
    for state in ClockState::ALL {
        let word = word(&state);
        page.line("state", &[("state", &word)], u8::from(state == t.state));
    }
    let seconds = |ns: Option<i64>| ns.map(|ns| ns as f64 / 1e9);
    page.single(
        "guaranteed_bound_seconds",
        "Bound on the virtual clock that holds while no more than tolerated_liars lie.",
        seconds(t.bound_ns),
    );
    page.single(
        "statistical_bound_seconds",
        "Bound on the virtual clock that 99.9 % of its errors stay within.",
        seconds(t.statistical_ns),
    );
    page.single(
        "estimated_error_seconds",
        "Expected error of the virtual clock, one sigma.",
        seconds(t.estimated_error_ns),
    );
    page.single(
        "sampled_neighbours",
        "Neighbours whose intervals made the guaranteed bound.",
        Some(t.sampled),
    );
    page.single(
        "tolerated_liars",
        "Liars among the sampled neighbours that the guaranteed bound tolerates.",
        Some(t.tolerated_liars),
    );
    page.single(
        "liar_risk_ratio",
        "Probability that more of them lie, if each does with assumed_liars_ratio.",
        t.liar_risk,
    );
    page.single(
        "assumed_liars_ratio",
        "Share of liars in the network that liar_risk_ratio assumes.",
        Some(t.assumed_liars),
    );
    page.single(
        "last_offset_seconds",
        "What the last round made of the neighbours: the agreed clock minus ours.",
        Some(t.last_offset_ns / 1e9),
    );
    page.single(
        "local_offset_seconds",
        "Of the virtual clock, what was agreed on with peers near this node.",
        Some(t.local_ns / 1e9),
    );
    page.single(
        "frequency_ratio",
        "Frequency of the virtual clock against this host's oscillator, minus one.",
        Some(t.rate_ppm / 1e6),
    );
    page.single(
        "references",
        "References heard of late, this node counted if it is one.",
        Some(t.references),
    );
    page.single(
        "excess_ratio",
        "By how much references ask the virtual clock to be slower; without any, how much faster it is than the typical oscillator.",
        t.excess_ppm.map(|excess| excess / 1e6),
    );
    page.single(
        "wander_ratio",
        "Random walk of this host's oscillator's frequency, per root second.",
        t.wander_ppb.map(|wander| wander / 1e9),
    );
    if !t.stability.is_empty() {
        let name = "allan_deviation_ratio";
        page.gauge(
            name,
            "Allan deviation of this host's oscillator, as measured, by averaging time in seconds.",
        );
        for stability in &t.stability {
            page.line(
                name,
                &[("tau", &stability.tau_s)],
                stability.allan_deviation,
            );
        }
    }
    page.single(
        "neighbours",
        "Neighbours heard of late.",
        Some(t.neighbours),
    );
    page.single(
        "neighbours_used",
        "Neighbours used in the last round.",
        Some(t.used),
    );
    page.single(
        "warnings",
        "Troubles that people should know of; parisync tracking has them in words.",
        Some(t.warnings.len()),
    );
}

fn steering(page: &mut Page, t: &Tracking) {
    page.gauge("discipline_info", "Always 1; what is disciplined.");
    page.line("discipline_info", &[("target", &t.discipline)], 1);
    if let Some(now) = t.clock_state {
        page.gauge(
            "clock_state",
            "1 for what is being done with the disciplined clock, 0 for the rest.",
        );
        for state in SteeringState::ALL {
            let word = word(&state);
            page.line("clock_state", &[("state", &word)], u8::from(state == now));
        }
    }
    page.single(
        "clock_offset_seconds",
        "The disciplined clock minus the virtual clock.",
        t.clock_offset_ns.map(|ns| ns / 1e9),
    );
    page.single(
        "clock_frequency_ratio",
        "Frequency correction applied to the disciplined clock.",
        t.clock_rate_ppm.map(|ppm| ppm / 1e6),
    );
}

fn counters(page: &mut Page, t: &Tracking) {
    let c = &t.counters;
    for (name, help, value) in [
        ("packets_sent_total", "Time packets sent.", c.sent),
        (
            "packets_received_total",
            "Time packets received and authenticated.",
            c.received,
        ),
        (
            "packets_refused_total",
            "Datagrams refused: malformed, foreign, replayed, forged or too many.",
            c.refused,
        ),
        ("exchanges_total", "Exchanges completed.", c.exchanges),
        ("steps_total", "Times the virtual clock jumped.", c.steps),
        (
            "stamps_lost_total",
            "Transmit stamps that never came.",
            c.stamps_lost,
        ),
        (
            "samples_dropped_total",
            "Stamps and datagrams that newer ones drove out before the estimator.",
            c.samples_dropped,
        ),
        (
            "sends_dropped_total",
            "Datagrams that newer ones drove out before the socket.",
            c.sends_dropped,
        ),
    ] {
        page.family(name, help, "counter");
        page.line(name, &[], value);
    }
    page.family(
        "stamps_total",
        "Stamps by the place they were taken.",
        "counter",
    );
    for (source, value) in [
        ("hardware", c.stamps_hardware),
        ("kernel", c.stamps_kernel),
        ("user", c.stamps_user),
    ] {
        page.line("stamps_total", &[("source", &source)], value);
    }
}

fn latency(page: &mut Page, latency: &[Latency]) {
    if latency.is_empty() {
        return;
    }
    let name = "sample_latency_seconds";
    page.family(
        name,
        "How long samples took from their stamp to the estimator, by part of the way.",
        "histogram",
    );
    for of in latency {
        let stage = of.stage.name();
        for bucket in &of.buckets {
            let labels: [(&str, &dyn Display); 2] =
                [("stage", &stage), ("le", &(bucket.below_ns as f64 / 1e9))];
            page.line(&format!("{name}_bucket"), &labels, bucket.count);
        }
        let all: [(&str, &dyn Display); 2] = [("stage", &stage), ("le", &"+Inf")];
        page.line(&format!("{name}_bucket"), &all, of.count);
        let stage: [(&str, &dyn Display); 1] = [("stage", &stage)];
        page.line(&format!("{name}_sum"), &stage, of.sum_ns as f64 / 1e9);
        page.line(&format!("{name}_count"), &stage, of.count);
    }
}

fn peers(page: &mut Page, peers: &[Peer]) {
    page.peers(
        peers,
        "peer_used",
        "1 if the neighbour was used in the last round, otherwise 0.",
        |peer| Some(f64::from(u8::from(peer.used == Use::Used))),
    );
    page.peers(
        peers,
        "peer_offset_seconds",
        "The neighbour's virtual clock minus ours.",
        |peer| peer.offset_ns.map(|ns| ns / 1e9),
    );
    page.peers(
        peers,
        "peer_statistical_bound_seconds",
        "What 99.9 % of the errors of that offset stay within, asymmetry aside.",
        |peer| peer.offset_statistical_ns.map(|ns| ns / 1e9),
    );
    page.peers(
        peers,
        "peer_guaranteed_bound_seconds",
        "Half the width of the interval that is guaranteed to hold that offset.",
        |peer| Some((peer.offset_max_ns? - peer.offset_min_ns?) / 2e9),
    );
    page.peers(
        peers,
        "peer_frequency_ratio",
        "Frequency of the neighbour's oscillator against ours, minus one.",
        |peer| peer.rate_ppm.map(|ppm| ppm / 1e6),
    );
    page.peers(
        peers,
        "peer_round_trip_seconds",
        "Least round trip of late.",
        |peer| peer.rtt_ns.map(|ns| ns as f64 / 1e9),
    );
    page.peers(
        peers,
        "peer_reach_ratio",
        "Share of the last eight exchanges that was answered.",
        |peer| Some(f64::from(peer.reach.count_ones()) / 8.0),
    );
}

/// The word that JSON has for a value without fields.
fn word(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            self.0,
            "# HELP parisync_{name} {help}\n# TYPE parisync_{name} {kind}"
        );
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, help, "gauge");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        let _ = write!(self.0, "parisync_{name}");
        for (i, (label, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(&text.to_string()));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn single(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.gauge(name, help);
            self.line(name, &[], value);
        }
    }

    fn peers(
        &mut self,
        peers: &[Peer],
        name: &str,
        help: &str,
        value: impl Fn(&Peer) -> Option<f64>,
    ) {
        let known: Vec<(&Peer, f64)> = peers
            .iter()
            .filter_map(|peer| Some((peer, value(peer)?)))
            .collect();
        if known.is_empty() {
            return;
        }
        self.gauge(name, help);
        for (peer, value) in known {
            let labels: [(&str, &dyn Display); 2] = [("id", &peer.id), ("address", &peer.addr)];
            self.line(name, &labels, value);
        }
    }
}

/// A label's value: backslash, quote and line feed are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::status::{Bucket, Stage};
    use super::*;
    use std::collections::HashSet;

    /// A healthy node with one neighbour.
    fn status() -> Status {
        let mut status = super::super::tests::status(1, 5);
        let t = &mut status.tracking;
        t.state = ClockState::Synchronized;
        (t.bound_ns, t.statistical_ns) = (Some(1_200), Some(280));
        t.liar_risk = Some(0.0381);
        t.clock_state = Some(SteeringState::Synchronized);
        let buckets = [(1_024, 3), (2_048, 5)];
        t.latency = vec![Latency {
            stage: Stage::Queue,
            count: 6,
            sum_ns: 9_000,
            p50_ns: 1_000,
            p99_ns: 4_000,
            max_ns: 4_000,
            buckets: buckets
                .map(|(below_ns, count)| Bucket { below_ns, count })
                .to_vec(),
        }];
        status
    }

    /// Checks what the format demands and returns the samples.
    fn checked(text: &str) -> Vec<(String, f64)> {
        let (mut families, mut samples) = (HashSet::new(), Vec::new());
        let (mut family, mut histogram) = (String::new(), false);
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                histogram = kind == "histogram";
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let plain = name.split('{').next().unwrap();
                let part = plain.strip_prefix(&family).unwrap();
                let parts = ["_bucket", "_sum", "_count"];
                assert!(
                    part.is_empty() != (histogram && parts.contains(&part)),
                    "{line}"
                );
                samples.push((name.to_owned(), value.parse().unwrap()));
            }
        }
        samples
    }

    #[test]
    fn a_page_is_in_the_format_and_has_both_bounds() {
        let samples = checked(&text(&status()));
        let value = |name: &str| samples.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        assert_eq!(value("parisync_guaranteed_bound_seconds"), Some(1.2e-6));
        assert_eq!(value("parisync_statistical_bound_seconds"), Some(2.8e-7));
        assert_eq!(value("parisync_liar_risk_ratio"), Some(0.0381));
        assert_eq!(value("parisync_state{state=\"synchronized\"}"), Some(1.0));
        assert_eq!(value("parisync_state{state=\"holdover\"}"), Some(0.0));
        assert_eq!(value("parisync_packets_sent_total"), Some(5.0));
        assert_eq!(value("parisync_stamps_total{source=\"kernel\"}"), Some(0.0));
        assert_eq!(value("parisync_wander_ratio"), Some(1.25e-9));
        let allan = value("parisync_allan_deviation_ratio{tau=\"16\"}");
        assert_eq!(allan, Some(2.5e-9));
        let latency = |part: &str| value(&format!("parisync_sample_latency_seconds_{part}"));
        assert_eq!(
            latency("bucket{stage=\"queue\",le=\"0.000002048\"}"),
            Some(5.0)
        );
        assert_eq!(latency("bucket{stage=\"queue\",le=\"+Inf\"}"), Some(6.0));
        assert_eq!(latency("sum{stage=\"queue\"}"), Some(9e-6));
        assert_eq!(latency("count{stage=\"queue\"}"), Some(6.0));
        let id = "00".repeat(32);
        let peer = |name: &str| value(&format!("{name}{{id=\"{id}\",address=\"192.0.2.0:4711\"}}"));
        assert_eq!(peer("parisync_peer_offset_seconds"), Some(-1.25e-9));
        assert_eq!(peer("parisync_peer_guaranteed_bound_seconds"), Some(1e-3));
        assert_eq!(peer("parisync_peer_reach_ratio"), Some(0.875));
        assert_eq!(peer("parisync_peer_statistical_bound_seconds"), None);
    }

    #[test]
    fn what_is_not_known_has_no_line() {
        let mut status = status();
        status.tracking.bound_ns = None;
        status.tracking.clock_state = None;
        status.peers[0].offset_ns = None;
        let text = text(&status);
        checked(&text);
        for name in ["guaranteed_bound_seconds", "clock_state", "peer_offset"] {
            assert!(!text.contains(&format!("parisync_{name}")), "{name}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}

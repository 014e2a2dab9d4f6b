//! The report's page.

use super::nodes::NodeStats;
use super::plots;
use super::report::Run;
use super::summary::Summary;
use super::table::state;
use super::text;
use crate::present::histogram::Histogram;
use crate::present::page::{
    Card, Judgement, Row, bad_cell, cards, document, escape, facts, figure, host_facts, keys, table,
};

/// The page.
pub(super) fn html(run: &Run<'_>) -> String {
    let histogram = Histogram::of(&run.record.settled_errors_ns());
    let summary = run.summary;
    let mut page = String::new();
    page += &header(run);
    page += &cards(&summary_cards(summary));
    page += &figure(
        "Skew of the worst pair",
        "How far the two clocks that differ most are apart, on a logarithmic scale.",
        &legend(run),
        &plots::skew(run.record, summary.converged_s),
    );
    page += "<div class=\"pair\">\n";
    page += &figure(
        "True errors",
        &match histogram.beyond {
            0 => "Each node's clock against the median of all, second half.".to_owned(),
            n => format!(
                "Each node's clock against the median of all, second half; {} beyond the scale.",
                text::count(n)
            ),
        },
        "",
        &plots::errors(&histogram, summary.rms_ns),
    );
    page += &figure(
        "Bound against true error",
        "A bound holds while the error of its node stays below it; a statistical one has to in \
         99.9 % of all cases.",
        &keys(&[
            ("blue", "largest true error"),
            ("green area", "guaranteed, least to greatest"),
            ("amber", "statistical, greatest"),
        ]),
        &plots::bounds(run.record),
    );
    page += "</div>\n";
    page += &node_table(run);
    page += &facts("This run", &facts_of(run));
    document("PariSync demo", &page)
}

fn header(run: &Run<'_>) -> String {
    let options = run.options;
    let liars = match run.options.liars {
        0 => String::new(),
        n => {
            let who = if n == 1 {
                "One of them lies".to_owned()
            } else {
                format!("{n} of them lie")
            };
            let mut lies = vec![text::span(options.liar_offset.as_nanos_f64())];
            if options.liar_drift != 0.0 {
                lies.push(format!("{} on top", text::ppm(options.liar_drift)));
            }
            format!(
                " {who} about the time, by {}; liars are drawn but not counted.",
                lies.join(" and ")
            )
        }
    };
    format!(
        "<header>\n<h1>PariSync demo</h1>\n<p>{} nodes on one host for {:.0} seconds, each with \
         its own socket and its own bad clock: up to {} off at the start and up to {}ppm fast or \
         slow. Nobody is master; they agree on the median.{liars} Errors are true errors: all \
         clocks are read at one instant of the physical clock they share, never taken from an \
         estimate.</p>\n</header>\n",
        run.summary.nodes,
        run.summary.seconds,
        text::span(options.max_offset.as_nanos_f64()),
        options.max_ppm,
    )
}

fn summary_cards(summary: &Summary) -> [Card; 7] {
    let ns = |value: Option<i64>| text::maybe(value.map(|ns| ns as f64));
    let skew = summary.skew_ns;
    [
        Card {
            label: "converged",
            value: summary
                .converged_s
                .map_or_else(|| "never".to_owned(), |at| format!("{at:.1}s")),
            note: "within 10µs for good".to_owned(),
            judgement: summary.converged_s.is_some().into(),
        },
        Card {
            label: "worst pair, p99",
            value: ns(skew.p99),
            note: format!("p50 {} · max {}", ns(skew.p50), ns(skew.max)),
            judgement: Judgement::Plain,
        },
        Card {
            label: "rms",
            value: text::maybe(summary.rms_ns),
            note: "from the mean of all".to_owned(),
            judgement: Judgement::Plain,
        },
        Card {
            label: "guaranteed bound, p50",
            value: ns(summary.bound_ns.p50),
            note: format!("p99 {}", ns(summary.bound_ns.p99)),
            judgement: Judgement::Plain,
        },
        Card {
            label: "statistical bound, p50",
            value: ns(summary.statistical_ns.p50),
            note: format!("p99 {}", ns(summary.statistical_ns.p99)),
            judgement: Judgement::Plain,
        },
        Card {
            label: "broken bounds",
            value: text::count(summary.bound_violations),
            note: "in the whole run".to_owned(),
            judgement: (summary.bound_violations == 0).into(),
        },
        Card {
            label: "beyond 99.9 %",
            value: summary
                .statistical_share
                .map_or_else(|| "–".to_owned(), text::percent),
            note: "0.1% allowed".to_owned(),
            judgement: summary
                .statistical_share
                .is_none_or(|share| share <= 0.001)
                .into(),
        },
    ]
}

fn legend(run: &Run<'_>) -> String {
    let mut entries = vec![
        ("blue", "worst pair"),
        ("faint", "single nodes, from the median"),
        ("vermilion", "10µs"),
    ];
    if run.options.liars > 0 {
        entries.push(("purple", "liars"));
    }
    keys(&entries)
}

fn node_table(run: &Run<'_>) -> String {
    const HEADS: [&str; 13] = [
        "node",
        "id",
        "clock off by",
        "runs off by",
        "synchronized",
        "rms",
        "largest error",
        "guaranteed, p50",
        "broken",
        "statistical, p50",
        "beyond",
        "peers",
        "state",
    ];
    let last = run.record.samples().last();
    let roster = run.record.roster().iter().enumerate();
    let rows = roster.map(|(node, info)| {
        let stats = NodeStats::of(run.record, node);
        let seen = last.map(|sample| sample.nodes[node]);
        let liar = info.clock.lie.is_some();
        let state = match seen {
            _ if liar => "liar",
            Some(seen) => state(seen.state, true).1,
            None => "–",
        };
        let broken = match (liar, stats.violations) {
            (true, _) => "–".to_owned(),
            (false, 0) => "0".to_owned(),
            (false, n) => bad_cell(&text::count(n)),
        };
        let beyond = match liar {
            true => "–".to_owned(),
            false => text::count(stats.beyond_statistical),
        };
        let synchronized = stats.synchronized_s.map(|at| format!("{at:.1}s"));
        Row {
            cells: vec![
                (node + 1).to_string(),
                format!("<code>{}</code>", info.id.short()),
                text::signed(info.clock.offset.as_nanos_f64()),
                text::ppm(info.clock.ppm),
                synchronized.unwrap_or_else(|| "–".to_owned()),
                text::maybe(stats.rms_ns),
                stats.worst_ns.map_or_else(|| "–".to_owned(), text::signed),
                text::maybe(stats.bound_ns.map(|ns| ns as f64)),
                broken,
                text::maybe(stats.statistical_ns.map(|ns| ns as f64)),
                beyond,
                seen.map_or_else(String::new, |seen| {
                    format!("{}/{}", seen.used, seen.neighbours)
                }),
                state.to_owned(),
            ],
            marked: liar,
        }
    });
    table(
        "Nodes",
        &HEADS.map(str::to_owned),
        &[1, 12],
        &rows.collect::<Vec<_>>(),
        "rms, largest error and bounds are of the second half, against the median of the honest \
         nodes; peers are those used of those heard at the end.",
    )
}

fn facts_of(run: &Run<'_>) -> Vec<(&'static str, String)> {
    let summary = run.summary;
    let stamps = summary.stamps;
    let mut facts = vec![
        ("command", format!("<code>{}</code>", escape(&run.command))),
        ("seed", run.options.seed.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("exchanges", text::count(summary.exchanges)),
        (
            "stamps",
            format!(
                "{} by the network card, {} by the kernel, {} in user space, {} lost",
                text::count(stamps.hardware),
                text::count(stamps.kernel),
                text::count(stamps.user),
                text::count(stamps.lost)
            ),
        ),
        (
            "strategies",
            run.options
                .strategies
                .words()
                .unwrap_or_else(|| "default".to_owned()),
        ),
        (
            "oscillators",
            format!("frequency wanders by {:e} per √s", run.options.wander),
        ),
    ];
    facts.extend(host_facts(&run.host));
    facts.push((
        "data",
        "<a href=\"summary.json\">summary.json</a>, <a href=\"samples.csv\">samples.csv</a>"
            .to_owned(),
    ));
    facts
}

#[cfg(test)]
mod tests {
    use super::super::options::DemoOptions;
    use super::super::summary::Record;
    use super::super::swarm::Swarm;
    use super::super::testing;
    use super::*;
    use crate::present::host::Host;
    use crate::time::Span;

    fn page(options: &DemoOptions, seconds: i64) -> String {
        let mut swarm = testing::Synthetic::new(options);
        let mut record = Record::new(swarm.roster());
        for ms in (0..=1000 * seconds).step_by(100) {
            record.push(swarm.sample(Span::from_millis(ms)));
        }
        html(&Run {
            options,
            record: &record,
            summary: &record.summary(swarm.totals()),
            command: "parisync demo --report '<dir>'".to_owned(),
            host: Host {
                kernel: "Linux 6.1".to_owned(),
                processor: "A & B".to_owned(),
                processors: 2,
                clock_source: "tsc".to_owned(),
            },
        })
    }

    fn check_well_formed(page: &str) {
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        roxmltree::Document::parse_with_options(page, options).unwrap();
    }

    #[test]
    fn the_page_is_well_formed_self_contained_and_has_all_its_parts() {
        let mut options = testing::options();
        options.liars = 1;
        let page = page(&options, 30);
        check_well_formed(&page);
        assert_eq!(page.matches("<svg role=\"img\"").count(), 3);
        assert_eq!(page.matches("<tr").count(), 9);
        assert!(!page.contains("<script") && !page.contains("url("));
        let links = page.matches("http").count();
        assert_eq!(
            links,
            page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
        );
        for part in [
            "below 10µs from",
            "rms ",
            "liar",
            "--report &#39;&lt;dir&gt;&#39;",
            "A &amp; B",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn every_colour_of_a_plot_is_one_the_page_knows() {
        let page = page(&testing::options(), 10);
        for attribute in ["fill=\"#", "stroke=\"#"] {
            let svg = &page[page.find("<figure").unwrap()..];
            for (at, _) in svg.match_indices(attribute) {
                let colour = &svg[at..at + attribute.len() + 6];
                assert!(page.contains(&format!("svg [{colour}\"]")), "{colour}");
            }
        }
    }

    #[test]
    fn a_run_that_was_stopped_at_once_still_makes_a_page() {
        check_well_formed(&page(&testing::options(), 0));
    }
}

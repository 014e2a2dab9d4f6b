//! The report's page: one self-contained file, no scripts, light or dark as the reader has it.

use std::fmt::Write as _;

use super::figure::{escape, figure, keys, plot_colours};
use super::histogram::Histogram;
use super::nodes::NodeStats;
use super::plots;
use super::report::Run;
use super::summary::Summary;
use super::table::state;
use super::text;

const STYLE: &str = include_str!("page.css");

/// The page.
pub(super) fn html(run: &Run<'_>) -> String {
    let histogram = Histogram::of(&run.record.settled_errors_ns());
    let summary = run.summary;
    let mut page = String::new();
    page += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    page += "<meta name=\"color-scheme\" content=\"light dark\">\n";
    page += "<title>PariSync demo</title>\n<style>\n";
    page += STYLE;
    page += &plot_colours();
    page += "</style>\n</head>\n<body>\n<main>\n";
    page += &header(run);
    page += &cards(summary);
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
        "A bound holds while the error of its node stays below it.",
        &keys(&[
            ("truth", "largest true error"),
            ("bound", "bounds, least to greatest"),
        ]),
        &plots::bounds(run.record),
    );
    page += "</div>\n";
    page += &node_table(run);
    page += &facts(run);
    page += "</main>\n</body>\n</html>\n";
    page
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

fn cards(summary: &Summary) -> String {
    let ns = |value: Option<i64>| text::maybe(value.map(|ns| ns as f64));
    let converged = summary
        .converged_s
        .map_or_else(|| "never".to_owned(), |at| format!("{at:.1}s"));
    let good = |yes: bool| if yes { "good" } else { "bad" };
    let skew = summary.skew_ns;
    let mut cards = String::from("<section class=\"cards\" aria-label=\"Summary\">\n");
    for (label, value, note, class) in [
        (
            "converged",
            converged,
            "within 10µs for good".to_owned(),
            good(summary.converged_s.is_some()),
        ),
        (
            "worst pair, p99",
            ns(skew.p99),
            format!("p50 {} · max {}", ns(skew.p50), ns(skew.max)),
            "",
        ),
        (
            "rms",
            text::maybe(summary.rms_ns),
            "from the mean of all".to_owned(),
            "",
        ),
        (
            "bound, p50",
            ns(summary.bound_ns.p50),
            format!("p99 {}", ns(summary.bound_ns.p99)),
            "",
        ),
        (
            "broken bounds",
            text::count(summary.bound_violations),
            "in the whole run".to_owned(),
            good(summary.bound_violations == 0),
        ),
    ] {
        let _ = writeln!(
            cards,
            "<div class=\"card {class}\"><span>{label}</span><strong>{value}</strong>\
             <small>{note}</small></div>"
        );
    }
    cards + "</section>\n"
}

fn legend(run: &Run<'_>) -> String {
    let mut entries = vec![
        ("truth", "worst pair"),
        ("faint", "single nodes, from the median"),
        ("limit", "10µs"),
    ];
    if run.options.liars > 0 {
        entries.push(("liar", "liars"));
    }
    keys(&entries)
}

fn node_table(run: &Run<'_>) -> String {
    let mut table = String::from(
        "<section>\n<h2>Nodes</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>node</th>\
         <th>id</th><th>clock off by</th><th>runs off by</th><th>synchronized</th><th>rms</th>\
         <th>largest error</th><th>bound, p50</th><th>broken</th><th>peers</th><th>state</th>\
         </tr></thead>\n<tbody>\n",
    );
    let last = run.record.samples().last();
    for (node, info) in run.record.roster().iter().enumerate() {
        let stats = NodeStats::of(run.record, node);
        let seen = last.map(|sample| sample.nodes[node]);
        let liar = info.clock.lie.is_some();
        let state = match seen {
            _ if liar => "liar",
            Some(seen) => state(seen.state, true).1,
            None => "–",
        };
        let _ = writeln!(
            table,
            "<tr{}><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td{}>{}</td><td>{}</td><td>{state}</td></tr>",
            if liar { " class=\"liar\"" } else { "" },
            node + 1,
            info.id.short(),
            text::signed(info.clock.offset.as_nanos_f64()),
            text::ppm(info.clock.ppm),
            stats
                .synchronized_s
                .map_or_else(|| "–".to_owned(), |at| format!("{at:.1}s")),
            text::maybe(stats.rms_ns),
            stats.worst_ns.map_or_else(|| "–".to_owned(), text::signed),
            text::maybe(stats.bound_ns.map(|ns| ns as f64)),
            if stats.violations > 0 && !liar {
                " class=\"bad\""
            } else {
                ""
            },
            if liar {
                "–".to_owned()
            } else {
                text::count(stats.violations)
            },
            seen.map_or_else(String::new, |seen| format!(
                "{}/{}",
                seen.used, seen.neighbours
            )),
        );
    }
    table
        + "</tbody>\n</table></div>\n<p class=\"note\">rms, largest error and bound are of the \
           second half, against the median of the honest nodes; peers are those used of those \
           heard at the end.</p>\n</section>\n"
}

fn facts(run: &Run<'_>) -> String {
    let summary = run.summary;
    let stamps = summary.stamps;
    let host = &run.host;
    let mut facts = String::from("<section>\n<h2>This run</h2>\n<dl>\n");
    for (term, fact) in [
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
            "oscillators",
            format!("frequency wanders by {:e} per √s", run.options.wander),
        ),
        ("kernel", escape(&host.kernel).into_owned()),
        (
            "processors",
            format!("{} × {}", host.processors, escape(&host.processor)),
        ),
        ("clock source", escape(&host.clock_source).into_owned()),
        (
            "data",
            "<a href=\"summary.json\">summary.json</a>, <a href=\"samples.csv\">samples.csv</a>"
                .to_owned(),
        ),
    ] {
        let _ = writeln!(facts, "<dt>{term}</dt><dd>{fact}</dd>");
    }
    facts + "</dl>\n</section>\n"
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

    /// Every tag is closed in order, every attribute quoted: what XML asks for, but for the two
    /// elements HTML never closes.
    fn check_well_formed(page: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = page;
        while let Some(start) = rest.find('<') {
            let tag = &rest[start + 1..];
            let end = tag.find('>').unwrap();
            let (tag, after) = (&tag[..end], &tag[end + 1..]);
            rest = after;
            let name = tag
                .trim_start_matches('/')
                .split([' ', '\n', '/'])
                .next()
                .unwrap();
            assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
            match tag {
                _ if tag.starts_with('!') || name == "meta" || tag.ends_with('/') => {}
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
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

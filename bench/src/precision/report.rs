//! The figures as a table for people.

use parisync::present::text::{columns, fine};

use super::judge::Truth;
use super::ratio::Ratio;
use super::score::{LaneReport, Quantiles, Ratios};

/// Two tables with a line for each lane, and one on what each is worth against the first.
pub fn table(reports: &[LaneReport]) -> String {
    let at = |quantiles: Option<Quantiles>, which: fn(Quantiles) -> u64| {
        nanos(quantiles.map(|q| which(q) as f64))
    };
    let truth = match reports.first().map(|report| report.truth) {
        Some(Truth::OwnMedian) => {
            "no common clock: relative to the lane's own quickest exchanges around it"
        }
        _ => "both ends read the same clock, so the true offset is 0",
    };
    let mut text = format!("Error of the offset ({truth})\n");
    text += &lines(
        reports,
        [
            "lane",
            "exchanges",
            "bias",
            "σ",
            "as stamped",
            "min of 8",
            "p50",
            "p99",
            "max",
        ],
        |report| {
            [
                report.lane.to_string(),
                report.counts.exchanges.to_string(),
                nanos(report.bias_ns),
                nanos(report.sigma_ns),
                nanos(report.as_stamped_sigma_ns),
                nanos(report.min_of_8_sigma_ns),
                at(report.error, |q| q.p50_ns),
                at(report.error, |q| q.p99_ns),
                at(report.error, |q| q.max_ns),
            ]
        },
    );
    text += "\nDelays and cost of an exchange; what was lost\n";
    text += &lines(
        reports,
        [
            "lane",
            "rtt p50",
            "p99",
            "max",
            "there",
            "back",
            "wake",
            "p99",
            "cpu",
            "packets",
            "stamps",
            "misplaced",
        ],
        |report| {
            [
                report.lane.to_string(),
                at(report.round_trip, |q| q.p50_ns),
                at(report.round_trip, |q| q.p99_ns),
                at(report.round_trip, |q| q.max_ns),
                at(report.forward, |q| q.p50_ns),
                at(report.backward, |q| q.p50_ns),
                at(report.wake, |q| q.p50_ns),
                at(report.wake, |q| q.p99_ns),
                nanos(report.cpu_ns),
                report.counts.lost_packets.to_string(),
                report.counts.lost_stamps.to_string(),
                report.counts.wrong_source.to_string(),
            ]
        },
    );
    if let [first, others @ ..] = reports
        && !others.is_empty()
    {
        text += &format!("\nTimes {}, paired by slice (95 %)\n", first.lane);
        text += &lines(others, ["lane", "error", "round trip", "cpu"], |report| {
            let ratio =
                |which: fn(&Ratios) -> Option<Ratio>| times(report.ratio.as_ref().and_then(which));
            [
                report.lane.to_string(),
                ratio(|r| r.error),
                ratio(|r| r.round_trip),
                ratio(|r| r.cpu),
            ]
        });
    }
    text
}

/// A heading and a line for each lane; all but the lane's name is aligned right.
fn lines<const N: usize>(
    reports: &[LaneReport],
    heading: [&str; N],
    line: impl Fn(&LaneReport) -> [String; N],
) -> String {
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(reports.iter().map(|report| line(report).to_vec()));
    columns(&rows, &(1..N).collect::<Vec<usize>>())
}

fn nanos(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), fine)
}

/// `12.3 (11.9 – 12.8)`.
fn times(ratio: Option<Ratio>) -> String {
    let three = |value: f64| match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    };
    match ratio {
        None => "–".to_owned(),
        Some(Ratio {
            median,
            low: Some(low),
            high: Some(high),
            ..
        }) => format!("{} ({} – {})", three(median), three(low), three(high)),
        Some(Ratio { median, .. }) => three(median),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_have_three_digits() {
        let ratio = Ratio {
            median: 12.345,
            low: Some(1.234),
            high: Some(123.4),
            rounds: 40,
        };
        assert_eq!(times(Some(ratio)), "12.3 (1.23 – 123)");
        let few = Ratio {
            low: None,
            high: None,
            ..ratio
        };
        assert_eq!((times(Some(few)), times(None)), ("12.3".into(), "–".into()));
    }
}

//! `parisync peers`: the neighbours, which are used, and if not why.

use std::net::SocketAddr;

use super::output::{CliError, Context, Exit};
use super::text::{ppm_or_dash, premise, risk, signed, span_or_dash, stamps, state};
use crate::export::status::{Peer, Status, Tracking, Use};
use crate::present::text::columns;
use crate::time::Span;
use crate::topology::FoundBy;

/// Options of `parisync peers`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show whole identities, intervals, claims and the meaning of the letters
    #[arg(short, long)]
    verbose: bool,
}

/// Longer addresses are shortened in the table; `-v` has them whole.
const ADDRESS_WIDTH: usize = 21;

const HEAD: [&str; 11] = [
    "", "use", "peer", "address", "offset", "±bound", "ppm", "rtt", "stamps", "reach", "found",
];

const RIGHT: [usize; 5] = [4, 5, 6, 7, 9];

/// Asks the daemon and prints.
pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let Status {
        tracking,
        mut peers,
    } = context.client()?.status()?.content;
    // Those that count first, then in an order that does not change from call to call.
    peers.sort_by_key(|peer| (peer.used != Use::Used, peer.used == Use::Inbound, peer.id));
    context.show(&peers, |peers| {
        if args.verbose {
            verbose(peers, &tracking)
        } else {
            table(peers)
        }
    })?;
    Ok(Exit::Done)
}

fn table(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "no neighbours; `parisync tracking` shows where peers are looked for\n".to_owned();
    }
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(peers.iter().map(row));
    columns(&rows, &RIGHT)
}

fn row(peer: &Peer) -> Vec<String> {
    let words = peer.used.words();
    vec![
        peer.used.letter().to_string(),
        words.split(':').next().unwrap_or(words).to_owned(),
        peer.id.short(),
        short_address(peer.addr),
        peer.offset_ns.map_or_else(|| "-".to_owned(), signed),
        link_bound(peer),
        ppm_or_dash(peer.rate_ppm),
        span_or_dash(peer.rtt_ns),
        peer.stamps.map_or("-", stamps).to_owned(),
        format!("{:03o}", peer.reach),
        found(peer.found_by).to_owned(),
    ]
}

/// Half the width of the interval that is guaranteed to hold the offset.
fn link_bound(peer: &Peer) -> String {
    match (peer.offset_min_ns, peer.offset_max_ns) {
        (Some(min), Some(max)) => Span::from_nanos_f64((max - min) / 2.0).to_string(),
        _ => "-".to_owned(),
    }
}

/// The address, with the middle left out if it is long: its ends tell hosts apart.
fn short_address(addr: SocketAddr) -> String {
    let text = addr.to_string();
    if text.len() <= ADDRESS_WIDTH {
        return text;
    }
    let keep = ADDRESS_WIDTH - 1;
    let (head, tail) = (keep / 2 - 2, keep / 2 + 2);
    format!("{}…{}", &text[..head], &text[text.len() - tail..])
}

const fn found(by: FoundBy) -> &'static str {
    match by {
        FoundBy::Static => "static",
        FoundBy::Lan => "lan",
        FoundBy::Dht => "dht",
        FoundBy::Inbound => "inbound",
        FoundBy::Saved => "saved",
        FoundBy::Near => "near",
        FoundBy::Reference => "reference",
    }
}

fn verbose(peers: &[Peer], tracking: &Tracking) -> String {
    let mut text = table(peers);
    if let Some(risk) = risk(tracking) {
        let premise = premise(tracking);
        text += &format!("\nguaranteed while {premise}; {risk}\n");
    }
    for peer in peers {
        let about = |ns: Option<f64>| {
            ns.map_or_else(|| "-".to_owned(), |ns| Span::from_nanos_f64(ns).to_string())
        };
        let interval = match (peer.offset_min_ns, peer.offset_max_ns) {
            (Some(min), Some(max)) => format!("{} to {}", signed(min), signed(max)),
            _ => "not known yet".to_owned(),
        };
        text += &format!(
            "\n{id}\n  {letter}  {words}\n  address   {addr}, found by {found}\n  \
             offset    {interval} guaranteed, ±{likely} in 99.9 % of all cases, sigma {sigma}\n  \
             claims    {state}, bound {claimed}\n  \
             reach     {reach} of the last 8 answered, {exchanges} exchanges\n",
            id = peer.id,
            letter = peer.used.letter(),
            words = peer.used.words(),
            addr = peer.addr,
            found = found(peer.found_by),
            likely = about(peer.offset_statistical_ns),
            sigma = about(peer.offset_sigma_ns),
            state = state(peer.state),
            claimed = span_or_dash(peer.claimed_bound_ns),
            reach = peer.reach.count_ones(),
            exchanges = peer.exchanges,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::NodeId;
    use crate::wire::{ClockState, StampSource};

    fn peer(used: Use, addr: &str) -> Peer {
        Peer {
            id: NodeId::from_bytes([0xab; 32]),
            addr: addr.parse().unwrap(),
            found_by: FoundBy::Inbound,
            used,
            state: ClockState::Synchronized,
            offset_ns: Some(-123_456.0),
            offset_sigma_ns: Some(85.0),
            offset_statistical_ns: Some(280.0),
            offset_min_ns: Some(-523_456.0),
            offset_max_ns: Some(276_544.0),
            rate_ppm: Some(-123.456),
            claimed_bound_ns: Some(1_200),
            rtt_ns: Some(48_000),
            stamps: Some(StampSource::Kernel),
            reach: 0o377,
            exchanges: 12,
        }
    }

    #[test]
    fn the_widest_row_fits_in_100_columns() {
        let peers = [
            peer(Use::Unreachable, "192.168.100.200:65535"),
            peer(
                Use::Falseticker,
                "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535",
            ),
        ];
        let text = table(&peers);
        assert_eq!(text.lines().count(), 3);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{widest} columns:\n{text}");
        assert!(text.contains("[2001:db…:5678]:65535"), "{text}");
    }

    #[test]
    fn a_row_says_all_there_is() {
        let text = table(&[peer(Use::WrongRate, "192.0.2.7:4711")]);
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = [
            "r",
            "wrong",
            "rate",
            "abababab",
            "192.0.2.7:4711",
            "-123µs",
            "400µs",
            "-123.456",
            "48.0µs",
            "kernel",
            "377",
            "inbound",
        ];
        assert_eq!(cells, expected);
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let blank = Peer {
            offset_ns: None,
            offset_sigma_ns: None,
            offset_statistical_ns: None,
            offset_min_ns: None,
            offset_max_ns: None,
            rate_ppm: None,
            claimed_bound_ns: None,
            rtt_ns: None,
            stamps: None,
            ..peer(Use::Starting, "192.0.2.7:4711")
        };
        let text = verbose(&[blank], &crate::cli::tests::tracking());
        assert!(
            text.contains("not known yet guaranteed, ±- in 99.9 % of all cases, sigma -"),
            "{text}"
        );
        assert!(
            text.contains("\nguaranteed while at most 2 of the 8 neighbours sampled lie; 3.8 %"),
            "{text}"
        );
        assert!(text.contains("s starting"));
        assert!(table(&[]).starts_with("no neighbours"));
    }
}

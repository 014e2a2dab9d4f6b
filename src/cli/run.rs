//! `parisync run`: the daemon in the foreground.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::output::{CliError, Context, Exit};
use super::strategies::StrategyOptions;
use crate::config::{Config, ConfigError, DEFAULT_DHT_PORT, DurationText, Target};
use crate::engine::{ParsePeerAddressError, PeerAddress};
use crate::service;

/// Options of `parisync run`; each wins over the file.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// Configuration file; without one the defaults hold
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to steer: system, virtual, none, phc:INTERFACE or phc:/dev/ptpN
    #[arg(long, value_name = "TARGET")]
    discipline: Option<Target>,
    /// Where the time socket listens
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// A peer, besides those in the file; may be repeated
    #[arg(long = "peer", value_name = "[KEY@]HOST:PORT")]
    peers: Vec<PeerAddress>,
    /// A node to join the distributed hash table through, besides those in the file; may be
    /// repeated
    #[arg(
        long,
        value_name = "[KEY@]HOST:PORT",
        value_parser = bootstrap,
        conflicts_with_all = ["no_dht", "single_thread"]
    )]
    bootstrap: Vec<PeerAddress>,
    /// Name of the network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Where the distributed hash table listens
    #[arg(long, value_name = "ADDR:PORT")]
    dht_listen: Option<SocketAddr>,
    /// Do not use the distributed hash table
    #[arg(long)]
    no_dht: bool,
    /// Do not look for peers on the local network
    #[arg(long)]
    no_lan: bool,
    /// No control socket
    #[arg(long)]
    no_control: bool,
    /// Where identity, drift and known peers are kept
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// One poll(2) loop instead of threads; peers come from the static list only
    #[arg(long)]
    single_thread: bool,
    #[command(flatten)]
    strategies: StrategyOptions,
    /// Stop after this long; a number without a unit is seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = DurationText::parse_or_seconds)]
    stop_after: Option<DurationText>,
    /// Write all that the node is told to this file, which must not be there yet, for
    /// `parisync-bench replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace or a filter such as parisync=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

fn bootstrap(text: &str) -> Result<PeerAddress, ParsePeerAddressError> {
    PeerAddress::parse(text, DEFAULT_DHT_PORT)
}

/// Runs until it is told to stop.
pub(super) fn run(mut args: Args, context: &Context) -> Result<Exit, CliError> {
    let record = args.record.take();
    let stop_after = args.stop_after.map(|text| text.span().to_duration());
    let config = configure(args, context.socket.clone())?;
    service::run(config, stop_after, record)
        .map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(Exit::Done)
}

/// The file, or the defaults, with the options over it.
fn configure(args: Args, socket: Option<PathBuf>) -> Result<Config, ConfigError> {
    let mut config = match &args.config {
        Some(file) => Config::load(file)?,
        None => Config::default(),
    };
    set(&mut config.discipline.target, args.discipline);
    set(&mut config.listen, args.listen);
    set(&mut config.dht.listen, args.dht_listen);
    add(&mut config.peers, args.peers);
    add(&mut config.bootstrap, args.bootstrap);
    if let Some(network) = args.network {
        config.set_network(&network)?;
    }
    if let Some(dir) = args.state_dir {
        config.set_state_dir(&dir)?;
    }
    if let Some(path) = socket {
        config.set_control_socket(&path)?;
    }
    if let Some(log) = args.log {
        config.set_log(&log)?;
    }
    config.strategies = args.strategies.over(config.strategies);
    config.dht.enabled &= !args.no_dht;
    config.lan &= !args.no_lan;
    config.control &= !args.no_control;
    config.single_thread |= args.single_thread;
    config.settle()?;
    Ok(config)
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn add(list: &mut Vec<PeerAddress>, more: Vec<PeerAddress>) {
    for peer in more {
        if !list.contains(&peer) {
            list.push(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::strategies::CombineKind;
    use crate::link::EstimatorKind;
    use crate::node::Strategies;
    use crate::testing::TempDir;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn configured(options: &[&str]) -> Result<Config, ConfigError> {
        let command = Command::try_parse_from([&["run"], options].concat());
        configure(command.unwrap_or_else(|e| panic!("{e}")).args, None)
    }

    #[test]
    fn without_options_the_defaults_hold() {
        assert_eq!(configured(&[]).unwrap(), Config::default());
    }

    #[test]
    fn options_win_over_the_file_and_lists_are_added_to() {
        let dir = TempDir::new("run");
        let file = dir.path().join("p.toml");
        let text = "network = \"a\"\nlisten = \"[::]:1\"\npeers = [\"x:1\"]\nlog = \"warn\"\n\
                    [discipline]\ntarget = \"virtual\"\n\
                    [strategies]\nestimator = \"hull\"\ncombine = \"cnv\"\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let config = configured(&["-c", file]).unwrap();
        assert_eq!(
            (config.network.as_str(), config.log.as_str()),
            ("a", "warn")
        );
        assert_eq!(config.discipline.target, Target::Virtual);

        let options = "--network b --listen 127.0.0.1:2 --peer x:1 --peer y:2 --discipline none \
                       --log debug --combine median --no-lan --no-dht --no-control --state-dir /s";
        let options: Vec<&str> = ["-c", file].into_iter().chain(options.split(' ')).collect();
        let config = configured(&options).unwrap();
        assert_eq!(
            (config.network.as_str(), config.log.as_str()),
            ("b", "debug")
        );
        assert_eq!(config.listen, "127.0.0.1:2".parse().unwrap());
        let peers: Vec<String> = config.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["x:1", "y:2"]);
        assert_eq!(config.discipline.target, Target::None);
        let expected = Strategies {
            estimator: EstimatorKind::Hull,
            combine: CombineKind::Median,
        };
        assert_eq!(config.strategies, expected);
        assert!(!config.lan && !config.dht.enabled && !config.control);
        assert_eq!(config.state_dir, PathBuf::from("/s"));
    }

    #[test]
    fn one_thread_means_no_engines() {
        let config = configured(&["--single-thread", "--peer", "x:1"]).unwrap();
        assert!(config.single_thread && !config.lan && !config.dht.enabled);
        let refused = |options: &[&str]| Command::try_parse_from(options).is_err();
        assert!(refused(&["run", "--single-thread", "--bootstrap", "x:1"]));
        assert!(refused(&["run", "--no-dht", "--bootstrap", "x:1"]));
    }

    #[test]
    fn strategies_are_listed_for_who_names_none() {
        for (option, near, last) in [
            (
                "--estimator",
                "kalmn",
                EstimatorKind::ALL.map(EstimatorKind::name).join(", "),
            ),
            (
                "--combine",
                "medium",
                CombineKind::ALL.map(CombineKind::name).join(", "),
            ),
        ] {
            let refused = Command::try_parse_from(["run", option, near]).err();
            let message = refused.map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(&last), "{message}");
        }
        for kind in EstimatorKind::ALL {
            let config = configured(&["--estimator", kind.name()]).unwrap();
            assert_eq!(config.strategies.estimator, kind);
        }
        for kind in CombineKind::ALL {
            let config = configured(&["--combine", kind.name()]).unwrap();
            assert_eq!(config.strategies.combine, kind);
        }
    }

    #[test]
    fn seconds_need_no_unit() {
        let stop_after = |text| Command::parse_from(["run", "--for", text]).args.stop_after;
        assert_eq!(stop_after("90"), stop_after("1.5min"));
    }
}

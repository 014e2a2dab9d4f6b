//! `parisync` with all other hosts as static peers.

use super::{Host, Launch, Pace, Task};

/// The time port.
const PORT: u16 = 4711;

pub(super) fn launch(host: &Host<'_>) -> Launch {
    let own = host.addresses[host.index];
    let peers: Vec<String> = host
        .addresses
        .iter()
        .filter(|address| **address != own)
        .map(|address| format!("{address}:{PORT}"))
        .collect();
    let exchange = match host.pace {
        Pace::Default => String::new(),
        Pace::Every(seconds) => format!("[exchange]\npoll = \"{seconds:.3}s\"\n"),
    };
    // The simulator has no control socket and knows one thread only. Chrony steps at the same offset.
    let (target, simulated) = match host.task {
        Task::Steer => ("system", true),
        Task::Observe => ("none", false),
    };
    let text = format!(
        "network = \"compare\"\n\
         listen = \"{own}:{PORT}\"\n\
         peers = {peers:?}\n\
         lan = false\n\
         state_dir = {dir:?}\n\
         control = {control}\n\
         control_socket = {socket:?}\n\
         single_thread = {simulated}\n\
         [dht]\n\
         enabled = false\n\
         [discipline]\n\
         target = \"{target}\"\n\
         step.threshold = \"1ms\"\n\
         [transport]\n\
         stamps = \"kernel\"\n\
         {exchange}",
        dir = host.dir,
        control = !simulated,
        socket = host.dir.join("control"),
    );
    let file = host.dir.join("parisync.toml");
    Launch {
        arguments: vec!["run".into(), "-c".into(), file.clone().into()],
        file,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::host;
    use super::*;
    use ::parisync::config::{Config, Target};

    #[test]
    fn the_daemon_takes_its_configuration_and_knows_all_others() {
        let steers = launch(&host(1, Pace::Every(8.3), Task::Steer));
        let config = Config::parse(&steers.text, &steers.file).unwrap();
        assert_eq!(config.discipline.target, Target::System);
        assert!(config.single_thread && !config.control && !config.lan && !config.dht.enabled);
        let peers: Vec<String> = config.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["10.0.0.1:4711", "10.0.0.3:4711"]);
        assert!(steers.text.contains("poll = \"8.300s\"\n"));
        let observes = launch(&host(1, Pace::Default, Task::Observe));
        let config = Config::parse(&observes.text, &observes.file).unwrap();
        assert_eq!(config.discipline.target, Target::None);
        assert!(config.control && !config.single_thread);
    }
}

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
    // The simulator has no control socket and knows one thread only.
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

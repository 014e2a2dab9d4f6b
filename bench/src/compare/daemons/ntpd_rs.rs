//! `ntp-daemon` of ntpd-rs: a star around host 1, in TOML (ntp.toml(5)).

use super::{Host, Launch, power_of_two};

pub(super) fn launch(host: &Host<'_>) -> Launch {
    // It takes no polls shorter than 1 s.
    let poll = power_of_two(host.pace).max(0);
    let role = if host.index == 0 {
        "[[server]]\nlisten = \"0.0.0.0:123\"\n\
         [synchronization]\nlocal-stratum = 1\n"
            .to_owned()
    } else {
        format!(
            "[[source]]\n\
             mode = \"server\"\n\
             address = \"{}\"\n\
             [synchronization]\n\
             minimum-agreeing-sources = 1\n",
            host.addresses[0]
        )
    };
    let text = format!(
        "{role}\
         [source-defaults]\n\
         poll-interval-limits = {{ min = {poll}, max = {poll} }}\n\
         initial-poll-interval = {poll}\n\
         [observability]\n\
         observation-path = {observe:?}\n",
        observe = host.dir.join("observe"),
    );
    let file = host.dir.join("ntp.toml");
    Launch {
        arguments: vec!["-c".into(), file.clone().into()],
        file,
        text,
    }
}

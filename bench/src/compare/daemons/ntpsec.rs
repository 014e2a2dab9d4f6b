//! `ntpd` of NTPsec: a star around host 1.

use super::{Host, Launch, power_of_two};

pub(super) fn launch(host: &Host<'_>) -> Launch {
    let dir = host.dir.display();
    let poll = power_of_two(host.pace);
    let role = if host.index == 0 {
        // Its own clock, without a driver for it.
        "tos orphan 2 orphanwait 1\n".to_owned()
    } else {
        format!(
            "server {} minpoll {poll} maxpoll {poll} iburst\n",
            host.addresses[0]
        )
    };
    // By default it waits five minutes before it steps.
    let text = format!(
        "{role}\
         restrict default\n\
         tinker stepout 10\n\
         driftfile {dir}/drift\n"
    );
    let file = host.dir.join("ntp.conf");
    let pid = host.dir.join("pid");
    Launch {
        arguments: vec![
            "-n".into(),
            "-g".into(),
            "-c".into(),
            file.clone().into(),
            "-p".into(),
            pid.into(),
        ],
        text,
        file,
    }
}

//! `chronyd`: a star around host 1, as its documentation advises for the best accuracy
//! (chrony.conf(5): `xleave`, `hwtimestamp`, short polls in a local network).

use super::{Host, Launch, Task, power_of_two};

pub(super) fn launch(host: &Host<'_>) -> Launch {
    let dir = host.dir.display();
    let poll = power_of_two(host.pace);
    let role = if host.index == 0 {
        "local stratum 1\n".to_owned()
    } else {
        format!(
            "server {} minpoll {poll} maxpoll {poll} iburst xleave\n",
            host.addresses[0]
        )
    };
    let socket = match host.task {
        // The simulator has none.
        Task::Steer => "/".to_owned(),
        Task::Observe => format!("{dir}/chronyd.sock"),
    };
    let text = format!(
        "{role}\
         allow\n\
         hwtimestamp *\n\
         makestep 1e-3 3\n\
         cmdport 0\n\
         bindcmdaddress {socket}\n\
         pidfile {dir}/pid\n\
         driftfile {dir}/drift\n\
         logdir {dir}\n"
    );
    let file = host.dir.join("chrony.conf");
    let mut arguments = vec!["-d".into(), "-f".into(), file.clone().into()];
    if host.task == Task::Observe {
        // Not the clock, not as root, and not as the user it was built for.
        arguments.extend(["-x", "-U", "-u", "nobody"].map(Into::into));
    }
    Launch {
        file,
        text,
        arguments,
    }
}

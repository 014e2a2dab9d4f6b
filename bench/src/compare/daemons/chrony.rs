//! `chronyd`: a star around host 1, as its documentation advises for the best accuracy
//! (chrony.conf(5): `xleave`, `hwtimestamp`, short polls in a local network).

use super::{Host, Launch, Task, power_of_two};

/// Samples it holds at least. Found by trying in the simulator: with oscillators that wander by
/// 1e-9/√s it is some 5 % better than what it chooses by itself. `iburst` was left out since with it
/// a host stayed 0.2 ms off for ever now and then (1 ms + exp(100 µs)).
const SAMPLES: u32 = 32;

pub(super) fn launch(host: &Host<'_>) -> Launch {
    let dir = host.dir.display();
    let poll = power_of_two(host.pace);
    let role = if host.index == 0 {
        "local stratum 1\n".to_owned()
    } else {
        format!(
            "server {} minpoll {poll} maxpoll {poll} xleave minsamples {SAMPLES}\n",
            host.addresses[0]
        )
    };
    let (socket, user) = match host.task {
        // The simulator has no such socket; guests know no user that it was built for.
        Task::Steer => ("/".to_owned(), "root"),
        Task::Observe => (format!("{dir}/chronyd.sock"), "nobody"),
    };
    let text = format!(
        "{role}\
         allow\n\
         hwtimestamp *\n\
         makestep 1e-3 3\n\
         cmdport 0\n\
         bindcmdaddress {socket}\n\
         user {user}\n\
         pidfile {dir}/pid\n\
         driftfile {dir}/drift\n\
         logdir {dir}\n"
    );
    let file = host.dir.join("chrony.conf");
    let mut arguments = vec!["-d".into(), "-f".into(), file.clone().into()];
    if host.task == Task::Observe {
        // Neither the clock nor root.
        arguments.extend(["-x", "-U"].map(Into::into));
    }
    Launch {
        file,
        text,
        arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pace, tests::host};
    use super::*;

    #[test]
    fn host_1_serves_and_the_others_ask_it_once_in_a_power_of_two() {
        let server = launch(&host(0, Pace::Default, Task::Steer)).text;
        assert!(server.starts_with("local stratum 1\nallow\n"), "{server}");
        let client = launch(&host(1, Pace::Every(3.0), Task::Steer)).text;
        let line = "server 10.0.0.1 minpoll 2 maxpoll 2 xleave minsamples 32\n";
        assert!(client.starts_with(line), "{client}");
    }

    #[test]
    fn who_only_observes_is_told_to_leave_the_clock_alone() {
        let steers = launch(&host(1, Pace::Default, Task::Steer));
        assert!(!steers.arguments.contains(&"-x".into()));
        let observes = launch(&host(1, Pace::Default, Task::Observe));
        assert!(observes.arguments.contains(&"-x".into()));
        assert!(observes.text.contains("bindcmdaddress /d/chronyd.sock\n"));
    }
}

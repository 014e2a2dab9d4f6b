//! `ptp4l`: end to end, software stamps, host 1 the grandmaster.

use super::{Host, Launch, Task, power_of_two};

pub(super) fn launch(host: &Host<'_>) -> Launch {
    let interval = power_of_two(host.pace);
    let role = if host.index == 0 {
        "priority1 1\n"
    } else {
        "slaveOnly 1\n"
    };
    let free_running = u8::from(host.task == Task::Observe);
    // A busy host needs longer than the default of 1 ms for the stamp of what was sent.
    let text = format!(
        "[global]\n\
         {role}\
         time_stamping software\n\
         logSyncInterval {interval}\n\
         logMinDelayReqInterval {interval}\n\
         tx_timestamp_timeout 50\n\
         free_running {free_running}\n\
         uds_address {dir}/uds\n",
        dir = host.dir.display(),
    );
    let file = host.dir.join("ptp4l.conf");
    let arguments = [
        "-f",
        &file.to_string_lossy(),
        "-i",
        host.interface,
        "-m",
        "-q",
    ];
    Launch {
        arguments: arguments.map(Into::into).to_vec(),
        text,
        file,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pace, tests::host};
    use super::*;

    #[test]
    fn host_1_is_the_grandmaster_and_who_observes_runs_free() {
        let master = launch(&host(0, Pace::Default, Task::Steer)).text;
        assert!(master.contains("\npriority1 1\n"), "{master}");
        assert!(master.contains("\nlogSyncInterval 0\n"), "{master}");
        assert!(master.contains("\nfree_running 0\n"), "{master}");
        let slave = launch(&host(1, Pace::Every(0.5), Task::Observe)).text;
        assert!(slave.contains("\nslaveOnly 1\n"), "{slave}");
        assert!(slave.contains("\nlogMinDelayReqInterval -1\n"), "{slave}");
        assert!(slave.contains("\nfree_running 1\n"), "{slave}");
    }
}

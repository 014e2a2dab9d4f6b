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
    let text = format!(
        "[global]\n\
         {role}\
         time_stamping software\n\
         logSyncInterval {interval}\n\
         logMinDelayReqInterval {interval}\n\
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

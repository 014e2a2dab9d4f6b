//! How many queues an interface has (`ETHTOOL_GCHANNELS`; what `ethtool -l` shows).

use super::ioctl;

/// linux/ethtool.h; libc lacks it.
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_channels` (linux/ethtool.h): command, four limits, four settings.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Channels {
    command: u32,
    limits: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// Queues by which `interface` receives; 1 if its driver does not say.
pub fn receive_queues(interface: &str) -> u32 {
    let mut channels = Channels {
        command: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    // SAFETY: the request fills in one ethtool_channels.
    let asked = unsafe { ioctl::ask(interface, libc::SIOCETHTOOL as _, &mut channels) };
    match asked {
        Ok(()) => channels.rx.saturating_add(channels.combined).max(1),
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_say_has_one_queue() {
        assert_eq!(receive_queues("lo"), 1);
        assert_eq!(receive_queues("nosuchdevice0"), 1);
    }
}

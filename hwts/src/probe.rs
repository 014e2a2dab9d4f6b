//! What this host can do, found out without changing anything.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, ClockError, CrossRead, Permission, Steering, SystemClock};
use crate::stamp::{Domain, Source};
use crate::transport::{FallbackReason, TransportError, TxEvent, UdpConfig, UdpTransport};

/// Packets sent at most, and the time between them.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// What stamps loopback packets really got.
#[derive(Debug)]
pub struct Stamping {
    /// Where received packets were stamped.
    pub rx: Source,
    /// Where sent packets were stamped; none if no stamp came.
    pub tx: Option<Source>,
    /// Why that is not the kernel.
    pub fallback: Option<FallbackReason>,
}

/// What this host can do.
#[derive(Debug)]
pub struct Report {
    /// Stamps of an IPv4 packet over loopback.
    pub ipv4: Result<Stamping, TransportError>,
    /// Stamps of an IPv6 packet over loopback.
    pub ipv6: Result<Stamping, TransportError>,
    /// Whether this process may steer the system clock.
    pub steering: Permission,
    /// What steers the system clock now.
    pub state: Result<Steering, ClockError>,
    /// The kernel's clock source (`tsc`, `kvm-clock`, `hpet`, …), if it says.
    pub clock_source: Option<String>,
    /// Half-width of a cross-read of the raw and the system clock, ns.
    pub cross_read_error: i64,
}

/// Sends a few packets over loopback, reads the clocks, and asks the kernel. Takes milliseconds; at
/// most some tenths of a second when packets are lost.
pub fn probe() -> Report {
    Report {
        ipv4: stamping(Ipv4Addr::LOCALHOST.into()),
        ipv6: stamping(Ipv6Addr::LOCALHOST.into()),
        steering: SystemClock::permission(),
        state: SystemClock::new().read_state(),
        clock_source: clock_source(),
        cross_read_error: CrossRead::take(Domain::MonotonicRaw, Domain::Realtime, 16).error,
    }
}

fn clock_source() -> Option<String> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let name = fs::read_to_string(path).ok()?;
    Some(name.trim().to_owned())
}

fn stamping(ip: IpAddr) -> Result<Stamping, TransportError> {
    let mut transport = UdpTransport::open(&UdpConfig::new(SocketAddr::new(ip, 0)))?;
    let to = transport.local_addr();
    let (mut tx, mut rx) = (None, None);
    // The first socket on a host that asks for stamps gets none for a moment: the kernel turns
    // them on in the background.
    for _ in 0..TRIES {
        let wanted = transport.capabilities();
        if rx >= Some(wanted.rx) && tx >= Some(wanted.tx) {
            break;
        }
        if rx.is_some() {
            thread::sleep(PAUSE);
        }
        transport.send(to, b"hwts probe")?;
        transport.wait(Some(PAUSE), None)?;
        transport.poll_tx(|event| {
            if let TxEvent::Stamped { stamp, .. } = event {
                tx = tx.max(Some(stamp.source));
            }
        })?;
        transport.receive(4, |datagram| {
            // Anybody on this host can send to the port.
            if datagram.from == to {
                rx = rx.max(Some(datagram.stamp.source));
            }
        })?;
    }
    let timeout = || TransportError::Receive(io::Error::from(io::ErrorKind::TimedOut));
    Ok(Stamping {
        rx: rx.ok_or_else(timeout)?,
        tx,
        fallback: transport.capabilities().fallback,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_gets_kernel_stamps_both_ways() {
        let report = probe();
        let v4 = report.ipv4.unwrap();
        assert_eq!((v4.rx, v4.tx), (Source::Kernel, Some(Source::Kernel)));
        assert!(report.state.is_ok());
        assert!(report.cross_read_error > 0);
    }
}

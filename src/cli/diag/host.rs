//! Stamps, privileges and clocks of this host.

use std::fs;
use std::path::Path;

use hwts::Source;
use hwts::clock::{Permission, Steering};
use hwts::probe::{Report, Stamping};
use hwts::transport::TransportError;

use super::Finding;
use crate::service::privileges::Privileges;
use crate::time::{Rate, Span};

/// Where packets are stamped here, by packets sent over loopback.
pub(super) fn timestamps(report: &Report) -> Vec<Finding> {
    let v4 = stamping("IPv4", &report.ipv4);
    let v6 = stamping("IPv6", &report.ipv6);
    vec![v4, v6]
}

fn stamping(family: &str, found: &Result<Stamping, TransportError>) -> Finding {
    let topic = "timestamps";
    let stamping = match found {
        Ok(stamping) => stamping,
        Err(error) => {
            return Finding::warning(
                topic,
                format!("{family} cannot be used on loopback: {error}"),
                "peers of this family are out of reach; `ip address show lo` shows what lo has",
            );
        }
    };
    let sent = stamping
        .tx
        .map_or_else(|| "none".to_owned(), |source| source.to_string());
    let what = format!(
        "{family} on loopback: received {}, sent {sent}",
        stamping.rx
    );
    if stamping.rx == Source::Kernel && stamping.tx == Some(Source::Kernel) {
        return Finding::good(topic, what);
    }
    let why = stamping
        .fallback
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    Finding::warning(
        topic,
        what + &why,
        "without kernel stamps errors are tens of times larger; containers and old kernels may \
         forbid SO_TIMESTAMPING, seen from the host it should work",
    )
}

/// What this user may do, and with it a daemon started by them.
pub(super) fn privileges(steering: Permission, has: &Privileges) -> Vec<Finding> {
    let topic = "privileges";
    let user = &has.user;
    let steer = match steering {
        Permission::Granted => Finding::good(
            topic,
            format!("{user} has CAP_SYS_TIME: may steer the system clock"),
        ),
        Permission::NoCapability => Finding::warning(
            topic,
            format!("{user} lacks CAP_SYS_TIME: a daemon started like this measures only"),
            "start it as root or by the systemd unit, or be content with `--discipline none`",
        ),
        Permission::UserNamespace => Finding::warning(
            topic,
            format!("{user} has CAP_SYS_TIME in a user namespace only: good for measuring only"),
            "start the daemon outside the container, on the host whose clock it is",
        ),
    };
    let prioritize = match (has.sys_nice, has.realtime_priority_limit) {
        (true, _) | (false, None | Some(1..)) => {
            Finding::good(topic, format!("{user} may use real-time priority"))
        }
        (false, Some(0)) => Finding::warning(
            topic,
            format!("{user} may not use real-time priority: `transport.fifo_priority` will fail"),
            "needed for that setting only: CAP_SYS_NICE, or LimitRTPRIO=50 in the unit",
        ),
    };
    vec![steer, prioritize]
}

/// What the kernel's clocks count, by `sys`.
pub(super) fn clock_source(sys: &Path) -> Finding {
    let topic = "clock source";
    let dir = sys.join("devices/system/clocksource/clocksource0");
    let read = |name: &str| fs::read_to_string(dir.join(name)).map(|text| text.trim().to_owned());
    let current = match read("current_clocksource") {
        Ok(current) => current,
        Err(error) => {
            let what = format!("not known: {}: {error}", dir.display());
            return Finding::warning(topic, what, "mount /sys to have it shown");
        }
    };
    match current.as_str() {
        "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies" | "pit" => {
            let available = read("available_clocksource").unwrap_or_default();
            let advice = if available.split_whitespace().any(|name| name == "tsc") {
                "`echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource` \
                 if the kernel log does not call the TSC unstable"
            } else {
                "the kernel found the TSC unusable; its log says why. Bounds will be wider"
            };
            Finding::warning(topic, format!("{current}: slow and coarse to read"), advice)
        }
        _ => Finding::good(topic, current),
    }
}

/// How the system clock is steered now, and how finely it can be read.
pub(super) fn system_clock(report: &Report) -> Vec<Finding> {
    let topic = "system clock";
    let mut findings = Vec::new();
    match &report.state {
        Err(error) => findings.push(Finding::warning(
            topic,
            format!("its state cannot be read: {error}"),
            "another daemon at work will not be noticed",
        )),
        Ok(state) => {
            findings.push(Finding::good(topic, steering(state)));
            if state.kernel_loop {
                findings.push(Finding::warning(
                    topic,
                    "the kernel's own loop (PLL) steers it: another time daemon runs or ran",
                    "stop that daemon; PariSync turns the loop off when it takes the clock over",
                ));
            }
            if state.status.tai_offset.unwrap_or(0) == 0 {
                findings.push(Finding::warning(
                    topic,
                    "its TAI offset is not set, so CLOCK_TAI is 37 s wrong",
                    "PariSync sets it once it disciplines the system clock",
                ));
            }
        }
    }
    let error = Span::from_nanos(report.cross_read_error);
    findings.push(if error <= COARSE_READ {
        Finding::good(topic, format!("two clocks can be compared to ±{error}"))
    } else {
        Finding::warning(
            topic,
            format!("two clocks can be compared to ±{error} only"),
            "see the clock source above; on a busy or emulated host try again",
        )
    });
    findings
}

/// A comparison of two clocks that is worse than this spoils kernel stamps.
const COARSE_READ: Span = Span::from_nanos(500);

fn steering(state: &Steering) -> String {
    let marked = if state.status.synchronized {
        "synchronized"
    } else {
        "not synchronized"
    };
    let rate = Rate::from_fraction(state.rate).as_ppm();
    let error = Span::from_nanos(state.status.max_error);
    format!("marked {marked}, corrected by {rate:+.3} ppm, maximum error {error}")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::testing::TempDir;

    fn sys(current: &str, available: &str) -> (TempDir, Finding) {
        let sys = TempDir::new("sys");
        let dir = sys.path().join("devices/system/clocksource/clocksource0");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("current_clocksource"), current).unwrap();
        fs::write(dir.join("available_clocksource"), available).unwrap();
        let finding = clock_source(sys.path());
        (sys, finding)
    }

    #[test]
    fn slow_clock_sources_are_named_with_the_way_out() {
        assert_eq!(
            sys("tsc\n", "tsc hpet\n").1,
            Finding::good("clock source", "tsc")
        );
        let (_, slow) = sys("hpet\n", "tsc hpet acpi_pm\n");
        assert_eq!(slow.level, Level::Warning);
        assert!(slow.advice.unwrap().contains("echo tsc"));
        let (_, hopeless) = sys("acpi_pm\n", "acpi_pm\n");
        assert!(hopeless.advice.unwrap().contains("unusable"));
    }

    fn report(rx: Source, tx: Option<Source>, state: Steering) -> Report {
        let stamping = || {
            Ok(Stamping {
                rx,
                tx,
                fallback: None,
            })
        };
        Report {
            ipv4: stamping(),
            ipv6: stamping(),
            steering: Permission::NoCapability,
            state: Ok(state),
            clock_source: None,
            cross_read_error: 15,
        }
    }

    fn worst(findings: &[Finding]) -> Level {
        findings.iter().map(|finding| finding.level).max().unwrap()
    }

    #[test]
    fn kernel_stamps_both_ways_are_good_all_else_is_not() {
        let level = |rx, tx| worst(&timestamps(&report(rx, tx, Steering::default())));
        assert_eq!(level(Source::Kernel, Some(Source::Kernel)), Level::Good);
        assert_eq!(level(Source::Kernel, Some(Source::User)), Level::Warning);
        assert_eq!(level(Source::User, Some(Source::Kernel)), Level::Warning);
        assert_eq!(level(Source::Kernel, None), Level::Warning);
    }

    #[test]
    fn a_kernel_loop_and_a_missing_tai_offset_are_named() {
        let mut state = Steering::default();
        state.status.tai_offset = Some(37);
        let findings = |state| system_clock(&report(Source::Kernel, None, state));
        assert_eq!(worst(&findings(state)), Level::Good);
        state.kernel_loop = true;
        assert_eq!(worst(&findings(state)), Level::Warning);
        state.kernel_loop = false;
        state.status.tai_offset = Some(0);
        assert!(
            findings(state)
                .iter()
                .any(|finding| finding.what.contains("TAI"))
        );
        let mut coarse = report(Source::Kernel, None, state);
        coarse.cross_read_error = 3_000;
        assert!(
            system_clock(&coarse)
                .iter()
                .any(|finding| finding.what.contains("only"))
        );
    }

    #[test]
    fn missing_privileges_come_with_the_way_to_them() {
        let mut has = Privileges {
            user: "alice".to_owned(),
            uid: 1000,
            sys_time: false,
            net_admin: false,
            sys_nice: false,
            ipc_lock: false,
            realtime_priority_limit: Some(0),
            locked_memory_limit: None,
            open_files_limit: None,
        };
        for permission in [Permission::NoCapability, Permission::UserNamespace] {
            let findings = privileges(permission, &has);
            assert!(
                findings
                    .iter()
                    .all(|finding| finding.level == Level::Warning)
            );
            assert!(findings.iter().all(|finding| finding.advice.is_some()));
        }
        has.realtime_priority_limit = Some(50);
        assert_eq!(worst(&privileges(Permission::Granted, &has)), Level::Good);
    }

    #[test]
    fn no_sys_is_said() {
        let finding = clock_source(Path::new("/nonexistent"));
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.what.contains("/nonexistent"));
    }
}

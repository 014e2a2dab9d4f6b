//! Stamps, privileges and clocks of this host.

use std::fs;
use std::path::Path;

use caps::{CapSet, Capability};

use super::Finding;

/// Where packets can be stamped here.
pub(super) fn timestamps() -> Vec<Finding> {
    Vec::new()
}

/// What this user may do, and with it a daemon started by them.
pub(super) fn privileges() -> Vec<Finding> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let topic = "privileges";
    let mut findings = Vec::new();
    findings.push(if has(Capability::CAP_SYS_TIME) {
        Finding::good(topic, "CAP_SYS_TIME: may steer the system clock")
    } else {
        Finding::warning(
            topic,
            "no CAP_SYS_TIME: a daemon started like this measures only",
            "run it as root or by the systemd unit, or use `--discipline none`",
        )
    });
    findings.push(if has(Capability::CAP_SYS_NICE) {
        Finding::good(topic, "CAP_SYS_NICE: may use real-time priority")
    } else {
        Finding::warning(
            topic,
            "no CAP_SYS_NICE: `transport.fifo_priority` cannot be used",
            "needed for `fifo_priority` only; run it as root or by the systemd unit",
        )
    });
    findings
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

/// How the kernel's own clock discipline stands.
pub(super) fn system_clock() -> Vec<Finding> {
    Vec::new()
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

    #[test]
    fn no_sys_is_said() {
        let finding = clock_source(Path::new("/nonexistent"));
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.what.contains("/nonexistent"));
    }
}

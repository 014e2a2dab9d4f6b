//! Other programs that steer the same clock.

use std::path::Path;

use super::{Finding, Level};
use crate::service::rivals;

/// The rivals that run now, by a scan of `proc`; a good word if there are none.
pub(super) fn rivals(proc: &Path) -> Vec<Finding> {
    let rivals = match rivals::rivals(proc) {
        Ok(rivals) => rivals,
        Err(error) => {
            return vec![Finding::warning(
                "daemons",
                format!("cannot see what runs here: {}: {error}", proc.display()),
                "mount /proc to have other time daemons found",
            )];
        }
    };
    if rivals.is_empty() {
        return vec![Finding::good(
            "daemons",
            "no other program seen that steers the clock",
        )];
    }
    let finding = |rival: &rivals::Rival| Finding {
        topic: "daemons",
        level: if rival.certain {
            Level::Problem
        } else {
            Level::Warning
        },
        what: rival.to_string(),
        advice: Some(format!(
            "two programs must not steer one clock: {}",
            rival.advice
        )),
    };
    rivals.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn rivals_are_problems_and_those_that_may_be_none_warnings() {
        let proc = TempDir::new("rivals");
        for (pid, comm) in [("13", "chronyd"), ("14", "ptp4l")] {
            std::fs::create_dir(proc.path().join(pid)).unwrap();
            std::fs::write(proc.path().join(pid).join("comm"), comm).unwrap();
        }
        let findings = rivals(proc.path());
        let levels: Vec<Level> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Problem, Level::Warning]);
        let text = super::super::human(&findings);
        assert!(text.contains("chronyd runs (pid 13)"), "{text}");
    }

    #[test]
    fn nobody_else_is_good_and_no_proc_is_said() {
        let proc = TempDir::new("empty-proc");
        assert_eq!(rivals(proc.path())[0].level, Level::Good);
        let gone = rivals(&proc.path().join("gone"));
        assert_eq!(gone[0].level, Level::Warning);
    }
}

//! `parisync diag`: what this host has for keeping time, and what to do about what it lacks.

mod cards;
mod daemons;
mod host;
mod node;

use std::path::Path;

use serde::Serialize;

use super::output::{CliError, Context, Exit};
use crate::service::privileges::Privileges;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Good,
    /// Works, but could be better.
    Warning,
    /// Keeps this host from synchronizing its clock.
    Problem,
}

/// One thing found out about this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What it is about.
    topic: &'static str,
    /// How bad it is.
    level: Level,
    /// What is the case.
    what: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Finding {
    fn good(topic: &'static str, what: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Good,
            what: what.into(),
            advice: None,
        }
    }

    fn warning(topic: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Warning,
            what: what.into(),
            advice: Some(advice.into()),
        }
    }

    fn problem(topic: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            ..Self::warning(topic, what, advice)
        }
    }
}

/// Looks at the host and prints.
pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let report = hwts::probe::probe();
    let mut findings = host::timestamps(&report);
    findings.extend(cards::interfaces());
    findings.extend(host::privileges(report.steering, &Privileges::now()));
    findings.push(host::clock_source(Path::new("/sys")));
    findings.extend(host::system_clock(&report));
    findings.extend(daemons::rivals(Path::new("/proc")));
    findings.extend(node::daemon(context));
    context.show(&findings, |findings| human(findings))?;
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(if worst == Some(Level::Problem) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn human(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        text += &format!("{mark:<8} {:<13} {}\n", finding.topic, finding.what);
        if let Some(advice) = &finding.advice {
            text += &format!("{:<22} → {advice}\n", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_under_what_it_is_about() {
        let findings = [
            Finding::good("clock source", "tsc"),
            Finding::problem("daemons", "chronyd runs", "stop it"),
        ];
        assert_eq!(
            human(&findings),
            "ok       clock source  tsc\n\
             PROBLEM  daemons       chronyd runs\n                       → stop it\n"
        );
    }
}

//! Short commands, bounded in time, with their complaint kept.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{Context, Failure, Outcome};

const LIMIT: Duration = Duration::from_secs(10);

/// Runs a command that prints little and returns its standard output.
///
/// Output beyond a pipe's buffer (64 KiB) would block the command into the time limit.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Outcome<String> {
    let shown = || format!("`{program} {}`", arguments.join(" "));
    let output = output(Command::new(program).args(arguments), LIMIT).context(shown())?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "{}: {}: {}",
            shown(),
            output.status,
            complaint.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, whatever its exit status; kills it at the limit.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Outcome<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(Failure::new(format!(
                "still running after {limit:?}; killed"
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(child.wait_with_output()?)
}

/// `ip` with arguments separated by spaces.
pub(crate) fn ip(arguments: &str) -> Outcome<String> {
    run("ip", &arguments.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn a_command_that_fails_or_hangs_is_an_error_that_says_so() {
    assert_eq!(run("echo", &["hello"]).unwrap(), "hello\n");
    let refused = run("sh", &["-c", "echo no such thing >&2; exit 3"]).unwrap_err();
    assert!(
        format!("{refused:?}").contains("no such thing"),
        "{refused:?}"
    );
    let hung = output(Command::new("sleep").arg("30"), Duration::from_millis(50)).unwrap_err();
    assert!(format!("{hung:?}").contains("killed"), "{hung:?}");
}

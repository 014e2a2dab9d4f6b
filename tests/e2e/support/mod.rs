//! What the scenarios are made of.

pub(crate) mod command;
pub(crate) mod control;
pub(crate) mod lab;
pub(crate) mod node;
pub(crate) mod swarm;
pub(crate) mod traffic;
pub(crate) mod truth;

use std::fmt;
use std::time::{Duration, Instant};

/// Why a scenario failed, for people to read.
pub(crate) struct Failure(String);

/// What a scenario and its helpers return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

// The test runner prints the Debug form of a failed test's error.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Says what was being done when a call failed.
pub(crate) trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{doing}: {}", error.into().0)))
    }
}

/// Fails the scenario with a message unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err($crate::support::Failure::new(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Prints past the test runner's capture, so that figures and skips show in every run's output.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    // A closed stderr is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "e2e: {text}");
}

/// Asks again every 100 ms until there is an answer; the last refusal becomes the failure.
pub(crate) fn within<T>(limit: Duration, mut ask: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => {
                return Err(Failure(format!("not within {limit:?}: {}", error.0)));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

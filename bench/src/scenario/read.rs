//! Scenario files to checked scenarios.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use parisync::config::{Place, nearest};

use super::Scenario;

/// The scenarios that come with the program.
static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// Why there is no scenario; one line that says where.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// As it was named.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no TOML, or not what a scenario has.
    #[error("{place}: {problem}")]
    Wrong {
        /// Where.
        place: Place,
        /// What, and what would be right.
        problem: String,
    },
    /// Its values make no sense together.
    #[error("{}: {problem}", path.display())]
    Senseless {
        /// As it was named.
        path: PathBuf,
        /// What, and what would be right.
        problem: String,
    },
    /// No such scenario comes with the program.
    #[error("there is no scenario `{name}`{advice}; a file is named with its path and `.toml`")]
    Unknown {
        /// As it was named.
        name: String,
        /// The nearest name there is.
        advice: String,
    },
}

/// The scenarios that come with the program, by name.
///
/// # Errors
/// One of them is wrong, which a test excludes.
pub fn shipped() -> Result<Vec<Scenario>, ScenarioError> {
    let mut files: Vec<_> = SHIPPED
        .files()
        .filter(|file| file.path().extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort_by_key(|file| file.path());
    let parsed = files.into_iter().map(|file| {
        let text = file.contents_utf8().unwrap_or_default();
        parse(text, file.path())
    });
    parsed.collect()
}

/// The scenario in `file`, or the one called so that comes with the program.
///
/// # Errors
/// [`ScenarioError`].
pub fn find(name: &str) -> Result<Scenario, ScenarioError> {
    if Path::new(name).extension().is_some_and(|e| e == "toml") {
        return load(Path::new(name));
    }
    let all = shipped()?;
    if let Some(scenario) = all.iter().find(|s| s.name == name) {
        return Ok(scenario.clone());
    }
    let near = nearest(name, all.iter().map(|s| s.name.as_str()));
    Err(ScenarioError::Unknown {
        name: name.to_owned(),
        advice: near.map_or(String::new(), |n| format!("; did you mean `{n}`?")),
    })
}

/// The scenario in `file`.
///
/// # Errors
/// [`ScenarioError`].
pub fn load(file: &Path) -> Result<Scenario, ScenarioError> {
    let text = std::fs::read_to_string(file).map_err(|source| ScenarioError::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    parse(&text, file)
}

/// The scenario that `text` describes; messages call it `file`.
///
/// # Errors
/// [`ScenarioError`].
pub fn parse(text: &str, file: &Path) -> Result<Scenario, ScenarioError> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| ScenarioError::Wrong {
        place: Place::of(file, text, error.span().map_or(0, |span| span.start)),
        problem: with_nearest(error.message()),
    })?;
    scenario
        .check()
        .map_err(|problem| ScenarioError::Senseless {
            path: file.to_owned(),
            problem,
        })?;
    Ok(scenario)
}

/// What serde says of an unknown key, "unknown field `x`, expected one of `a`, `b`", in our words
/// and with the nearest one; anything else on one line as it is.
fn with_nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let (true, Some(key)) = (unknown, quoted.next()) else {
        return message.split_whitespace().collect::<Vec<_>>().join(" ");
    };
    let known: Vec<&str> = quoted.collect();
    match nearest(key, known.iter()) {
        Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
        None => format!(
            "unknown key `{key}`; the keys here are {}",
            known.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Delay;
    use crate::units::{Fraction, Nanos};

    fn read(text: &str) -> Result<Scenario, String> {
        let head = "name = \"x\"\nwhy = \"y\"\nseconds = 100\n";
        parse(&format!("{head}{text}"), Path::new("x.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn little_needs_to_be_said() {
        let scenario = read("").unwrap();
        assert_eq!((scenario.hosts, scenario.settle), (8, 30.0));
        assert_eq!(scenario.exchange.poll, Nanos::from_secs(1.0));
        assert_eq!(scenario.paths.delay, Delay::default());
    }

    #[test]
    fn everything_can_be_said() {
        let scenario = read(
            r#"
            hosts = 12
            exchange = { poll = "8.3s", burst = 1 }
            oscillator = { wander = "0.1ppb", drift = "100ppm" }
            stamps = { source = "user", late = "5us" }
            limits = { rms = "100ns", settled = "8s" }
            [paths]
            delay = { pareto = { least = "10us", scale = "1us", shape = 1.5 } }
            routes = { longer = "20us", stay = "60s" }
            loss = 0.2
            [[liars]]
            count = 3
            offset = "-10ms"
            [[events]]
            at = "60s"
            restart = [3]
            temperature = { shift = "0.5ppm", over = "30s" }
            "#,
        )
        .unwrap();
        assert_eq!(scenario.exchange.poll.span().as_nanos(), 8_300_000_000);
        assert_eq!(scenario.liars[0].offset, Nanos(-10e6));
        assert_eq!(
            scenario.events[0].temperature.as_ref().unwrap().shift,
            Fraction(0.5 * 1e-6)
        );
        let world = scenario.world(7);
        assert_eq!((world.seed, world.honest()), (7, 9));
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_the_nearest_key() {
        for (text, message) in [
            (
                "[path]",
                "x.toml:4:2: unknown key `path`; did you mean `paths`?",
            ),
            (
                "[paths]\nlos = 0.1",
                "x.toml:5:1: unknown key `los`; did you mean `loss`?",
            ),
            (
                "[paths]\ndelay = { exponental = {} }",
                "x.toml:5:11: unknown key `exponental`; did you mean `exponential`?",
            ),
            (
                "[exchange]\npoll = \"8 parsecs\"",
                "x.toml:5:8: \"8 parsecs\" is no span of time: write a number and one of ns, us, \
                 ms, s, min, h, as in \"10us\"",
            ),
            ("hosts = 1", "x.toml: `hosts` must be from 2 to 10000"),
            (
                "[[events]]\nat = \"1s\"\nrestart = [8]",
                "x.toml: `events` names host 8, but they are numbered from 0 to 7",
            ),
            (
                "[[liars]]\ncount = 7",
                "x.toml: `liars` must leave two honest hosts",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
    }

    #[test]
    fn the_documented_file_is_one() {
        let docs = include_str!("../../../docs/bench.md");
        let (_, section) = docs.split_once("### Scenario files").unwrap();
        let (_, rest) = section.split_once("```toml\n").unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        let scenario = parse(text, Path::new("docs/bench.md")).unwrap();
        assert_eq!(scenario.events.len(), 1);
    }

    #[test]
    fn names_lead_to_what_is_shipped() {
        let all = shipped().unwrap();
        assert!(!all.is_empty());
        for scenario in &all {
            assert_eq!(&find(&scenario.name).unwrap(), scenario);
            assert!(
                SHIPPED.contains(format!("{}.toml", scenario.name)),
                "{} is in another file",
                scenario.name
            );
        }
        let error = find("lan-exponental").unwrap_err().to_string();
        assert!(error.contains("did you mean `lan-exponential`?"), "{error}");
    }
}

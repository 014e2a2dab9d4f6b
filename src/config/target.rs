//! What is steered, as the configuration and the command line name it.

use std::fmt;
use std::str::FromStr;

/// What is steered so that it follows the virtual clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This host's system clock, `CLOCK_REALTIME`.
    System,
    /// A clock in the process over a virtual oscillator: experiments and tests.
    Virtual,
    /// Nothing; measure and serve only.
    None,
    /// The clock of a network card, by its interface or its device.
    Card(String),
}

/// The text names nothing that could be steered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use one of system, virtual, none, phc:INTERFACE, phc:/dev/ptpN")]
pub struct UnknownTarget;

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        match text {
            "system" => Ok(Self::System),
            "virtual" => Ok(Self::Virtual),
            "none" => Ok(Self::None),
            _ => match text.strip_prefix("phc:") {
                Some(card) if !card.is_empty() && !card.contains(char::is_whitespace) => {
                    Ok(Self::Card(card.to_owned()))
                }
                _ => Err(UnknownTarget),
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.pad("system"),
            Self::Virtual => f.pad("virtual"),
            Self::None => f.pad("none"),
            Self::Card(card) => write!(f, "phc:{card}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_survive_their_text() {
        for text in ["system", "virtual", "none", "phc:eth0", "phc:/dev/ptp1"] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
        }
        for text in ["phc", "phc:", "phc:a b", "System", ""] {
            assert_eq!(text.parse::<Target>(), Err(UnknownTarget), "{text}");
        }
    }
}

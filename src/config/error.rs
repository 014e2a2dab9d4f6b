//! What can be wrong with a configuration, each on one line: what, where, what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A spot in a text file, as editors count: from one, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

impl Place {
    /// The place of byte `offset` of `text`, which stands in `file`.
    pub fn of(file: impl Into<PathBuf>, text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let start_of_line = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            column: before[start_of_line..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}; check the name and its permissions", file.display())]
    Unreadable {
        /// The file as it was named.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The path names a directory.
    #[error("{}: is a directory; name the file in it", file.display())]
    Directory {
        /// The path as it was named.
        file: PathBuf,
    },
    /// Nobody writes that much by hand.
    #[error("{}: larger than {limit} bytes; this is no configuration file", file.display())]
    TooLarge {
        /// The file as it was named.
        file: PathBuf,
        /// The most we read, in bytes.
        limit: u64,
    },
    /// The bytes are not text.
    #[error("{place}: not valid UTF-8; save the file as UTF-8 text")]
    NotText {
        /// The first bad byte.
        place: Place,
    },
    /// The text is not TOML; duplicate keys are among these.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What, on one line.
        message: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key `{key}`{advice}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key with its section.
        key: String,
        /// The nearest key there is, or where the key belongs.
        advice: String,
    },
    /// The value does not fit its key.
    #[error("{place}: `{key}` {problem}")]
    BadValue {
        /// Where.
        place: Place,
        /// The key with its section.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Settings that are each fine do not go together, or an option of the command line is wrong.
    #[error("{0}")]
    Conflict(String),
}

impl ConfigError {
    /// Where in the file, if it is about a spot in one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::NotText { place }
            | Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::BadValue { place, .. } => Some(place),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, offset: usize) -> (usize, usize) {
        let place = Place::of("f", text, offset);
        (place.line, place.column)
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(at("", 0), (1, 1));
        assert_eq!(at("ab\ncd", 4), (2, 2));
        assert_eq!(at("é = 1", "é".len()), (1, 2));
        assert_eq!(at("é", 1), (1, 1));
        assert_eq!(at("a\n", 99), (2, 1));
    }
}

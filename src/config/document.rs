//! Walks a TOML document and knows the place of everything in it.

use std::ops::Range;
use std::path::Path;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::schema::{advice, dotted, keys_of};

/// The text a document came from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// What to call it in messages.
    pub(super) file: &'a Path,
    /// All of it.
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The place of byte `offset`.
    pub(super) fn place(&self, offset: usize) -> Place {
        Place::of(self.file, self.text, offset)
    }

    /// What the TOML parser said, on one line.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let words: Vec<&str> = error.message().split_whitespace().collect();
        let message = match words.join(" ") {
            message if message.starts_with("duplicate key") => {
                format!("{message}; a key may be set only once")
            }
            message => format!("not valid TOML: {message}"),
        };
        ConfigError::Syntax {
            place: self.place(error.span().map_or(0, |span| span.start)),
            message,
        }
    }
}

/// One table of the document. Keys there are not have been refused when it was opened.
pub(super) struct Section<'a> {
    source: Source<'a>,
    name: String,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Opens `table` as the section `name`.
    ///
    /// # Errors
    /// The first key, in the order of the file, that this section does not have.
    pub(super) fn open(
        source: Source<'a>,
        name: String,
        table: &'a DeTable<'a>,
    ) -> Result<Self, ConfigError> {
        let known = keys_of(&name);
        let unknown = table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        if let Some(key) = unknown {
            let shown: String = key.get_ref().chars().take(60).collect();
            return Err(ConfigError::UnknownKey {
                place: source.place(key.span().start),
                key: dotted(&name, &shown.escape_debug().to_string()),
                advice: advice(&name, key.get_ref()),
            });
        }
        Ok(Self {
            source,
            name,
            table,
        })
    }

    /// The section `key` within this one, if it is there.
    pub(super) fn section(&self, key: &'static str) -> Result<Option<Section<'a>>, ConfigError> {
        let Some(field) = self.field(key) else {
            return Ok(None);
        };
        let DeValue::Table(table) = field.value else {
            return Err(field.wrong_type("a section"));
        };
        Section::open(self.source, field.key, table).map(Some)
    }

    /// The sections of the list `key` within this one, `[[…]]` in the file.
    pub(super) fn sections(&self, key: &'static str) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some(field) = self.field(key) else {
            return Ok(Vec::new());
        };
        let elements = field.elements()?.into_iter();
        elements
            .map(|element| match element.value {
                DeValue::Table(table) => Section::open(self.source, element.key, table),
                _ => Err(element.wrong_type("a section")),
            })
            .collect()
    }

    /// The value of `key`, if it is there.
    pub(super) fn field(&self, key: &'static str) -> Option<Field<'a>> {
        debug_assert!(
            keys_of(&self.name).contains(&key),
            "{key} is not in the schema"
        );
        let value: &Spanned<DeValue<'a>> = self.table.get(key)?;
        Some(Field {
            source: self.source,
            key: dotted(&self.name, key),
            span: value.span(),
            value: value.get_ref(),
        })
    }

    /// An error about `key`, which has to be there.
    pub(super) fn missing(&self, key: &'static str) -> ConfigError {
        let first = self.table.keys().map(|key| key.span().start).min();
        ConfigError::BadValue {
            place: self.source.place(first.unwrap_or(0)),
            key: dotted(&self.name, key),
            problem: "is missing".to_owned(),
        }
    }

    /// Puts the value of `key`, read by `read`, into `target`; leaves the default if it is absent.
    pub(super) fn set<T>(
        &self,
        key: &'static str,
        target: &mut T,
        read: impl FnOnce(&Field<'a>) -> Result<T, ConfigError>,
    ) -> Result<(), ConfigError> {
        if let Some(field) = self.field(key) {
            *target = read(&field)?;
        }
        Ok(())
    }
}

/// One value with its key and place.
pub(super) struct Field<'a> {
    source: Source<'a>,
    key: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    /// An error about this value.
    pub(super) fn bad(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::BadValue {
            place: self.source.place(self.span.start),
            key: self.key.clone(),
            problem: problem.into(),
        }
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.bad(format!("must be {wanted}, not {found}"))
    }

    /// A string.
    pub(super) fn text(&self) -> Result<&'a str, ConfigError> {
        match self.value {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, range: std::ops::RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let DeValue::Integer(digits) = self.value else {
            return Err(self.wrong_type("a whole number"));
        };
        u64::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| {
                self.bad(format!(
                    "must be from {} to {}, not {digits}",
                    range.start(),
                    range.end()
                ))
            })
    }

    /// A number, whole or not, within `range`.
    pub(super) fn number(&self, range: std::ops::RangeInclusive<f64>) -> Result<f64, ConfigError> {
        let text = match self.value {
            DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
            DeValue::Float(digits) => digits.as_str(),
            _ => return Err(self.wrong_type("a number")),
        };
        // Not-a-number is in no range.
        text.parse()
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| {
                self.bad(format!(
                    "must be from {} to {}, not {text}",
                    range.start(),
                    range.end()
                ))
            })
    }

    /// A string that `T` can be read from.
    pub(super) fn parsed<T>(&self) -> Result<T, ConfigError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.text()?;
        text.parse()
            .map_err(|error| self.bad(format!("is {text:?}: {error}")))
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> Result<Vec<Field<'a>>, ConfigError> {
        let DeValue::Array(elements) = self.value else {
            return Err(self.wrong_type("a list"));
        };
        Ok(elements
            .iter()
            .map(|element| Field {
                source: self.source,
                key: self.key.clone(),
                span: element.span(),
                value: element.get_ref(),
            })
            .collect())
    }
}

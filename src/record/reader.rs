//! A record, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::entry::{Entry, FORMAT, Header};
use super::error::RecordError;
use super::sum::Sum;
use crate::time::RawTime;

/// No line of a record is longer, in bytes.
const LONGEST_LINE: u64 = 16 << 10;

/// How a record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it should: the daemon closed it.
    Closed,
    /// It stops after a whole line: the daemon still runs, or was killed.
    Open,
    /// The last line is cut off and was left out; its number.
    Cut(u64),
}

/// Reads a record from its start to its end.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    path: PathBuf,
    header: Header,
    line: u64,
    bytes: Vec<u8>,
    sum: Sum,
    /// The line after the last check sum.
    unchecked: u64,
    latest: RawTime,
    ending: Option<Ending>,
}

impl Reader<BufReader<File>> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// It cannot be read, or is no record, or one of a later release.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let file = File::open(path).map_err(|source| RecordError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::new(BufReader::new(file), path)
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the header from `input`; errors call it `path`.
    ///
    /// # Errors
    /// As for [`Reader::open`].
    pub fn new(input: R, path: &Path) -> Result<Self, RecordError> {
        let mut lines = Lines {
            input,
            bytes: Vec::new(),
        };
        let whole = lines.next().map_err(|source| RecordError::Read {
            path: path.to_owned(),
            source,
        })?;
        let no_record = |what: &str| RecordError::NoRecord {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        match whole {
            Next::Line => {}
            Next::End => return Err(no_record("it is empty")),
            Next::Cut => return Err(no_record("its first line is cut off")),
            Next::TooLong => return Err(no_record("its first line never ends")),
        }
        let header = header(&lines.bytes, path)?;
        if let Some(what) = header.problem() {
            return Err(RecordError::Line {
                path: path.to_owned(),
                line: 1,
                what: what.to_owned(),
            });
        }
        let mut sum = Sum::default();
        sum.add(&lines.bytes);
        Ok(Self {
            latest: header.now,
            input: lines.input,
            path: path.to_owned(),
            header,
            line: 1,
            bytes: lines.bytes,
            sum,
            unchecked: 1,
            ending: None,
        })
    }

    /// What the node was built from.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What messages call the record.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line that was read last, counted from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// How the record ended, once it has been read to its end.
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The next line; `None` after the last. Check sums are checked and left out.
    ///
    /// # Errors
    /// The line is not as it should be, or not as it was recorded. Nothing can be read after that.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, RecordError> {
        while self.ending.is_none() {
            let mut lines = Lines {
                input: &mut self.input,
                bytes: std::mem::take(&mut self.bytes),
            };
            let whole = lines.next();
            self.bytes = lines.bytes;
            let whole = whole.map_err(|source| RecordError::Read {
                path: self.path.clone(),
                source,
            })?;
            match whole {
                Next::Line => {}
                Next::End => {
                    self.ending = Some(Ending::Open);
                    break;
                }
                Next::Cut => {
                    self.ending = Some(Ending::Cut(self.line + 1));
                    break;
                }
                Next::TooLong => {
                    self.line += 1;
                    return Err(self.bad("no line of a record is as long"));
                }
            }
            self.line += 1;
            let entry: Entry = serde_json::from_slice(&self.bytes).map_err(|error| {
                // The place is said by us.
                let text = error.to_string();
                self.bad(text.split(" at line ").next().unwrap_or_default())
            })?;
            if let Some(entry) = self.checked(entry)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The entry, if it is not about the record itself.
    fn checked(&mut self, entry: Entry) -> Result<Option<Entry>, RecordError> {
        if let Entry::Sum { fnv } | Entry::End { fnv } = &entry {
            if fnv.parse() != Ok(self.sum) {
                let result = Err(RecordError::Changed {
                    path: self.path.clone(),
                    from: self.unchecked,
                    line: self.line,
                });
                self.ending = Some(Ending::Open);
                return result;
            }
            self.unchecked = self.line + 1;
        }
        self.sum.add(&self.bytes);
        match entry {
            Entry::Sum { .. } => return Ok(None),
            Entry::End { .. } => {
                self.ending = Some(Ending::Closed);
                return Ok(None);
            }
            _ => {}
        }
        if let Some(t) = entry.time() {
            if t < self.latest {
                return Err(self.bad("time goes back: this was never recorded so"));
            }
            self.latest = t;
        }
        Ok(Some(entry))
    }

    fn bad(&mut self, what: &str) -> RecordError {
        self.ending = Some(Ending::Open);
        RecordError::Line {
            path: self.path.clone(),
            line: self.line,
            what: what.to_owned(),
        }
    }
}

fn header(line: &[u8], path: &Path) -> Result<Header, RecordError> {
    let no_record = |what: String| RecordError::NoRecord {
        path: path.to_owned(),
        what,
    };
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|_| no_record("its first line is no JSON object".to_owned()))?;
    let number = |key: &str| value.get(key).and_then(serde_json::Value::as_u64);
    let word = |key: &str| value.get(key).and_then(serde_json::Value::as_str);
    if let (Some("parisync"), Some(found)) = (word("record"), number("format"))
        && found != u64::from(FORMAT)
    {
        return Err(RecordError::Newer {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            version: word("version").unwrap_or("unknown").to_owned(),
        });
    }
    let header: Header =
        serde_json::from_value(value).map_err(|error| no_record(error.to_string()))?;
    if !header.is_record() {
        return Err(no_record("it calls itself something else".to_owned()));
    }
    Ok(header)
}

/// What came of asking for a line.
enum Next {
    /// A whole one.
    Line,
    /// None is left.
    End,
    /// The last, without its end.
    Cut,
    /// One beyond [`LONGEST_LINE`].
    TooLong,
}

struct Lines<R> {
    input: R,
    bytes: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> io::Result<Next> {
        self.bytes.clear();
        let mut limited = (&mut self.input).take(LONGEST_LINE);
        let read = limited.read_until(b'\n', &mut self.bytes)?;
        Ok(match (read as u64, self.bytes.last()) {
            (0, _) => Next::End,
            (_, Some(b'\n')) => Next::Line,
            (LONGEST_LINE.., _) => Next::TooLong,
            _ => Next::Cut,
        })
    }
}

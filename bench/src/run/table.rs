//! CSV files, read line by line with errors that name the line.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv::ErrorKind;
use serde::de::DeserializeOwned;

use super::RunError;

/// A CSV file that is being read.
pub(super) struct Rows {
    path: PathBuf,
    reader: csv::Reader<BufReader<File>>,
    headers: csv::StringRecord,
    record: csv::StringRecord,
}

impl Rows {
    /// Opens a file that must have exactly these columns, or any if there are none given.
    pub(super) fn open(path: &Path, columns: &[&str]) -> Result<Self, RunError> {
        let failed = |source| RunError::read(path, source);
        let mut file = File::open(path).map_err(failed)?;
        let whole = ends_with_a_line(&mut file).map_err(failed)?;
        if !whole {
            let mut text = Vec::new();
            file.read_to_end(&mut text).map_err(failed)?;
            let line = 1 + text.iter().filter(|&&byte| byte == b'\n').count() as u64;
            return Err(RunError::corrupt(path, line, "the file ends within a line"));
        }
        let mut reader = csv::ReaderBuilder::new().from_reader(BufReader::new(file));
        let headers = reader.headers().cloned();
        let headers = headers.map_err(|error| explain(path, 1, error))?;
        if !columns.is_empty() && headers != *columns {
            let columns = columns.join(",");
            return Err(RunError::corrupt(
                path,
                1,
                format!("the columns must be {columns}"),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            headers,
            record: csv::StringRecord::new(),
        })
    }

    /// The names of the columns.
    pub(super) fn columns(&self) -> Vec<String> {
        self.headers.iter().map(str::to_owned).collect()
    }

    /// The next row and its line.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<(u64, T)>, RunError> {
        let line = self.reader.position().line();
        let more = self.reader.read_record(&mut self.record);
        if !more.map_err(|error| explain(&self.path, line, error))? {
            return Ok(None);
        }
        let row = self.record.deserialize(Some(&self.headers));
        row.map(|row| Some((line, row)))
            .map_err(|error| explain(&self.path, line, error))
    }
}

/// Whether the last line is whole; back at the start afterwards.
fn ends_with_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(last == *b"\n")
}

/// The error in our words: where it is, and what is wrong.
fn explain(path: &Path, line: u64, error: csv::Error) -> RunError {
    let what = match error.kind() {
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("there are {len} cells instead of {expected_len}"),
        ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        ErrorKind::Utf8 { .. } => "this is no text".to_owned(),
        _ => match error.into_kind() {
            ErrorKind::Io(source) => return RunError::read(path, source),
            other => format!("{other:?}"),
        },
    };
    RunError::corrupt(path, line, what)
}

/// Says what is wrong with a number that should be one.
pub(super) fn finite(name: &str, value: Option<f64>) -> Result<(), String> {
    match value {
        Some(value) if !value.is_finite() => Err(format!("{name} is {value}")),
        _ => Ok(()),
    }
}

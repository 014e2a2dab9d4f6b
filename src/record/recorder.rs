//! Entries to a file, on a thread of their own.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{self, Receiver, TryRecvError};

use super::entry::{Entry, Header};
use super::error::RecordError;
use super::sum::Sum;
use super::taped::Tape;

/// Entries on their way to the file: seconds of them, however fast a node polls.
const QUEUE: usize = 4_096;

/// The thread that writes a record.
#[derive(Debug)]
pub struct Recorder {
    thread: JoinHandle<()>,
}

impl Recorder {
    /// Makes the file and starts the thread. The tape goes to the node; the file is closed once
    /// that is gone.
    ///
    /// The thread sleeps until something comes and never asks for the time, so that it can run
    /// inside a clock simulator.
    ///
    /// # Errors
    /// The file is there already or cannot be made, or there is no thread to be had.
    pub fn start(path: &Path, header: &Header) -> Result<(Self, Tape), RecordError> {
        let failed = |source| RecordError::Create {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let out = BufWriter::new(file.map_err(failed)?);
        Self::on(out, path, header).map_err(failed)
    }

    /// The same on something else than a file; messages call it `path`.
    ///
    /// # Errors
    /// What `out` says of the header, or there is no thread to be had.
    pub fn on(
        out: impl Write + Send + 'static,
        path: &Path,
        header: &Header,
    ) -> io::Result<(Self, Tape)> {
        let mut sheet = Sheet::new(out);
        sheet.header(header)?;
        let (sender, entries) = channel::bounded(QUEUE);
        let path = path.to_owned();
        let thread = thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || keep(sheet, &entries, &path))?;
        Ok((Self { thread }, Tape::new(sender)))
    }

    /// Waits until all is written. The tape has to be gone, or this waits for ever.
    pub fn finish(self) {
        if self.thread.join().is_err() {
            tracing::error!("the recording thread ended in a panic");
        }
    }
}

fn keep(mut sheet: Sheet<impl Write>, entries: &Receiver<Entry>, path: &Path) {
    // When this returns, the channel closes, and the tape notices.
    if let Err(error) = keep_on(&mut sheet, entries) {
        tracing::warn!(
            "recording to {} stops: {error}; the node goes on without it",
            path.display()
        );
    }
}

fn keep_on(sheet: &mut Sheet<impl Write>, entries: &Receiver<Entry>) -> io::Result<()> {
    loop {
        let entry = match entries.try_recv() {
            Ok(entry) => entry,
            Err(TryRecvError::Empty) => {
                // Nobody waits for us: let others see what there is.
                sheet.out.flush()?;
                match entries.recv() {
                    Ok(entry) => entry,
                    Err(_) => break,
                }
            }
            Err(TryRecvError::Disconnected) => break,
        };
        sheet.entry(&entry)?;
    }
    sheet.end()
}

/// Writes a whole record at once; the reader finds it well-formed, whatever is in it.
///
/// # Errors
/// What `out` says.
pub fn write(
    out: impl Write,
    header: &Header,
    entries: impl IntoIterator<Item = Entry>,
) -> io::Result<()> {
    let mut sheet = Sheet::new(out);
    sheet.header(header)?;
    for entry in entries {
        sheet.entry(&entry)?;
    }
    sheet.end()
}

/// Lines, and the sum of them so far.
struct Sheet<W> {
    out: W,
    sum: Sum,
    line: Vec<u8>,
}

impl<W: Write> Sheet<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            sum: Sum::default(),
            line: Vec::with_capacity(1_024),
        }
    }

    fn header(&mut self, header: &Header) -> io::Result<()> {
        self.line(header)
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.line(entry)?;
        if matches!(entry, Entry::Clock { .. }) {
            let fnv = self.sum.to_string();
            self.line(&Entry::Sum { fnv })?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let fnv = self.sum.to_string();
        self.line(&Entry::End { fnv })?;
        self.out.flush()
    }

    fn line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.sum.add(&self.line);
        self.out.write_all(&self.line)
    }
}

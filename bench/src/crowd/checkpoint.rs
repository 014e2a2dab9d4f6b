//! A run that was left, in a file: whoever resumes goes on from there.
//!
//! A line of JSON that says what is simulated and how far it came ([`Checkpoint`]), then every node
//! with all that it remembers: its length and a hash, eight bytes each, and what `postcard` makes of
//! it. That is no format that lasts: nodes are written as this version has them in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::identity::scatter;
use super::plan::Plan;

/// How the file is arranged.
const FORMAT: u32 = 2;

/// The longest first line that is looked at.
const LONGEST_LINE: u64 = 1 << 20;

/// What the first line of the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Who wrote it.
    #[serde(flatten)]
    writer: Writer,
    /// What is simulated.
    pub(super) plan: Plan,
    /// Rounds that were over.
    pub(super) rounds: u32,
    /// What had been seen by then, [`Report::digest`](super::Report::digest).
    pub(super) digest: String,
    /// The machine's time that it took, s.
    pub(super) wall_s: f64,
    /// Of it, spent by processors, s.
    pub(super) cpu_s: f64,
}

/// What reads a file has to be what wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Writer {
    /// [`FORMAT`].
    parisync_checkpoint: u32,
    version: String,
    /// What a small network of the plan's kind comes to in this build, and how large its nodes are.
    build: String,
}

impl Writer {
    fn this(build: String) -> Self {
        Self {
            parisync_checkpoint: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build,
        }
    }
}

/// A checkpoint that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It is something else.
    #[error("{} is no checkpoint of a simulation", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// Nodes are others in this build.
    #[error(
        "{} was left by version {theirs}, whose nodes are not those of this build ({ours}): resume with \
         that one, or start anew",
        path.display()
    )]
    Version {
        /// Which.
        path: PathBuf,
        /// Who wrote it.
        theirs: String,
        /// Who reads it.
        ours: &'static str,
    },
    /// Something is missing or changed.
    #[error("{} is damaged: {why}; start anew", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What.
        why: String,
    },
}

impl Checkpoint {
    /// How far this program came with `plan`.
    pub(super) fn new(
        plan: &Plan,
        (rounds, digest): (u32, String),
        spent: (f64, f64),
        build: String,
    ) -> Self {
        Self {
            writer: Writer::this(build),
            plan: plan.clone(),
            rounds,
            digest,
            wall_s: spent.0,
            cpu_s: spent.1,
        }
    }

    /// Whether the `build` that reads it can have written it.
    pub(super) fn check(&self, path: &Path, build: String) -> Result<(), CheckpointError> {
        self.writer.check(path, &Writer::this(build))
    }
}

impl Writer {
    fn check(&self, path: &Path, ours: &Self) -> Result<(), CheckpointError> {
        if self == ours {
            return Ok(());
        }
        Err(CheckpointError::Version {
            path: path.to_owned(),
            theirs: self.version.clone(),
            ours: env!("CARGO_PKG_VERSION"),
        })
    }
}

/// Where a checkpoint of `plan` goes if nobody says: those of different plans do not replace each other.
pub fn checkpoint_name(plan: &Plan) -> PathBuf {
    // A plan that has no text is as good as any other for a name.
    let text = serde_json::to_vec(plan).unwrap_or_default();
    format!("sim-{:08x}.checkpoint", hash(&text) >> 32).into()
}

/// A checkpoint that is being written. It takes the place of an earlier one when it is complete.
pub(super) struct Saver {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    /// What is being written, from the last value that was.
    bytes: Vec<u8>,
}

impl Saver {
    pub(super) fn create(path: &Path, checkpoint: &Checkpoint) -> Result<Self, CheckpointError> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|why| CheckpointError::File {
            path: part.clone(),
            why,
        })?;
        let mut saver = Self {
            path: path.to_owned(),
            part,
            file: BufWriter::with_capacity(1 << 20, file),
            bytes: Vec::new(),
        };
        let line = serde_json::to_vec(checkpoint).map_err(|error| saver.failed(error.into()))?;
        let written = saver.file.write_all(&line);
        let written = written.and_then(|()| saver.file.write_all(b"\n"));
        written.map_err(|why| saver.failed(why))?;
        saver.put(&hash(&line))?;
        Ok(saver)
    }

    pub(super) fn put<T: Serialize>(&mut self, value: &T) -> Result<(), CheckpointError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.bytes = postcard::to_extend(value, bytes)
            .map_err(|error| self.failed(io::Error::other(error)))?;
        let length = (self.bytes.len() as u64).to_le_bytes();
        let hash = hash(&self.bytes).to_le_bytes();
        let parts = [&length[..], &hash, &self.bytes];
        let mut parts = parts.into_iter();
        let written = parts.try_for_each(|part| self.file.write_all(part));
        written.map_err(|why| self.failed(why))
    }

    /// Puts what there is of each host, in two parts.
    pub(super) fn put_hosts<A: Serialize, B: Serialize>(
        &mut self,
        hosts: &[A],
        others: &[B],
    ) -> Result<(), CheckpointError> {
        let mut both = hosts.iter().zip(others);
        both.try_for_each(|host| self.put(&host))
    }

    /// Everything is written.
    pub(super) fn finish(mut self) -> Result<(), CheckpointError> {
        let done = self.file.flush().and_then(|()| {
            self.file.get_ref().sync_all()?;
            std::fs::rename(&self.part, &self.path)
        });
        done.map_err(|why| self.failed(why))
    }

    fn failed(&self, why: io::Error) -> CheckpointError {
        // It is of no use to anybody; if it stays, it only takes room.
        let _ = std::fs::remove_file(&self.part);
        CheckpointError::File {
            path: self.path.clone(),
            why,
        }
    }
}

/// A checkpoint that is being read.
pub(super) struct Loader {
    path: PathBuf,
    file: BufReader<File>,
    /// What is being read.
    bytes: Vec<u8>,
}

impl Loader {
    pub(super) fn open(path: &Path) -> Result<(Self, Checkpoint), CheckpointError> {
        let mut line = Vec::new();
        let mut read = || {
            let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
            file.by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)?;
            Ok(file)
        };
        let file = read().map_err(|why| CheckpointError::File {
            path: path.to_owned(),
            why,
        })?;
        let foreign = |_| CheckpointError::Foreign {
            path: path.to_owned(),
        };
        let line = line.trim_ascii_end();
        let writer: Writer = serde_json::from_slice(line).map_err(foreign)?;
        // Another version may have other plans; what its nodes are like is asked later.
        writer.check(path, &Writer::this(writer.build.clone()))?;
        let checkpoint: Checkpoint = serde_json::from_slice(line).map_err(foreign)?;
        let mut loader = Self {
            path: path.to_owned(),
            file,
            bytes: Vec::new(),
        };
        if loader.take::<u64>()? != hash(line) {
            return Err(loader.damaged("its first line is not what was written"));
        }
        Ok((loader, checkpoint))
    }

    pub(super) fn take<T: DeserializeOwned>(&mut self) -> Result<T, CheckpointError> {
        let mut numbers = [0; 16];
        let read = self.file.read_exact(&mut numbers);
        read.map_err(|why| self.unread(why))?;
        let [length, hashed] = [0, 8].map(|at| {
            let bytes = &numbers[at..at + 8];
            bytes
                .iter()
                .rfold(0, |all, byte| all << 8 | u64::from(*byte))
        });
        self.bytes.clear();
        // No more than there is, whatever the length says.
        let read = self.file.by_ref().take(length).read_to_end(&mut self.bytes);
        let read = read.map_err(|why| self.unread(why))?;
        if (read as u64) < length {
            return Err(self.unread(io::ErrorKind::UnexpectedEof.into()));
        }
        if hash(&self.bytes) != hashed {
            return Err(self.damaged("what it holds is not what was written"));
        }
        match postcard::take_from_bytes(&self.bytes) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(self.damaged("a value is longer than it should be")),
            Err(error) => Err(self.damaged(error)),
        }
    }

    /// What [`Saver::put_hosts`] put, in the place of what is there.
    pub(super) fn take_hosts<A: DeserializeOwned, B: DeserializeOwned>(
        &mut self,
        hosts: &mut [A],
        others: &mut [B],
    ) -> Result<(), CheckpointError> {
        let mut both = hosts.iter_mut().zip(others);
        both.try_for_each(|(host, other)| {
            (*host, *other) = self.take()?;
            Ok(())
        })
    }

    /// Nothing may be left.
    pub(super) fn finish(mut self) -> Result<(), CheckpointError> {
        let left = self.file.fill_buf().map(<[u8]>::is_empty);
        match left {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.damaged("something follows its end")),
            Err(why) => Err(self.unread(why)),
        }
    }

    fn unread(&self, why: io::Error) -> CheckpointError {
        if why.kind() == io::ErrorKind::UnexpectedEof {
            return self.damaged("it is cut short");
        }
        CheckpointError::File {
            path: self.path.clone(),
            why,
        }
    }

    pub(super) fn damaged(&self, why: impl ToString) -> CheckpointError {
        CheckpointError::Damaged {
            path: self.path.clone(),
            why: why.to_string(),
        }
    }
}

/// The same on every machine.
fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let start = scatter(bytes.len() as u64);
    let all = words
        .iter()
        .fold(start, |all, word| scatter(all ^ u64::from_le_bytes(*word)));
    rest.iter()
        .fold(all, |all, byte| scatter(all ^ u64::from(*byte)))
}

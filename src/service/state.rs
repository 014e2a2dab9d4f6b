//! What a daemon keeps on disk from one run to the next: rates and peers.
//!
//! Losing it costs a slower start, nothing else, so reading never fails: what cannot be used is
//! moved aside and said. Writing is atomic: a crash leaves the old file or the new one.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::time::Rate;
use crate::topology::NodeId;

/// Format of the file. Readers take what they know of a newer one.
const VERSION: u32 = 1;
/// A larger file is not ours.
const MAX_BYTES: u64 = 256 * 1024;
/// More peers than this are not kept.
const MAX_PEERS: usize = 512;
/// No oscillator is this far off; a rate beyond it is not believed.
const MAX_RATE: f64 = 0.01;
/// Nothing in the file is secret, and another user may run the daemon next time.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The last good rate of the virtual clock against the raw clock.
    pub oscillator: Option<Rate>,
    /// The card whose clock that was; [`None`]: this host's.
    pub card: Option<String>,
    /// The last good rate commanded to the steered clock, without any slew.
    pub clock: Option<Rate>,
    /// When it was saved, seconds since 1970-01-01 UTC by the system clock.
    pub saved_at: i64,
    /// Peers that were good, best first.
    pub peers: Vec<KnownPeer>,
}

impl State {
    /// What of it is good with the raw clock of `card`, or this host's: another oscillator has
    /// another rate.
    pub fn with_clock_of(self, card: Option<&str>) -> Self {
        Self {
            oscillator: self.oscillator.filter(|_| self.card.as_deref() == card),
            card: card.map(str::to_owned),
            ..self
        }
    }
}

/// A peer to try first at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeer {
    /// Its identity.
    pub id: NodeId,
    /// Where its time port was.
    pub addr: SocketAddr,
}

/// The file's form: units in the names, single peers may be unreadable.
#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    #[serde(default)]
    oscillator_ppm: Option<f64>,
    #[serde(default)]
    oscillator_card: Option<String>,
    #[serde(default)]
    clock_ppm: Option<f64>,
    #[serde(default)]
    saved_at_s: i64,
    #[serde(default)]
    peers: Vec<serde_json::Value>,
}

impl From<&State> for Form {
    fn from(state: &State) -> Self {
        let peers = state.peers.iter().take(MAX_PEERS);
        Self {
            version: VERSION,
            oscillator_ppm: state.oscillator.map(Rate::as_ppm),
            oscillator_card: state.card.clone(),
            clock_ppm: state.clock.map(Rate::as_ppm),
            saved_at_s: state.saved_at,
            peers: peers
                .filter_map(|peer| serde_json::to_value(peer).ok())
                .collect(),
        }
    }
}

impl From<Form> for State {
    fn from(form: Form) -> Self {
        let believable = |ppm: f64| {
            let rate = Rate::from_ppm(ppm);
            (rate.abs().as_fraction() <= MAX_RATE).then_some(rate)
        };
        let peers = form.peers.into_iter().take(MAX_PEERS);
        Self {
            oscillator: form.oscillator_ppm.and_then(believable),
            card: form.oscillator_card,
            clock: form.clock_ppm.and_then(believable),
            saved_at: form.saved_at_s,
            peers: peers
                .filter_map(|peer| serde_json::from_value(peer).ok())
                .collect(),
        }
    }
}

/// The state could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory or a file in it refused.
    #[error(
        "cannot write {path}: {source}; the directory must exist or be creatable, and belong to \
         the user parisync runs as"
    )]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The state has no text form.
    #[error("cannot encode the state: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Why the state on disk was not used.
#[derive(Debug)]
pub struct Unusable {
    path: PathBuf,
    reason: String,
    moved_to: Option<PathBuf>,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, reason, .. } = self;
        write!(
            f,
            "{} is not used: {reason}; starting without it",
            path.display()
        )?;
        match &self.moved_to {
            Some(kept) => write!(f, " (kept as {})", kept.display()),
            None => Ok(()),
        }
    }
}

/// The state file of one daemon.
#[derive(Debug, Clone)]
pub struct StateFile {
    directory: PathBuf,
}

impl StateFile {
    /// The file in `directory`, which is made at the first save if it is missing.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The file itself.
    pub fn path(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// Reads the state. A missing file is an empty state; one that cannot be used is moved aside
    /// (overwriting an earlier one) and comes back as a warning.
    pub fn load(&self) -> (State, Option<Unusable>) {
        let path = self.path();
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return (State::default(), Some(self.put_aside(error.to_string())));
            }
            Err(error) => {
                let unusable = Unusable {
                    path,
                    reason: error.to_string(),
                    moved_to: None,
                };
                return (State::default(), Some(unusable));
            }
        };
        match serde_json::from_slice::<Form>(&bytes) {
            Ok(form) => (form.into(), None),
            Err(error) => (State::default(), Some(self.put_aside(error.to_string()))),
        }
    }

    /// Writes the state: the old one or the new one is there at any instant, also after a crash.
    ///
    /// # Errors
    /// [`StateError::Write`] names the path that refused.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        let mut text = serde_json::to_vec_pretty(&Form::from(state))?;
        text.push(b'\n');
        let path = self.path();
        self.replace(&path, &text)
            .map_err(|source| StateError::Write { path, source })
    }

    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.directory)?;
        let temporary = self.directory.join("state.json.new");
        // A crash may have left one; removing it also keeps us from writing through a link.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(&self.directory)?.sync_all()
    }

    fn put_aside(&self, reason: String) -> Unusable {
        let path = self.path();
        let aside = self.directory.join("state.json.unusable");
        let moved = std::fs::rename(&path, &aside).is_ok();
        Unusable {
            path,
            reason,
            moved_to: moved.then_some(aside),
        }
    }
}

/// The whole of a regular file of at most [`MAX_BYTES`]; `InvalidData` for anything else.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Non-blocking, so that a pipe in its place cannot hang the start.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        let what = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let what = format!("it is larger than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory that goes away with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("parisync-state-{}-{n}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn file(&self) -> StateFile {
            StateFile::new(&self.0)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn state() -> State {
        let id = NodeId::from_bytes([7; 32]);
        let peer = |addr: &str| KnownPeer {
            id,
            addr: addr.parse().unwrap(),
        };
        State {
            oscillator: Some(Rate::from_ppm(-12.25)),
            card: Some("eth0".to_owned()),
            clock: Some(Rate::from_ppm(3.5)),
            saved_at: 1_800_000_000,
            peers: vec![peer("192.0.2.1:7777"), peer("[2001:db8::1]:7777")],
        }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let scratch = Scratch::new();
        let file = scratch.file();
        let (empty, warning) = file.load();
        assert_eq!(empty, State::default());
        assert!(warning.is_none());
        for _ in 0..2 {
            file.save(&state()).unwrap();
            let (read, warning) = file.load();
            assert!(warning.is_none());
            assert_eq!(read, state());
        }
        let names: Vec<_> = std::fs::read_dir(&scratch.0).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays");
    }

    #[test]
    fn a_rate_is_good_for_the_clock_it_was_of() {
        let rate = state().oscillator;
        assert_eq!(state().with_clock_of(Some("eth0")).oscillator, rate);
        for card in [None, Some("eth1")] {
            let other = state().with_clock_of(card);
            assert_eq!((other.oscillator, other.card.as_deref()), (None, card));
            assert_eq!(other.clock, state().clock);
        }
    }

    #[test]
    fn a_leftover_of_a_crash_harms_nobody() {
        let scratch = Scratch::new();
        let file = scratch.file();
        file.save(&state()).unwrap();
        let leftover = scratch.0.join("state.json.new");
        std::fs::write(&leftover, b"{\"version\":1,\"clo").unwrap();
        assert_eq!(file.load().0, state());
        file.save(&State::default()).unwrap();
        assert_eq!(file.load().0, State::default());
        assert!(!leftover.exists());
    }

    #[test]
    fn a_link_in_the_temporary_files_place_is_not_followed() {
        let scratch = Scratch::new();
        let file = scratch.file();
        file.save(&state()).unwrap();
        let victim = scratch.0.join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, scratch.0.join("state.json.new")).unwrap();
        file.save(&state()).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn corrupt_and_oversized_files_are_moved_aside() {
        let oversized = vec![b' '; MAX_BYTES as usize + 1];
        let nested = [b'['; 10_000];
        let bad: [&[u8]; 5] = [b"", b"{\"version\":", b"\xff\xfe", &nested, &oversized];
        for text in bad {
            let scratch = Scratch::new();
            let file = scratch.file();
            std::fs::create_dir_all(&scratch.0).unwrap();
            std::fs::write(file.path(), text).unwrap();
            let (read, warning) = file.load();
            assert_eq!(read, State::default());
            let said = warning.expect("a warning").to_string();
            assert!(said.contains("state.json.unusable"), "{said}");
            assert!(!file.path().exists());
            file.save(&state()).unwrap();
            assert_eq!(file.load().0, state());
        }
    }

    #[test]
    fn what_is_not_believable_or_not_known_is_passed_over() {
        let scratch = Scratch::new();
        let file = scratch.file();
        std::fs::create_dir_all(&scratch.0).unwrap();
        let id = "07".repeat(32);
        let text = format!(
            r#"{{"version":9,"clock_ppm":1e9,"oscillator_ppm":2.0,"new":[],
                 "peers":[{{"id":"{id}","addr":"192.0.2.1:1"}},{{"id":"zz"}},5]}}"#
        );
        std::fs::write(file.path(), text).unwrap();
        let (read, warning) = file.load();
        assert!(warning.is_none());
        assert_eq!(read.clock, None);
        assert_eq!(read.oscillator, Some(Rate::from_ppm(2.0)));
        assert_eq!(read.peers.len(), 1);
    }

    #[test]
    fn a_directory_in_its_place_is_a_warning() {
        let scratch = Scratch::new();
        let file = scratch.file();
        std::fs::create_dir_all(file.path()).unwrap();
        assert!(file.load().1.is_some());
        assert!(!file.path().exists(), "moved aside");
    }

    #[test]
    fn rates_that_are_no_numbers_do_not_spoil_the_file() {
        let scratch = Scratch::new();
        let file = scratch.file();
        let wild = State {
            clock: Some(Rate::from_fraction(f64::NAN)),
            ..state()
        };
        file.save(&wild).unwrap();
        assert_eq!(
            file.load().0,
            State {
                clock: None,
                ..state()
            }
        );
    }

    #[test]
    fn saving_where_one_may_not_names_the_path() {
        let file = StateFile::new("/proc/parisync-test");
        let said = file.save(&state()).unwrap_err().to_string();
        assert!(said.contains("/proc/parisync-test/state.json"), "{said}");
    }
}

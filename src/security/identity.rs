//! Who a node is: one ed25519 key, kept on disk.

use ed25519_dalek::SigningKey;
use rand_core::{OsRng, RngCore};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::topology::NodeId;

/// The key of this node.
///
/// The same key serves the DHT engine (ed25519) and the sessions (its X25519 form), so that a
/// [`NodeId`] is all one needs to authenticate a peer. That both uses of one key do not endanger
/// each other is shown by Thormarker, <https://eprint.iacr.org/2021/509>.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

/// Why there is no identity, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others may read the key.
    #[error(
        "{path}: others can read this key (mode {mode:03o}); run `chmod 600 {path}`, or delete the file to get a new identity"
    )]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error(
        "{path}: not a key (64 hexadecimal digits); restore it, or delete the file to get a new identity"
    )]
    NotAKey {
        /// The key file.
        path: PathBuf,
    },
    /// The file cannot be read, or not be created.
    #[error(
        "{path}: cannot {action} the identity key: {source}; check the directory's owner and `state_dir` in the configuration"
    )]
    Io {
        /// The key file.
        path: PathBuf,
        /// `read` or `create`.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("the system gives no random bytes for a key: {0}")]
    Entropy(String),
}

impl Identity {
    /// The identity kept at `path`; the first start makes one there, readable by its owner only.
    ///
    /// Creation is atomic: after a crash there is a whole key or none, and of two processes that
    /// start at once both get the same key.
    ///
    /// # Errors
    /// [`IdentityError`]; a key that others can read is refused.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let identity = Self::generate()?;
        match identity.store(path) {
            Ok(()) => Ok(identity),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(source) => Err(IdentityError::Io {
                path: path.to_owned(),
                action: "create",
                source,
            }),
        }
    }

    /// A new identity that is kept nowhere.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`].
    pub fn generate() -> Result<Self, IdentityError> {
        let mut secret = [0; 32];
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|e| IdentityError::Entropy(e.to_string()))?;
        Ok(Self::from_secret(&secret))
    }

    /// The identity with this ed25519 secret (the seed of RFC 8032).
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(secret),
        }
    }

    /// What others call this node.
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(self.key.verifying_key().to_bytes())
    }

    /// The ed25519 secret (the seed of RFC 8032), for the DHT engine.
    pub fn ed25519_secret_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The X25519 secret that belongs to the same key, for Noise.
    pub fn noise_static(&self) -> [u8; 32] {
        self.key.to_scalar_bytes()
    }

    fn load(path: &Path) -> Result<Self, IdentityError> {
        let io_error = |source| IdentityError::Io {
            path: path.to_owned(),
            action: "read",
            source,
        };
        let not_a_key = || IdentityError::NotAKey {
            path: path.to_owned(),
        };
        let file = File::open(path).map_err(io_error)?;
        let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Vec::new();
        file.take(128).read_to_end(&mut text).map_err(io_error)?;
        let text = std::str::from_utf8(&text).map_err(|_| not_a_key())?;
        // A secret and an identity look alike in text, so the one's parser reads the other.
        let secret: NodeId = text.trim_end().parse().map_err(|_| not_a_key())?;
        Ok(Self::from_secret(secret.as_bytes()))
    }

    fn store(&self, path: &Path) -> io::Result<()> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        // Named after the new key: no two processes, in whatever namespace, share a draft.
        name.push(format!(".{}.new", self.node_id().short()));
        let draft = dir.join(name);
        let written = self.write_new(&draft).and_then(|()| {
            // A link, unlike a rename, never replaces a key that is already there.
            fs::hard_link(&draft, path)?;
            File::open(dir)?.sync_all()
        });
        let removed = fs::remove_file(&draft);
        written.and(removed)
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{}", NodeId::from_bytes(self.key.to_bytes()))?;
        file.sync_all()
    }
}

/// Shows the public half only.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.node_id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory of its own that goes away with the test.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("parisync-identity-{}-{n}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn files(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_key_that_only_the_owner_reads_and_the_next_finds_it() {
        let dir = Dir::new();
        let path = dir.0.join("state/identity");
        let first = Identity::load_or_create(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let second = Identity::load_or_create(&path).unwrap();
        assert_eq!(first.ed25519_secret_bytes(), second.ed25519_secret_bytes());
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_key() {
        let dir = Dir::new();
        let path = dir.0.join("identity");
        let ids: Vec<NodeId> = std::thread::scope(|scope| {
            let start = || Identity::load_or_create(&path).unwrap().node_id();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(dir.files(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = Dir::new();
        let path = dir.0.join("identity");
        Identity::load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            chmod(&path, mode);
            let error = Identity::load_or_create(&path).unwrap_err();
            assert!(matches!(error, IdentityError::Exposed { mode: m, .. } if m == mode));
            assert!(error.to_string().contains("chmod 600"));
        }
        chmod(&path, 0o400);
        assert!(Identity::load_or_create(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_no_key_is_named_and_left_alone() {
        let dir = Dir::new();
        let path = dir.0.join("identity");
        for text in ["", "hello", &"ab".repeat(31), &"ab".repeat(500)] {
            fs::write(&path, text).unwrap();
            chmod(&path, 0o600);
            let error = Identity::load_or_create(&path).unwrap_err();
            assert!(matches!(error, IdentityError::NotAKey { .. }));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = Dir::new();
        fs::write(dir.0.join("file"), "").unwrap();
        let error = Identity::load_or_create(&dir.0.join("file/identity")).unwrap_err();
        assert!(error.to_string().contains("file/identity"));
    }

    #[test]
    fn the_node_id_is_the_public_key_of_rfc_8032() {
        // RFC 8032, 7.1, test 1.
        let secret: NodeId = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
            .parse()
            .unwrap();
        let id = Identity::from_secret(secret.as_bytes()).node_id();
        assert_eq!(
            id.to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        let shown = format!("{:?}", Identity::from_secret(secret.as_bytes()));
        assert!(!shown.contains("9d61b19d"));
    }
}

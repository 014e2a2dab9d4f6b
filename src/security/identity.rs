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

//! Where state and the control socket live if nobody says otherwise.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};

/// The control socket of a daemon that the system runs; where clients look when their user has
/// no daemon of their own.
pub const SYSTEM_SOCKET: &str = "/run/parisync/control.sock";

/// The state directory of a daemon that the system runs.
pub const SYSTEM_STATE: &str = "/var/lib/parisync";

/// What the default places depend on; a value, so that tests need not change the environment.
pub(super) struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether we run as root.
    pub(super) root: bool,
    /// The home directory according to the user database.
    pub(super) home: Option<PathBuf>,
}

impl Surroundings<'_> {
    /// An absolute path from the environment; the XDG specification has relative ones ignored.
    fn path(&self, variable: &str) -> Option<PathBuf> {
        let value = PathBuf::from((self.variable)(variable)?);
        value.is_absolute().then_some(value)
    }

    /// A directory that systemd prepared; of several, separated by colons, the first.
    fn prepared(&self, variable: &str) -> Option<PathBuf> {
        let value = (self.variable)(variable)?.into_string().ok()?;
        let first = PathBuf::from(value.split(':').next()?);
        first.is_absolute().then_some(first)
    }

    /// Where identity, drift and known peers are kept.
    pub(super) fn state_dir(&self) -> PathBuf {
        if let Some(dir) = self.prepared("STATE_DIRECTORY") {
            return dir;
        }
        if self.root {
            return SYSTEM_STATE.into();
        }
        let home = || self.path("HOME").or_else(|| self.home.clone());
        self.path("XDG_STATE_HOME")
            .or_else(|| Some(home()?.join(".local/state")))
            // Without any home the system's place is what remains; if it cannot be written, the
            // daemon says so and names the key to set.
            .map_or_else(|| SYSTEM_STATE.into(), |dir| dir.join("parisync"))
    }

    /// Where the control socket is, given the state directory.
    pub(super) fn control_socket(&self, state_dir: &Path) -> PathBuf {
        if let Some(dir) = self.prepared("RUNTIME_DIRECTORY") {
            return dir.join("control.sock");
        }
        if self.root {
            return SYSTEM_SOCKET.into();
        }
        match self.path("XDG_RUNTIME_DIR") {
            Some(dir) => dir.join("parisync.sock"),
            // Never in /tmp: anybody could have made a socket of that name there before us.
            None => state_dir.join("control.sock"),
        }
    }
}

/// Calls `f` with the surroundings of this process.
pub(super) fn with_surroundings<T>(f: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let uid: Uid = geteuid();
    let home = || Some(User::from_uid(uid).ok()??.dir);
    f(&Surroundings {
        variable: &|name| std::env::var_os(name),
        root: uid.is_root(),
        home: home().filter(|dir| dir.is_absolute() && dir != Path::new("/")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)], root: bool, home: Option<&str>) -> (String, String) {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(OsString::from(found.1))
        };
        let here = Surroundings {
            variable: &lookup,
            root,
            home: home.map(PathBuf::from),
        };
        let state = here.state_dir();
        let socket = here.control_socket(&state);
        (state.display().to_string(), socket.display().to_string())
    }

    fn pair(state: &str, socket: &str) -> (String, String) {
        (state.to_owned(), socket.to_owned())
    }

    #[test]
    fn root_uses_the_system_places() {
        let env = [("HOME", "/root"), ("XDG_RUNTIME_DIR", "/run/user/0")];
        assert_eq!(places(&env, true, None), pair(SYSTEM_STATE, SYSTEM_SOCKET));
    }

    #[test]
    fn users_follow_the_xdg_directories() {
        let env = [
            ("XDG_STATE_HOME", "/s"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("HOME", "/home/u"),
        ];
        let expected = pair("/s/parisync", "/run/user/7/parisync.sock");
        assert_eq!(places(&env, false, None), expected);
        let expected = pair(
            "/home/u/.local/state/parisync",
            "/home/u/.local/state/parisync/control.sock",
        );
        assert_eq!(places(&env[2..], false, None), expected);
    }

    #[test]
    fn no_home_falls_back_to_the_user_database_then_to_the_system() {
        let (state, _) = places(&[], false, Some("/home/v"));
        assert_eq!(state, "/home/v/.local/state/parisync");
        let expected = pair(SYSTEM_STATE, "/var/lib/parisync/control.sock");
        assert_eq!(places(&[], false, None), expected);
        let relative = [("HOME", ""), ("XDG_STATE_HOME", "here")];
        assert_eq!(places(&relative, false, None), expected);
    }

    #[test]
    fn systemd_says_where() {
        let env = [
            ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"),
            ("RUNTIME_DIRECTORY", "/run/a"),
        ];
        let expected = pair("/var/lib/a", "/run/a/control.sock");
        assert_eq!(places(&env, false, None), expected);
        assert_eq!(places(&env, true, None), expected);
    }
}

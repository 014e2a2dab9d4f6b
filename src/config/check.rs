//! Checks that a value has to pass wherever it comes from: the file or the command line.

use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, paths};

/// The longest path a unix socket can have, with room for the temporary name it is made under.
const MAX_SOCKET_PATH: usize = 100;

/// A network's name.
pub(super) fn network(name: &str) -> Result<String, String> {
    match crate::engine::check_network(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(_) => Err("must be 1 to 32 letters, digits, `-`, `_` or `.`".to_owned()),
    }
}

/// A log filter.
pub(super) fn log(filter: &str) -> Result<String, String> {
    match EnvFilter::try_new(filter) {
        Ok(_) => Ok(filter.to_owned()),
        Err(error) => Err(format!(
            "is {filter:?}: {error}; try \"info\" or \"parisync=debug\""
        )),
    }
}

/// A path that means the same from every directory.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, String> {
    if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
        Ok(path.to_owned())
    } else {
        Err("must be an absolute path, beginning with /".to_owned())
    }
}

/// A path that a unix socket can have.
pub(super) fn socket(path: &Path) -> Result<PathBuf, String> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(format!(
            "is longer than {MAX_SOCKET_PATH} bytes, more than a unix socket can have; \
             choose a shorter path"
        ));
    }
    absolute(path)
}

/// For those who change a configuration after it was read; relative paths are taken from the
/// current directory.
impl Config {
    /// Sets the name of the network.
    ///
    /// # Errors
    /// The name does not fit.
    pub fn set_network(&mut self, name: &str) -> Result<(), ConfigError> {
        self.network = network(name).map_err(|problem| option("network", &problem))?;
        Ok(())
    }

    /// Sets what is logged.
    ///
    /// # Errors
    /// It is no filter.
    pub fn set_log(&mut self, filter: &str) -> Result<(), ConfigError> {
        self.log = log(filter).map_err(|problem| option("log", &problem))?;
        Ok(())
    }

    /// Sets the state directory, and with it the control socket if that lives there by default.
    ///
    /// # Errors
    /// It is no path.
    pub fn set_state_dir(&mut self, dir: &Path) -> Result<(), ConfigError> {
        let dir = std::path::absolute(dir)
            .map_err(|error| error.to_string())
            .and_then(|dir| absolute(&dir))
            .map_err(|problem| option("state-dir", &problem))?;
        let default_socket = |dir: &Path| paths::with_surroundings(|here| here.control_socket(dir));
        if self.control_socket == default_socket(&self.state_dir) {
            self.control_socket = default_socket(&dir);
        }
        self.state_dir = dir;
        Ok(())
    }

    /// Sets the control socket.
    ///
    /// # Errors
    /// No socket can have this path.
    pub fn set_control_socket(&mut self, path: &Path) -> Result<(), ConfigError> {
        self.control_socket = std::path::absolute(path)
            .map_err(|error| error.to_string())
            .and_then(|path| socket(&path))
            .map_err(|problem| option("socket", &problem))?;
        Ok(())
    }
}

fn option(name: &str, problem: &str) -> ConfigError {
    ConfigError::Conflict(format!("--{name} {problem}"))
}

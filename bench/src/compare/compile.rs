//! Our own small C programs for laboratories, compiled when they are used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemons::find;

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// There is no compiler.
    #[error("it takes a C compiler: there is no `cc` or `gcc`, which are in the package gcc")]
    NoCompiler,
    /// The compiler refused.
    #[error("{name}.c cannot be compiled: {said}")]
    Refused {
        /// Which program.
        name: String,
        /// The compiler's first complaint.
        said: String,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The options for a library that is loaded before others.
pub(super) const LIBRARY: [&str; 3] = ["-shared", "-fPIC", "-ldl"];

/// Compiles the program `name`, whose text is `source`, with these options; it goes to `dir`.
pub(super) fn compile(
    dir: &Path,
    name: &str,
    source: &str,
    options: &[&str],
) -> Result<PathBuf, CompileError> {
    let compiler = ["cc", "gcc"].into_iter().find_map(find);
    let compiler = compiler.ok_or(CompileError::NoCompiler)?;
    let (program, text) = (dir.join(name), dir.join(format!("{name}.c")));
    fs::write(&text, source)?;
    let output = Command::new(compiler)
        .args(["-O2", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(&text)
        .args(options)
        .output()?;
    if output.status.success() {
        return Ok(program);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().find(|line| line.contains("error"));
    Err(CompileError::Refused {
        name: name.to_owned(),
        said: complaint
            .or(said.lines().next())
            .unwrap_or_default()
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_wrong_with_a_program_is_told() {
        if find("cc").is_none() {
            eprintln!("SKIPPED: no cc");
            return;
        }
        let dir = Scratch::new("compile").unwrap();
        let compile = |name, text| compile(dir.path(), name, text, &[]);
        let program = compile("good", "int main(void) { return 7; }").unwrap();
        assert_eq!(Command::new(program).status().unwrap().code(), Some(7));
        let error = compile("bad", "int main(void) { return seven; }").unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("bad.c cannot be compiled: "), "{said}");
        assert!(said.contains("seven"), "{said}");
    }
}

//! How far a long measurement is: a line on standard error if a person watches, nothing otherwise.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line with a bar and the time that is left; gone when dropped.
///
/// It can be cloned and moved to other threads; all clones move the same bar.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// `total` steps of `what`, none of which are done.
    pub fn new(what: &str, total: u64) -> Self {
        Self::on(ProgressDrawTarget::stderr(), what, total)
    }

    /// For callers whose work nobody watches.
    pub fn hidden() -> Self {
        Self::on(ProgressDrawTarget::hidden(), "", 0)
    }

    fn on(target: ProgressDrawTarget, what: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target);
        // The template is a constant that a test has seen work; a plain bar is a bar as well.
        if let Ok(style) = style() {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// `steps` more are done.
    pub fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }

    /// `steps` are done in all.
    pub fn set(&self, steps: u64) {
        self.0.set_position(steps);
    }

    /// Steps that are done.
    pub fn done(&self) -> u64 {
        self.0.position()
    }

    /// What is being done now.
    pub fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// Prints a line above the bar; to nobody if there is no bar.
    pub fn note(&self, line: &str) {
        self.0.println(line);
    }

    /// Prints a line that must not be missed, whether there is a bar or not.
    pub fn warn(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn style() -> Result<ProgressStyle, indicatif::style::TemplateError> {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left")?;
    Ok(style.progress_chars("━╸ "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_is_one_and_clones_move_the_same_bar() {
        style().unwrap();
        let progress = Progress::hidden();
        let other = progress.clone();
        other.advance(3);
        progress.advance(1);
        assert_eq!(progress.done(), 4);
        other.set(2);
        assert_eq!(progress.done(), 2);
    }
}

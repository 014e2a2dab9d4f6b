//! Colours of the terminal, where there are any.

/// What a piece of text is, as far as its colour goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Ordinary text.
    Plain,
    /// Headings and the figures that matter.
    Bold,
    /// What can be overlooked.
    Dim,
    /// As it should be.
    Good,
    /// On the way there.
    Fair,
    /// Not as it should be.
    Bad,
    /// Of a node that lies.
    Liar,
}

/// Paints text, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink {
    colour: bool,
}

impl Ink {
    /// Paints only if `colour`.
    pub(super) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// The text in its colour: one of the terminal's own sixteen, so that it suits light and
    /// dark backgrounds.
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Fair => "33",
            Style::Bad => "31",
            Style::Liar => "35",
        };
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A line of pieces, each in its style, that can be cut to a width before it is painted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    /// Adds a piece.
    pub(super) fn push(&mut self, style: Style, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    /// The line, painted, with no more than `width` characters.
    pub(super) fn paint(&self, ink: Ink, width: usize) -> String {
        let mut left = width;
        let mut painted = String::new();
        for (style, text) in &self.0 {
            let cut: String = text.chars().take(left).collect();
            left -= cut.chars().count();
            painted.push_str(&ink.paint(*style, &cut));
        }
        painted.trim_end_matches(' ').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_what_is_seen_and_not_by_its_colours() {
        let mut line = Line::default();
        line.push(Style::Good, "µµµ");
        line.push(Style::Plain, " end");
        assert_eq!(line.paint(Ink::new(true), 5), "\x1b[32mµµµ\x1b[0m e");
        assert_eq!(line.paint(Ink::new(false), 2), "µµ");
        assert_eq!(line.paint(Ink::new(true), 4), "\x1b[32mµµµ\x1b[0m");
    }
}

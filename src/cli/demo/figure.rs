//! Plots with their captions and colours, as HTML.

use std::borrow::Cow;

use plotters::style::RGBColor;

use super::plots;

/// Text for HTML, safe in elements and quoted attributes.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Rules that put the page's colours in the place of those the plots were drawn in.
pub(super) fn plot_colours() -> String {
    let mut rules = String::new();
    for (name, RGBColor(r, g, b)) in [
        ("muted", plots::INK),
        ("faint", plots::FAINT),
        ("truth", plots::TRUTH),
        ("limit", plots::LIMIT),
        ("bound", plots::BOUND),
        ("statistical", plots::STATISTICAL),
        ("liar", plots::LIAR),
    ] {
        for attribute in ["fill", "stroke"] {
            rules += &format!(
                "svg [{attribute}=\"#{r:02X}{g:02X}{b:02X}\"]{{{attribute}:var(--{name})}}\n"
            );
        }
    }
    rules
}

/// A legend: the name of a colour and what is drawn in it.
pub(super) fn keys(entries: &[(&str, &str)]) -> String {
    let keys: String = entries
        .iter()
        .map(|(colour, label)| format!("<span class=\"key {colour}\">{label}</span>"))
        .collect();
    format!("<p class=\"keys\">{keys}</p>\n")
}

/// A plot with its caption; plots come with a size of their own, here they fill their place.
pub(super) fn figure(title: &str, caption: &str, keys: &str, svg: &str) -> String {
    let svg = match svg.split_once("viewBox") {
        Some((_, rest)) => {
            format!(
                "<svg role=\"img\" aria-label=\"{}\" viewBox{rest}",
                escape(title)
            )
        }
        None => "<p>This plot could not be drawn.</p>".to_owned(),
    };
    format!(
        "<figure>\n<figcaption><h2>{}</h2><p>{}</p>{keys}</figcaption>\n<div class=\"plot\">\n\
         {svg}</div>\n</figure>\n",
        escape(title),
        escape(caption),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("plain µ"), "plain µ");
        assert_eq!(
            escape("<a b=\"c\">&'"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;"
        );
    }

    #[test]
    fn a_plot_that_failed_says_so() {
        assert!(figure("t", "c", "", "").contains("could not be drawn"));
    }
}

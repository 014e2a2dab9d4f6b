//! Pages: one self-contained file, no scripts, light or dark as the reader has it.

use std::borrow::Cow;

use plotters::style::RGBColor;

use super::host::Host;
use super::svg;

const STYLE: &str = include_str!("page.css");

/// Text for HTML, safe in elements and quoted attributes.
pub fn escape(text: &str) -> Cow<'_, str> {
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

/// The whole page around `body`.
///
/// The page is XML as well, which is how tests see whether it is well-formed.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{}</title>\n\
         <style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title),
        plot_colours(),
    )
}

/// Rules that put the page's colours in the place of those the plots were drawn in.
fn plot_colours() -> String {
    let mut rules = String::new();
    for (name, RGBColor(r, g, b)) in svg::COLOURS {
        rules += &format!(".key.{name}::before{{background:var(--{name})}}\n");
        for attribute in ["fill", "stroke"] {
            rules += &format!(
                "svg [{attribute}=\"#{r:02X}{g:02X}{b:02X}\"]{{{attribute}:var(--{name})}}\n"
            );
        }
    }
    rules
}

/// Whether something is as it should be, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is.
    Good,
    /// It is not.
    Bad,
    /// There is nothing to judge.
    Plain,
}

impl From<bool> for Judgement {
    fn from(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

/// A figure that is seen first: its name, value and a note below.
#[derive(Debug, Clone)]
pub struct Card {
    /// What it is.
    pub label: &'static str,
    /// Its value.
    pub value: String,
    /// What else there is to say.
    pub note: String,
    /// Whether it is good.
    pub judgement: Judgement,
}

/// The figures that are seen first.
pub fn cards(cards: &[Card]) -> String {
    let mut html = String::from("<section class=\"cards\" aria-label=\"Summary\">\n");
    for card in cards {
        let class = match card.judgement {
            Judgement::Good => "card good",
            Judgement::Bad => "card bad",
            Judgement::Plain => "card",
        };
        html += &format!(
            "<div class=\"{class}\"><span>{}</span><strong>{}</strong><small>{}</small></div>\n",
            escape(card.label),
            escape(&card.value),
            escape(&card.note)
        );
    }
    html + "</section>\n"
}

/// A table with its heading, wider than the page if it must be. Heads are text, cells HTML; the
/// columns in `left` align left, the others right.
pub fn table(title: &str, heads: &[String], left: &[usize], rows: &[Row], note: &str) -> String {
    let align = |column: usize| match left.contains(&column) {
        true => " class=\"left\"",
        false => "",
    };
    let mut html = format!(
        "<section>\n<h2>{}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>",
        escape(title)
    );
    for (column, head) in heads.iter().enumerate() {
        html += &format!("<th{}>{}</th>", align(column), escape(head));
    }
    html += "</tr></thead>\n<tbody>\n";
    for row in rows {
        html += match row.marked {
            true => "<tr class=\"marked\">",
            false => "<tr>",
        };
        for (column, cell) in row.cells.iter().enumerate() {
            html += &format!("<td{}>{cell}</td>", align(column));
        }
        html += "</tr>\n";
    }
    html += "</tbody>\n</table></div>\n";
    if !note.is_empty() {
        html += &format!("<p class=\"note\">{}</p>\n", escape(note));
    }
    html + "</section>\n"
}

/// A row of a table.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// HTML for each column.
    pub cells: Vec<String>,
    /// It stands apart from the others.
    pub marked: bool,
}

/// HTML of a cell whose value is not as it should be.
pub fn bad_cell(text: &str) -> String {
    format!("<span class=\"bad\">{}</span>", escape(text))
}

/// Terms, which are text, with what there is to say of them, which is HTML.
pub fn facts(title: &str, facts: &[(impl AsRef<str>, String)]) -> String {
    let mut html = format!("<section>\n<h2>{}</h2>\n<dl>\n", escape(title));
    for (term, fact) in facts {
        html += &format!("<dt>{}</dt><dd>{fact}</dd>\n", escape(term.as_ref()));
    }
    html + "</dl>\n</section>\n"
}

/// What is worth knowing of a machine, for [`facts`].
pub fn host_facts(host: &Host) -> [(&'static str, String); 3] {
    [
        ("kernel", escape(&host.kernel).into_owned()),
        (
            "processors",
            format!("{} × {}", host.processors, escape(&host.processor)),
        ),
        ("clock source", escape(&host.clock_source).into_owned()),
    ]
}

/// A legend: the name of a colour and what is drawn in it, which is text.
pub fn keys(entries: &[(&str, &str)]) -> String {
    let keys: String = entries
        .iter()
        .map(|(colour, label)| format!("<span class=\"key {colour}\">{}</span>", escape(label)))
        .collect();
    format!("<p class=\"keys\">{keys}</p>\n")
}

/// A plot with its caption; plots come with a size of their own, here they fill their place.
pub fn figure(title: &str, caption: &str, keys: &str, svg: &str) -> String {
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
    fn colours_are_replaced_by_those_of_the_page() {
        let page = document("a < b", &keys(&[("blue", "x & y")]));
        for (name, RGBColor(r, g, b)) in svg::COLOURS {
            assert_eq!(STYLE.matches(&format!("--{name}: #")).count(), 2, "{name}");
            let rule = format!("svg [fill=\"#{r:02X}{g:02X}{b:02X}\"]{{fill:var(--{name})}}");
            assert!(page.contains(&rule), "{rule}");
        }
        assert!(page.contains("<title>a &lt; b</title>"));
        assert!(page.contains("<span class=\"key blue\">x &amp; y</span>"));
    }

    #[test]
    fn a_plot_that_failed_says_so() {
        assert!(figure("t", "c", "", "").contains("could not be drawn"));
    }
}

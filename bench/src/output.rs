//! Results as text for people, JSON or CSV for programs.

use std::io;

use parisync::cli::{CliError, print};
use serde::Serialize;
use serde_json::Value;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    #[value(alias = "human")]
    Text,
    /// For programs: one JSON value on one line
    Json,
    /// For programs: a line of names, then one line for each result
    Csv,
}

/// Prints the results: as `text` makes them, as a JSON array, or a line of CSV for each.
///
/// In CSV a field of a field has a name like `delay.p50_ns`; lists have no place and are left out.
///
/// # Errors
/// Standard output is closed or full.
pub fn show<T: Serialize>(
    format: Format,
    rows: &[T],
    text: impl FnOnce(&[T]) -> String,
) -> Result<(), CliError> {
    print(&match format {
        Format::Text => text(rows),
        Format::Json => json(rows).map_err(|error| CliError::Output(error.into()))? + "\n",
        Format::Csv => csv(rows).map_err(CliError::Output)?,
    })
}

fn json<T: Serialize>(rows: &[T]) -> serde_json::Result<String> {
    serde_json::to_string(rows)
}

/// The rows as CSV, the columns in the order in which they first come.
///
/// # Errors
/// A row cannot be told in JSON, which has no keys but strings.
pub fn csv<T: Serialize>(rows: &[T]) -> io::Result<String> {
    let mut flat = Vec::with_capacity(rows.len());
    let mut columns: Vec<String> = Vec::new();
    for row in rows {
        let mut cells = Vec::new();
        flatten("", &serde_json::to_value(row)?, &mut cells);
        for (name, _) in &cells {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        flat.push(cells);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns)?;
    for cells in flat {
        let cell = |name| cells.iter().find(|(n, _)| n == name).map_or("", |c| &c.1);
        writer.write_record(columns.iter().map(cell))?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The single values in `value`, each with the way to it.
fn flatten(name: &str, value: &Value, cells: &mut Vec<(String, String)>) {
    let text = match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match name {
                    "" => field.clone(),
                    _ => format!("{name}.{field}"),
                };
                flatten(&name, value, cells);
            }
            return;
        }
        Value::Array(_) => return,
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    let name = if name.is_empty() { "value" } else { name };
    cells.push((name.to_owned(), text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Delay {
        p50_ns: f64,
        p99_ns: Option<f64>,
    }

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        delay: Delay,
        parts: Vec<u32>,
        good: bool,
    }

    fn rows() -> [Row; 2] {
        let row = |name, p99_ns| Row {
            name,
            delay: Delay {
                p50_ns: 1.5,
                p99_ns,
            },
            parts: vec![1, 2],
            good: true,
        };
        [row("a,b", None), row("c", Some(2.0))]
    }

    #[test]
    fn csv_has_a_column_for_each_single_value() {
        assert_eq!(
            csv(&rows()).unwrap(),
            "name,delay.p50_ns,delay.p99_ns,good\n\"a,b\",1.5,,true\nc,1.5,2.0,true\n"
        );
        assert_eq!(csv(&[3, 4]).unwrap(), "value\n3\n4\n");
    }

    #[test]
    fn json_keeps_everything_in_order() {
        assert_eq!(
            json(&rows()[..1]).unwrap(),
            r#"[{"name":"a,b","delay":{"p50_ns":1.5,"p99_ns":null},"parts":[1,2],"good":true}]"#
        );
    }
}

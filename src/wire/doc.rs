//! Holds the code against `docs/protocol.md`.

/// Offset, length and name of each field in the table marked `<!-- layout: NAME -->`.
pub(super) fn table(name: &str) -> Vec<(usize, usize, String)> {
    let text = include_str!("../../docs/protocol.md");
    let mark = format!("<!-- layout: {name} -->");
    let (_, after) = text
        .split_once(&mark)
        .expect("the table is in the document");
    let rows = after
        .lines()
        .skip(3)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[3].trim_matches('`').to_owned();
        (cells[1].parse().unwrap(), cells[2].parse().unwrap(), name)
    })
    .collect()
}

/// Fails unless the document's table `name` has exactly these fields, one after the other without
/// a gap, `total` bytes in all.
pub(super) fn agrees(name: &str, fields: &[(usize, usize, &str)], total: usize) {
    let fields: Vec<_> = fields
        .iter()
        .map(|(offset, len, name)| (*offset, *len, (*name).to_owned()))
        .collect();
    assert_eq!(table(name), fields, "table {name}");
    let mut next = 0;
    for (offset, len, field) in &fields {
        assert_eq!(*offset, next, "{name}.{field}");
        next += len;
    }
    assert_eq!(next, total, "length of {name}");
}

/// `(offset, length, name)` of fields of a struct.
macro_rules! fields {
    ($type:ty: $($($field:ident).+),+ $(,)?) => {
        [$({
            // The size of a field of a value that is never read.
            fn len<T, F>(_: impl Fn(&T) -> &F) -> usize { size_of::<F>() }
            (
                std::mem::offset_of!($type, $($field).+),
                len(|value: &$type| &value.$($field).+),
                stringify!($($field).+),
            )
        }),+]
    };
}
pub(super) use fields;
